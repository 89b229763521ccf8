"""Stage ``report``: everything that a run found out, in one HTML file that opens offline."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from argos_sim.pipeline.play import Weights, require_film_of
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import require_one_chain, require_stage
from argos_sim.platform import machine
from argos_sim.reporting.curves import charts
from argos_sim.reporting.figures import (
    CONTROLLERS,
    all_figures,
    controller_table,
    goals_table,
    planner_table,
    text_table,
    time_table,
)
from argos_sim.reporting.page import Html, folded, image, markup, page, paragraph, section, table, video
from argos_sim.reporting.provenance import flattened, made_otherwise
from argos_sim.reporting.transfer import NO_TEST, transfer_tables
from argos_wm.checkpoint import CheckpointError, load_json

STAGES = {
    "demos": "collect_demos.py",
    "encoder": "train_encoder.py",
    "latents": "train_planner.py",
    "planner_mean": "train_planner.py",
    "planner": "train_planner.py",
    "imitation": "train_controller.py",
    "ppo": "train_controller.py",
    "controller": "train_controller.py",
    "evaluation/planner": "evaluate.py",
    "evaluation/controllers": "evaluate.py",
    "evaluation/other_engine": "evaluate.py",
    "export": "export.py",
}
"""Finished stages that a report needs, by their folder, and the scripts that do them."""
VIDEO_BYTES = 8_000_000
"""A larger video stays beside the report."""
ABOUT = (
    "ARGOS is a robot policy in two parts. A planner imagines, from what the robot saw and felt and from a sentence, "
    "the next states of the world as latents, 0.8 s apart. A controller turns where the robot is, where it was and "
    "where the planner wants it next into motor torques, 50 times a second."
)


def write_report(settings: Settings) -> Path:
    """Write ``<run>/report.html``; one sentence names the first stage that has not finished."""
    run = settings.folder
    for folder, script in STAGES.items():
        require_stage(run / folder, folder, script)
    require_one_chain(run)
    metrics = load_json(run / "metrics.json")
    film = run / "play" / "play.mp4"
    if not film.is_file():
        raise CheckpointError(f"The stage 'play' has left no {film}. Run scripts/play.py first.")
    require_film_of(Weights.of(run), film)
    plans = sorted(film.parent.glob("plan_*.png"))
    document = page(
        f"ARGOS: {settings.preset}",
        Html(f"<h1>ARGOS</h1><p class='muted'>{markup(_subtitle(settings))}</p>"),
        paragraph(ABOUT),
        section("What was reached", goals_table(metrics), paragraph(_goal_note(), "note"), _seen(metrics)),
        section("The loop, closed", video(film, VIDEO_BYTES), paragraph(FILM_NOTE, "note")),
        section("Plans beside what happened", _pictures(plans), paragraph(PLANS_NOTE, "note")),
        section("Planner", planner_table(metrics), paragraph(PLANNER_NOTE, "note"), text_table(metrics)),
        section("Controller", controller_table(metrics), paragraph(CONTROLLER_NOTE, "note"), _seen(metrics)),
        *_transfer(run, metrics),
        section("What ran", _what_ran(settings, metrics), _made_otherwise(settings), time_table(metrics)),
        section("Learning curves", *_curves(run)),
        section("Every figure", folded(f"metrics.json, {len(metrics)} entries", all_figures(metrics))),
        section("Every setting", folded("bold where it differs from the defaults", _settings(settings))),
    )
    path = run / "report.html"
    temporary = path.with_name("report.partial.html")
    temporary.write_text(document)
    os.replace(temporary, path)
    return path


FILM_NOTE = (
    "Camera, the current latents drawn as a picture, the target that is being followed, and how far the robot is from "
    "it. A plan is outlined when it is due: green if it was reached, red if not."
)
PLANS_NOTE = (
    "The first row is what the planner imagined before the episode began, 2.4 s far; the others are what then came, "
    "under a planner that looks again every 0.8 s."
)
PLANNER_NOTE = (
    "Errors are root mean squares in standardised latents over held-out windows in which the arm moves; below 1, "
    "imagining beats repeating the last latent. The floor is the same state seen before two backgrounds, "
    "÷ two states 0.8 s apart. The mean predictor is the same network trained to predict the mean. "
    "The second table is one period ahead from the first frame of each held-out episode, where only the text tells "
    "the blocks apart."
)
CONTROLLER_NOTE = (
    "A target is reached when, at its due time, the joints' RMS error to its decoded proprioception is at most "
    "0.10 rad and the vision error at most half of what it was when the target was given. The planner is live in "
    "every cell. Intervals are 95 %: Wilson's for successes, resampled episodes for targets. Perfect tracking is no "
    "policy: the joints are put where the planner wants them, so that the dynamics play no part. It is no bound: a "
    "weak planner's targets, followed to the letter, lead it astray. PPO's gain over imitation is taken in pairs of "
    "the same episode."
)


TRANSFER_NOTE = (
    "Every group of ranges beyond training by itself, and all together; docs/transfer.md says what each is. MuJoCo's "
    "own engine runs in a loop without Isaac Lab, by the exported policies alone."
)


def _transfer(run: Path, metrics: dict[str, Any]) -> list[Html]:
    """The transfer tables, where they were measured."""
    tables, figure = transfer_tables(metrics), run / "transfer" / "table.png"
    if not tables:
        return []
    drawn = [image(figure, "what was done, by engine, policy and condition", "wide")] if figure.is_file() else []
    return [section("Transfer", *drawn, tables, paragraph(TRANSFER_NOTE, "note"))]


def _seen(metrics: dict[str, Any]) -> Html:
    """What to say where ``unseen`` was no test."""
    return paragraph(NO_TEST, "note") if metrics.get("ppo.unseen_was_seen") else Html()


def _goal_note() -> str:
    return (
        "The aims are those of two budgets on two CPU cores: demo, half an hour from the shipped encoder; desk, two "
        "hours. Intervals are in brackets."
    )


def _subtitle(settings: Settings) -> str:
    day = time.strftime("%Y-%m-%d %H:%M")
    return f"Preset {settings.preset}, task {settings.task}, {day}"


def _what_ran(settings: Settings, metrics: dict[str, Any]) -> Html:
    rows = [
        ("machine of PPO", metrics.get("ppo.machine", "not recorded")),
        ("machine of this report", machine()),
        ("software", f"Python {platform.python_version()}, torch {torch.__version__}, {platform.system()}"),
        ("physics", f"{metrics.get('ppo.physics', settings.resolved_physics())}, seed {settings.seed}"),
        ("renderer", settings.renderer),
    ]
    if "env_steps_per_s" in metrics:
        rows.append(("environment steps a second in PPO", f"{metrics['env_steps_per_s']:,.0f}"))
    if "trial.gain" in metrics:
        low, high = metrics["trial.gain_ci"]
        lead = f"{100 * metrics['trial.gain']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
        episodes = f"{metrics['trial.episodes']} episodes of their own"
        kept = CONTROLLERS[metrics["trial.kept"]]
        rows.append((f"the controller: {kept}", f"PPO did {lead} more than what it began with in {episodes}"))
    return table(("", ""), rows, text_columns=2)


def _pictures(paths: list[Path]) -> Html:
    pictures = "".join(image(path, "a plan and what happened") for path in paths)
    return Html(f'<div class="pictures">{pictures}</div>')


def _curves(run: Path) -> list[Html]:
    parts = []
    for stage in STAGES:
        paths = [run / stage / "curves.jsonl"]
        if stage == "ppo":  # which begins with DAgger's
            paths = [*sorted(run.glob("dagger/round_*/curves.jsonl")), *paths]
        for path in paths:
            if path.is_file():
                name = path.parent.relative_to(run)
                parts.append(Html(f"<h3>{markup(name)}</h3>{charts(path)}"))
    return parts


def _made_otherwise(settings: Settings) -> Html:
    """A warning where weights were made with other settings than these."""
    rows = made_otherwise(settings.folder, settings.to_dict())
    if not rows:
        return Html()
    text = "Some weights were made with other settings than those below, given to a script of their own:"
    return Html(paragraph(text) + table(("stage", "setting", "made with", "now"), rows, text_columns=2))


def _settings(settings: Settings) -> Html:
    defaults = flattened(Settings().to_dict())
    rows = []
    for name, value in flattened(settings.to_dict()).items():
        changed = ' class="changed"' if name not in defaults or defaults[name] != value else ""
        rows.append((Html(f"<code{changed}>{markup(name)}</code>"), Html(f"<span{changed}>{markup(value)}</span>")))
    return table(("setting", "value"), rows)
