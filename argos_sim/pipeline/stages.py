"""Every stage by the name under which ``scripts/demo.py`` starts it; each script in ``scripts/`` does one."""

from __future__ import annotations

import os
from collections.abc import Callable

from argos_sim.pipeline.settings import Settings


def _demos(settings: Settings) -> None:
    from argos_sim.pipeline.collect import collect_demos  # lerobot, which it imports, takes five seconds

    collect_demos(settings)


def _encoder(settings: Settings) -> None:
    from argos_sim.pipeline.encoder import prepare_encoder

    prepare_encoder(settings)


def _latents(settings: Settings) -> None:
    from argos_sim.pipeline.planner import encode_demos, encode_sources

    encode_demos(settings)
    encode_sources(settings)


def _planner(settings: Settings) -> None:
    from argos_sim.pipeline.planner import train_planner_stage

    train_planner_stage(settings)


def _controller(settings: Settings) -> None:
    from argos_sim.pipeline.controller import train_controller_stages

    train_controller_stages(settings)


def _trial(settings: Settings) -> None:
    if os.environ.get("RANK", "0") != "0":
        return
    from argos_sim.pipeline.trial import trial_stage

    trial_stage(settings)


def _dagger(settings: Settings) -> None:
    # Of several processes the first does it, while the others wait for it in the next stage.
    if settings.controller.dagger.rounds == 0 or os.environ.get("RANK", "0") != "0":
        return
    from argos_sim.pipeline.controller import train_dagger, train_imitation

    train_imitation(settings)
    train_dagger(settings)


def _evaluate_planner(settings: Settings) -> None:
    from argos_sim.pipeline.evaluate import evaluate_planner_stage, write_metrics

    evaluate_planner_stage(settings)
    write_metrics(settings)


def _evaluate_controllers(settings: Settings) -> None:
    from argos_sim.pipeline.evaluate import evaluate_controllers_stage, write_metrics

    evaluate_controllers_stage(settings)
    write_metrics(settings)


def _evaluate_other_engine(settings: Settings) -> None:
    from argos_sim.pipeline.evaluate import evaluate_controllers_stage, write_metrics

    evaluate_controllers_stage(settings, other_engine=True)
    write_metrics(settings)


def _export(settings: Settings) -> None:
    from argos_sim.pipeline.export import export_stage

    export_stage(settings)


def _play(settings: Settings) -> None:
    from argos_sim.pipeline.play import play

    play(settings)


def show(settings: Settings) -> None:
    """The stage ``play``, or what the settings want to see instead of a video: the policy live in a browser."""
    from argos_sim.pipeline.play import play, watch

    (watch if settings.play.viewer == "viser" else play)(settings)


def _report(settings: Settings) -> None:
    from argos_sim.pipeline.evaluate import write_metrics
    from argos_sim.pipeline.report import write_report

    write_metrics(settings)
    print(f"The report is {write_report(settings)}")


def _transfer(engine: Callable[[Settings], str]) -> Callable[[Settings], None]:
    def stage(settings: Settings) -> None:
        from argos_sim.pipeline.evaluate import write_metrics
        from argos_sim.pipeline.transfer import transfer_stage
        from argos_sim.reporting.transfer import write_tables

        transfer_stage(settings, engine(settings))
        print(f"The transfer tables are in {write_tables(write_metrics(settings))}")

    return stage


TRANSFER: dict[str, Callable[[Settings], None]] = {
    "transfer_own": _transfer(Settings.resolved_physics),
    "transfer_other": _transfer(Settings.other_physics),
    "transfer_mujoco": _transfer(lambda settings: "mujoco"),
}
"""``scripts/evaluate.py transfer``, an engine a process; no part of the whole pipeline, which it would double."""

STAGES: dict[str, Callable[[Settings], None]] = {
    "demos": _demos,
    "encoder": _encoder,
    "latents": _latents,
    "planner": _planner,
    "evaluate_planner": _evaluate_planner,
    "dagger": _dagger,
    "controller": _controller,
    "trial": _trial,
    "evaluate_controllers": _evaluate_controllers,
    "export": _export,
    "evaluate_other_engine": _evaluate_other_engine,
    "play": _play,
    "report": _report,
}

MANY_PROCESSES = ("planner", "dagger", "controller", "trial")
"""Stages that ``torchrun`` may start several times at once."""
PROCESSES = (
    ("demos",),
    ("encoder", "latents", "planner", "evaluate_planner"),
    ("dagger",),
    ("controller",),
    ("trial",),
    ("evaluate_controllers", "export"),
    ("evaluate_other_engine",),
    ("play", "report"),
)
"""The whole pipeline in order. A process opens at most one simulator: two physics engines do not share one, and Isaac
Sim starts only once in each."""
