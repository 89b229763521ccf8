"""Stages of evaluation, and ``metrics.json``: every figure of a run under a stable name."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from argos_sim.controller.network import load_controller
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.evaluation import (
    ControllerPolicy,
    PerfectTracking,
    Policy,
    controller_figures,
    judge,
    outcomes_of_episodes,
    paired_gain,
)
from argos_sim.pipeline.controller import planner_targets
from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import Scenes, environment_cfg, physics_identity
from argos_sim.pipeline.planner import instruction_groups, load_cache, load_planner
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import RECORD, require_stage, run_stage
from argos_sim.randomization.shifts import SHIFTS, set_world
from argos_wm.checkpoint import load_json, save_json, save_tensors
from argos_wm.data.instructions import Instructions
from argos_wm.encoders.text import load_text_encoder
from argos_wm.evaluation import EvaluationConfig, evaluate_planner, object_figures
from argos_wm.planner import Planner
from argos_wm.training.planner import VALIDATION_SHARE

CLOSED_LOOP = ("episodes", "success", "success_ci")
EVALUATION_SEED = 1000
"""Apart from the seeds of training; the same episodes for every controller, so that differences are paired."""
OUTCOMES = "outcomes.safetensors"
"""For each policy and randomization, what each episode came to, so that runs can be compared in pairs of episodes."""
APART = ("timing.evaluate_transfer", "timing.adapt.")
"""Transfer tables and adaptation are no part of the pipeline, and are not counted in the time that it takes."""
JUDGED = ("nominal", "train", "unseen")
"""Randomization presets that controllers are judged under, beside the run's own."""


def evaluate_planner_stage(settings: Settings) -> dict[str, Any]:
    """Judge the world model on held-out demonstrations into ``<run>/evaluation/planner``."""
    planner_record = require_stage(settings.folder / "planner", "planner", "train_planner.py")
    baseline = require_stage(settings.folder / "planner_mean", "planner_mean", "train_planner.py")
    cfg = settings.planner

    def work(folder: Path) -> dict[str, Any]:
        cache, encoder = load_cache(settings), load_encoder(settings)
        training, held_out = cache.split(VALIDATION_SHARE)
        text_encoder = load_text_encoder(cfg.text_encoder)
        planner = Planner(load_planner(settings), text_encoder, cfg.sampling)
        instructions = Instructions(cache.instructions, text_encoder, instruction_groups(settings))
        judging = EvaluationConfig(windows=settings.evaluation.planner_windows)
        figures = evaluate_planner(
            planner,
            cache,
            held_out,
            instructions,
            cfg.windows,
            judging,
            load_planner(settings, "planner_mean"),
            encoder.decode_proprio,
        )
        figures |= object_figures(planner, cache, training, held_out, instructions, cfg.windows, judging)
        senses = require_stage(settings.folder / "encoder", "encoder", "train_encoder.py")["figures"]
        figures["planner.floor_vision_error"] = senses["invariance_train_background"]
        figures["planner.floor_vision_ratio"] = senses["invariance_train_ratio"]
        figures["planner.held_out_episodes"] = float(len(held_out))
        return dict(figures)

    inputs = {
        "planner": planner_record["fingerprint"],
        "planner_mean": baseline["fingerprint"],
        "sampling": dataclasses.asdict(cfg.sampling),
        "windows": settings.evaluation.planner_windows,
    }
    return run_stage(settings.folder / "evaluation" / "planner", "evaluate_planner", inputs, work, settings.overwrite)


def evaluate_controllers_stage(settings: Settings, other_engine: bool = False) -> dict[str, Any]:
    """Judge the controllers, the planner live, under every randomization, or on the engine not trained on.

    Beside them stands perfect tracking, to tell the controller's failures from the planner's (``PerfectTracking``).
    """
    stages = dict.fromkeys(("imitation", settings.prior, "ppo"))
    records = {name: require_stage(settings.folder / name, name, "train_controller.py") for name in stages}
    count = settings.evaluation.other_engine_episodes if other_engine else settings.evaluation.episodes
    physics = settings.other_physics() if other_engine else settings.resolved_physics()
    widest = settings.controller.curriculum.widest or settings.randomization
    judged = dict.fromkeys((*JUDGED, settings.randomization, widest))
    cells = {"other_engine": settings.randomization} if other_engine else {name: name for name in judged}
    name = "other_engine" if other_engine else "controllers"
    num_envs = min(count, settings.controller.ppo.num_envs)

    def work(folder: Path) -> dict[str, Any]:
        spec = load_encoder(settings).spec
        controllers = {c: load_controller(settings.folder / c, spec, "the encoder") for c in stages}
        env_cfg = environment_cfg(settings, num_envs, physics, str(settings.folder / "encoder"))
        env_cfg.seed = settings.seed + EVALUATION_SEED
        figures: dict[str, Any] = {}
        outcomes: dict[str, Tensor] = {}
        with Scenes(env_cfg, [settings.ranges(preset) for preset in cells.values()]) as scenes:
            spent, steps = 0.0, 0
            for cell, preset in cells.items():
                ranges = settings.ranges(preset)
                env = scenes.having(ranges)
                policies: dict[str, Any] = {k: ControllerPolicy(v.to(env.device)) for k, v in controllers.items()}
                if not other_engine:
                    policies["perfect"] = PerfectTracking(env)
                begin = time.monotonic()
                # The same bodies and backgrounds whoever was judged before, so that runs can be compared in pairs.
                set_world(env, ranges, SHIFTS["none"], settings.seed + EVALUATION_SEED)
                records = {}
                for policy_name, policy in policies.items():
                    label = f"{policy_name} on {cell}"
                    records[policy_name], result = judge_planned(env, policy, settings, count, label)
                    steps += result["episodes"] * (env.max_episode_length - 1)
                    figures |= {f"controller.{policy_name}.{cell}.{k}": v for k, v in result.items()}
                    of_each = outcomes_of_episodes(records[policy_name])
                    outcomes |= {f"{policy_name}.{cell}.{k}": v for k, v in of_each.items()}
                gain = paired_gain(records["ppo"], records["imitation"])
                figures |= {f"controller.ppo.{cell}.{k}": v for k, v in gain.items()}
                spent += time.monotonic() - begin
            figures[f"evaluation_env_steps_per_s.{physics}"] = steps / spent
        save_tensors(folder / OUTCOMES, outcomes)
        return figures

    inputs = {
        "controllers": {k: v["fingerprint"] for k, v in records.items()},
        "sampling": dataclasses.asdict(settings.controller.sampling),
        "ranges": {preset: settings.drawn_from(preset) for preset in cells.values()},
        "episodes": count,
        "physics": physics_identity(settings, physics),
        "renderer": settings.renderer,
        "seed": settings.seed,
        "figures": "outcomes of each episode, worlds of one seed",
    }
    return run_stage(settings.folder / "evaluation" / name, f"evaluate_{name}", inputs, work, settings.overwrite)


def judge_planned(
    env: LatentTrackingEnv, policy: Policy, settings: Settings, count: int, label: str, seed: int = EVALUATION_SEED
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Records and figures of a policy that follows the run's live planner; of one seed, the same episodes for all."""
    env.target.source = planner_targets(settings, seed)
    records = judge(env, policy, count, settings.seed + seed, label)
    figures = controller_figures(records)
    print_result(label, figures)
    return records, figures


def print_result(label: str, result: dict[str, Any]) -> None:
    """One line of a controller's figures."""
    reached, done = result["reached_ci"], result["success_ci"]
    print(
        f"  {label}: targets reached {100 * result['reached']:.0f} % [{100 * reached[0]:.0f}, {100 * reached[1]:.0f}], "
        f"of those that ask for a movement {100 * result.get('reached_moving', float('nan')):.0f} %; joints "
        f"{result['joint_error_rad']:.3f} rad; done what was asked {100 * result['success']:.0f} % "
        f"[{100 * done[0]:.0f}, {100 * done[1]:.0f}] ({result['episodes']} episodes)",
        flush=True,
    )


def write_metrics(settings: Settings) -> Path:
    """Gather every finished stage's figures into ``<run>/metrics.json``."""
    metrics: dict[str, Any] = {"preset": settings.preset}
    for path in sorted(settings.folder.rglob(RECORD)):
        record = load_json(path)
        metrics[f"timing.{record['name']}_s"] = record["seconds"]
        if "peak_gib" in record:
            metrics["memory.peak_gib"] = max(metrics.get("memory.peak_gib", 0.0), record["peak_gib"])
        figures = record["figures"]
        if record["name"].startswith("evaluate_"):
            metrics |= figures
        else:
            metrics |= {f"{record['name']}.{k}": v for k, v in figures.items()}
    # What is deployed: the controller that the trial kept.
    kept = f"controller.{metrics.get('trial.kept', 'ppo')}."
    for prefix, cell in {"": "train", "unseen.": "unseen", "other_engine.": "other_engine"}.items():
        known = {k: f"{kept}{cell}.{k}" for k in CLOSED_LOOP}
        metrics |= {f"closed_loop.{prefix}{k}": metrics[name] for k, name in known.items() if name in metrics}
    if "ppo.env_steps_per_s" in metrics:
        metrics["env_steps_per_s"] = metrics.pop("ppo.env_steps_per_s")
    timings = {k: v for k, v in metrics.items() if k.startswith("timing.") and not k.startswith(APART)}
    metrics["timing.total_s"] = round(sum(timings.values()), 1)
    path = settings.folder / "metrics.json"
    save_json(path, metrics)
    return path
