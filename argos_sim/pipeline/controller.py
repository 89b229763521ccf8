"""Stages ``imitation`` and ``ppo``: the torque controller, warm-started on demonstrations, then reinforced.

Of several processes that ``torchrun`` started, the first imitates while the others wait, and all train by PPO together.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from argos_sim.controller.dagger import dagger, visit
from argos_sim.controller.imitation import ImitationData, imitate
from argos_sim.controller.network import Controller, ControllerConfig, load_controller, save_controller
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import (
    environment_cfg,
    make_environment,
    make_expert,
    physics_identity,
    require_learning,
    unseen_was_seen,
)
from argos_sim.pipeline.planner import load_cache, torque_limits
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import require_stage, run_stage
from argos_sim.plan_bank import BankTargets
from argos_sim.platform import machine
from argos_sim.randomization.curriculum import widen
from argos_sim.targets import DemonstrationTargets, MixedTargets, PerturbedTargets, PlannerTargets, TargetSource
from argos_wm.data.latent_cache import LatentCache
from argos_wm.encoders.state import StateEncoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import deciding
from argos_wm.training.parallel import Parallel
from argos_wm.training.planner import VALIDATION_SHARE

VISITS = 1_000_000
"""Apart from each other and from other seeds: those of DAgger's rounds."""
AFTER_IMITATION = (
    "ppo",
    "dagger",
    "demonstration_share",
    "perturbed_share",
    "bank_share",
    "sampling",
    "curriculum",
    "trial_episodes",
)
"""Settings of the controller in which imitation has no part."""


def train_imitation(settings: Settings) -> dict[str, Any]:
    """Imitate the demonstrations into ``<run>/imitation``."""
    require_learning(settings)
    latents = require_stage(settings.folder / "latents", "latents", "train_planner.py")
    cfg = settings.controller
    sizes = {k: v for k, v in deciding(cfg).items() if k not in AFTER_IMITATION}
    inputs = {"latents": latents["fingerprint"], "controller": sizes, "seed": settings.seed}

    def work(folder: Path) -> dict[str, Any]:
        encoder, cache = load_encoder(settings), load_cache(settings)
        spec = encoder.spec
        torch.manual_seed(settings.seed)
        controller = Controller(
            ControllerConfig(
                spec.patches,
                spec.channels,
                spec.proprio_dim,
                len(spec.joint_names),
                cfg.history,
                cfg.attention_width,
                cfg.queries,
                cfg.hidden,
                cfg.senses,
            ),
            torque_limits(settings),
        )
        data = imitation_data(settings, cache, controller, encoder)
        logger = RunLogger(folder, settings.logger, f"{settings.preset}-imitation", settings.to_dict())
        trained = imitate(controller.to(settings.resolved_device()), data, cfg.imitation, folder, logger).cpu()
        logger.close()
        save_controller(trained, spec, folder, {"settings": settings.to_dict()})
        return {"parameters": sum(p.numel() for p in trained.parameters())}

    return run_stage(settings.folder / "imitation", "imitation", inputs, work, settings.overwrite)


def imitation_data(
    settings: Settings, cache: LatentCache, controller: Controller, encoder: StateEncoder
) -> ImitationData:
    """What demonstrations show a controller."""
    period, cfg = environment_cfg(settings, 1).rates.frames_per_plan, settings.controller.imitation
    return ImitationData(cache, controller, lambda raw: encoder.encode_proprio(raw).cpu(), period, cfg)


def train_dagger(settings: Settings) -> dict[str, Any] | None:
    """Let the expert correct the imitated controller into ``<run>/dagger``, if there are rounds of it."""
    cfg = settings.controller.dagger
    if cfg.rounds == 0:
        return None
    imitation = require_stage(settings.folder / "imitation", "imitation", "train_controller.py")
    planner = require_stage(settings.folder / "planner", "planner", "train_planner.py")
    inputs = {
        "imitation": imitation["fingerprint"],
        "planner": planner["fingerprint"],
        "dagger": deciding(cfg),
        "sampling": dataclasses.asdict(settings.controller.sampling),
        "expert": dataclasses.asdict(settings.demos.expert),
        "ranges": settings.drawn_from(),
        "physics": physics_identity(settings),
        "seed": settings.seed,
    }

    def work(folder: Path) -> dict[str, Any]:
        encoder, cache = load_encoder(settings), load_cache(settings)
        start = load_controller(settings.folder / "imitation", encoder.spec, "the encoder")
        start = start.to(settings.resolved_device())
        env_cfg = environment_cfg(settings, cfg.episodes, encoder=str(settings.folder / "encoder"))
        with make_environment(env_cfg) as env:
            env.target.source = planner_targets(settings, settings.seed)
            expert = make_expert(env, settings.task, settings.demos.expert, settings.seed)

            def visit_round(controller: Controller, number: int) -> dict[str, Tensor]:
                return visit(env, controller, expert, cfg, settings.seed + VISITS * (number + 1))

            def logger(number: int) -> RunLogger:
                name = f"{settings.preset}-dagger-{number}"
                return RunLogger(folder / f"round_{number}", settings.logger, name, settings.to_dict())

            shown = imitation_data(settings, cache, start, encoder)
            trained = dagger(start, visit_round, shown, cfg, folder, logger).cpu()
        save_controller(trained, encoder.spec, folder, {"settings": settings.to_dict()})
        return {"rounds": cfg.rounds, "visited_episodes": cfg.rounds * cfg.episodes}

    return run_stage(settings.folder / "dagger", "dagger", inputs, work, settings.overwrite)


def planner_targets(settings: Settings, seed: int) -> PlannerTargets:
    """Targets from the run's frozen planner."""
    spec = load_encoder(settings).spec
    sampling, device = settings.controller.sampling, settings.resolved_device()
    return PlannerTargets.load(settings.folder / "planner", spec, sampling, device, seed)


def train_controller_stages(settings: Settings) -> None:
    """Imitate, then reinforce."""
    parallel = Parallel.launched(settings.resolved_device().split(":")[0])
    # Refused before any long work.
    share_of(settings.controller.ppo.num_envs, parallel)
    if parallel.main and settings.controller.dagger.rounds == 0:  # else it comes before DAgger, which PPO begins with
        train_imitation(settings)
    parallel.wait()
    train_ppo_stage(settings, parallel)


def train_ppo_stage(settings: Settings, parallel: Parallel | None = None) -> dict[str, Any]:
    """Train the imitated controller by PPO into ``<run>/ppo``, each process in its share of the environments."""
    parallel = parallel or Parallel()
    before = require_stage(settings.folder / settings.prior, settings.prior, "train_controller.py")
    planner = require_stage(settings.folder / "planner", "planner", "train_planner.py")
    cfg = settings.controller
    widest = settings.ranges(cfg.curriculum.widest) if cfg.curriculum.widest else None
    inputs: dict[str, Any] = {
        settings.prior: before["fingerprint"],
        "planner": planner["fingerprint"],
        "ppo": dataclasses.asdict(cfg.ppo),
        "sampling": dataclasses.asdict(cfg.sampling),
        "shares": [cfg.demonstration_share, cfg.perturbed_share, *([cfg.bank_share] if cfg.bank_share else [])],
        "curriculum": dataclasses.asdict(cfg.curriculum),
        "ranges": settings.drawn_from(),
        "physics": physics_identity(settings),
    }
    if widest and settings.identified:  # where nothing was identified, the preset's name says it all
        inputs["widest"] = widest.identity()

    def work(folder: Path) -> dict[str, Any]:
        # rsl_rl takes seconds to import, and this module's other stages do without it.
        from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper

        from argos_sim.controller.ppo import RANKS_APART, make_ppo, train_ppo

        if parallel.main:  # what is of an earlier PPO must not pass for this one's
            for name in ("controller", "evaluation/controllers", "evaluation/other_engine", "adapt", "export"):
                shutil.rmtree(settings.folder / name, ignore_errors=True)
        spec = load_encoder(settings).spec
        prior = load_controller(settings.folder / settings.prior, spec, "the encoder")
        env_cfg = environment_cfg(
            settings, share_of(cfg.ppo.num_envs, parallel), encoder=str(settings.folder / "encoder")
        )
        env_cfg.seed = settings.seed + RANKS_APART * parallel.rank
        widen(env_cfg, cfg.curriculum, widest)
        assert env_cfg.commands.target is not None
        env_cfg.commands.target.record = True
        with make_environment(env_cfg) as env:
            set_targets(env, settings)
            device = settings.resolved_device()
            wrapped = RslRlVecEnvWrapper(env, clip_actions=1.0)  # pyright: ignore[reportArgumentType]
            algorithm = make_ppo(wrapped, prior.to(device), cfg.ppo, device, parallel)
            logger = RunLogger(folder, settings.logger, f"{settings.preset}-ppo", settings.to_dict(), parallel)
            actor, figures = train_ppo(wrapped, algorithm, cfg.ppo, folder, logger)
            logger.close()
        if parallel.main:
            trained = actor.to_controller(prior.torque_limit)
            save_controller(trained.cpu(), spec, folder, {"settings": settings.to_dict()})
        told = {"physics": settings.resolved_physics(), "machine": machine()}
        return dict(figures) | told | {"unseen_was_seen": unseen_was_seen(settings)}

    # More iterations go on from the last checkpoint: nothing in the recipe depends on how many they are.
    shorter = inputs | {"ppo": {k: v for k, v in inputs["ppo"].items() if k != "iterations"}}
    grows = (shorter, cfg.ppo.iterations)
    return run_stage(settings.folder / "ppo", "ppo", inputs, work, settings.overwrite, parallel, grows)


def share_of(num_envs: int, parallel: Parallel) -> int:
    """How many of a run's environments are this process's."""
    if num_envs % parallel.ranks:
        raise ValueError(
            f"{num_envs} environments cannot be dealt to {parallel.ranks} processes evenly; set "
            f"controller.ppo.num_envs to a multiple of {parallel.ranks}."
        )
    return num_envs // parallel.ranks


def set_targets(env: LatentTrackingEnv, settings: Settings) -> None:
    """Give the environment its mixture of targets: planned, demonstrated, perturbed, banked."""
    cfg, planner = settings.controller, planner_targets(settings, settings.seed + 2)
    sources: dict[str, TargetSource] = {"planner": planner}
    shares: dict[str, float] = {}
    if cfg.demonstration_share > 0:
        cache = load_cache(settings)
        training, _ = cache.split(VALIDATION_SHARE)
        sources["demonstrations"] = DemonstrationTargets(cache, training, env.device, settings.seed)
        shares["demonstrations"] = cfg.demonstration_share
    if cfg.perturbed_share > 0:
        assert env.perception.encoder is not None, "an environment that tracks latents has an encoder"
        sources["perturbed"] = PerturbedTargets(planner, env.perception.encoder, unit=env.joint_unit)
        shares["perturbed"] = cfg.perturbed_share
    if cfg.bank_share > 0:
        sources["bank"], shares["bank"] = BankTargets(planner), cfg.bank_share
    env.target.source = MixedTargets(sources, shares, env.num_envs, env.device)
