"""Stage ``trial``: which controller leaves the run, what PPO made or what it began with.

PPO of a few hundred environments is one draw of many, and of a week on a GPU nobody knows before. Both are judged in
the same episodes, under the run's ranges, in worlds (bodies, backgrounds) that neither training nor evaluation drew.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor

from argos_sim.controller.network import load_controller, save_controller
from argos_sim.evaluation import ControllerPolicy, paired_gain
from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import environment_cfg, make_environment, physics_identity
from argos_sim.pipeline.evaluate import judge_planned
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import require_stage, run_stage

TRIAL_SEED = 2000
"""Apart from the seeds of training and evaluation."""


def trial_stage(settings: Settings) -> dict[str, Any]:
    """Put the better of PPO's controller and the one that it began with into ``<run>/controller``."""
    names, cfg = ("ppo", settings.prior), settings.controller
    records = {name: require_stage(settings.folder / name, name, "train_controller.py") for name in names}
    # Without iterations the two are one.
    episodes = cfg.trial_episodes if cfg.ppo.iterations > 0 else 0

    def work(folder: Path) -> dict[str, Any]:
        spec = load_encoder(settings).spec
        controllers = {name: load_controller(settings.folder / name, spec, "the encoder") for name in names}
        kept = "ppo"
        figures: dict[str, Any] = {}
        if episodes > 0:
            num_envs = min(episodes, cfg.ppo.num_envs)
            env_cfg = environment_cfg(settings, num_envs, encoder=str(settings.folder / "encoder"))
            env_cfg.seed = settings.seed + TRIAL_SEED
            with make_environment(env_cfg) as env:
                judged = {
                    name: judge_planned(
                        env, ControllerPolicy(controller.to(env.device)), settings, episodes, name, TRIAL_SEED
                    )[0]
                    for name, controller in controllers.items()
                }
            kept, figures = compared(judged["ppo"], judged[settings.prior], settings.prior)
            low, high = figures["gain_ci"]
            print(
                f"  PPO above {settings.prior}: {100 * figures['gain']:+.1f} points of what was asked "
                f"[{100 * low:+.1f}, {100 * high:+.1f}] ({figures['episodes']} episodes); kept: {kept}",
                flush=True,
            )
        save_controller(controllers[kept].cpu(), spec, folder, {"settings": settings.to_dict()})
        return figures | {"kept": kept}

    inputs = {
        "controllers": {name: record["fingerprint"] for name, record in records.items()},
        "episodes": episodes,
        "sampling": dataclasses.asdict(cfg.sampling),
        "ranges": settings.drawn_from(),
        "physics": physics_identity(settings),
        "renderer": settings.renderer,
        "seed": settings.seed,
    }
    return run_stage(settings.folder / "controller", "trial", inputs, work, settings.overwrite)


def compared(ppo: dict[str, Tensor], prior: dict[str, Tensor], prior_name: str) -> tuple[str, dict[str, Any]]:
    """Which is kept: what PPO made, unless what it began with did more of what was asked; of equals, what reached more.

    Args:
        ppo: records of what PPO made, as of ``evaluation.judge``.
        prior: of what it began with, in the same episodes.
        prior_name: its stage.

    Returns:
        ``ppo`` or ``prior_name``, and figures: ``episodes``, PPO's lead in what was asked, ``gain`` (shares, −1 … 1),
        and in targets, ``reached_gain``, each with its ``_ci``.
    """
    lead = paired_gain(ppo, prior)
    kept = "ppo" if (lead["success_gain"], lead["gain"]) >= (0.0, 0.0) else prior_name
    figures = {"gain": lead["success_gain"], "gain_ci": lead["success_gain_ci"], "reached_gain": lead["gain"]}
    return kept, figures | {"reached_gain_ci": lead["gain_ci"], "episodes": len(ppo["success"])}
