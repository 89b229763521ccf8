"""Builds a task's environment from the settings, by its gymnasium id."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import gymnasium as gym

from argos_sim.configs import ExpertCfg
from argos_sim.envs.latent_tracking import CameraPresets, LatentTrackingEnvCfg, PhysicsPresets
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv, wrong_encoder
from argos_sim.paths import ROOT
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.platform import launch, prepare
from argos_sim.randomization.ranges import RandomizationRanges
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.vision import load_vision_encoder


def task_spec(task: str) -> Any:
    """The gymnasium registration of ``task``; one sentence with the known ids if there is none."""
    if task not in gym.registry:
        known = sorted(name for name in gym.registry if name.startswith("Argos-"))
        raise SettingsError(f"There is no task {task!r}. Choose one of: {', '.join(known)}.")
    return gym.spec(task)


def require_fitting_encoder(settings: Settings) -> None:
    """Refuse a given encoder that is missing, damaged or another robot's, or pretrained weights that are not here or do
    not fit the pictures, before any work stands on them."""
    cfg = settings.encoder
    folder = cfg.folder
    if folder is None:
        if cfg.vision != "small-vit":
            load_vision_encoder(cfg.vision, cfg.image_size)
        return
    encoded, joints = StateEncoder.load(folder).joint_names, environment_cfg(settings, 1).joint_names
    if encoded != tuple(joints):
        raise SettingsError(wrong_encoder(folder, encoded, joints))


def require_learning(settings: Settings) -> None:
    """Refuse a PPO that would end before its actor has learnt anything, before any work stands on it."""
    cfg = environment_cfg(settings, 1)
    settings.controller.ppo.warmup_iterations(round(cfg.episode_length_s / cfg.rates.control_dt))


def _load(entry_point: str) -> Any:
    """What a task's entry point names."""
    module, name = entry_point.split(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"The task needs {name} in {module.replace('.', '/')}.py, whose name is the task's in lower case, as one "
            f"word: {error}. ARGOS_TRACEBACK=1 shows where."
        ) from error


def task_files(task: str) -> dict[str, str]:
    """SHA-256 of each file that says what a task is and how its expert does it: those in ``tasks/`` that its classes
    are from, its robot's, and the robot's model."""
    spec = task_spec(task)
    cfg = _load(spec.kwargs["env_cfg_entry_point"])()
    classes = (*type(cfg).__mro__, *_load(spec.kwargs["expert_entry_point"]).__mro__)
    modules = {c.__module__ for c in classes if c.__module__.startswith("tasks.")}
    modules |= {f"{type(cfg).__module__.rpartition('.')[0]}.robot"} & set(sys.modules)
    files = {Path(str(sys.modules[name].__file__)) for name in modules}
    robot = getattr(cfg, "robot", None)
    if robot is not None:
        usd = Path(robot.articulation.spawn.usd_path)
        files |= {f for f in (*usd.parent.rglob("*"), *usd.parents[1].glob("*.xml")) if f.is_file()}
    return {os.path.relpath(f, ROOT): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(files)}


def environment_cfg(
    settings: Settings, num_envs: int, physics: str | None = None, encoder: str | None = None
) -> LatentTrackingEnvCfg:
    """The task's configuration with the settings applied.

    Args:
        physics: engine, by default the run's own.
        encoder: folder of the state encoder; None gives an environment for recording.
    """
    cfg: LatentTrackingEnvCfg = _load(task_spec(settings.task).kwargs["env_cfg_entry_point"])()
    cfg.scene.num_envs = num_envs
    cfg.sim.device = settings.resolved_device()
    cfg.sim.physics = getattr(PhysicsPresets(), physics or settings.resolved_physics())
    cfg.scene.camera.renderer_cfg = getattr(CameraPresets(), settings.renderer)
    cfg.seed = settings.seed
    cfg.ranges = settings.ranges()
    cfg.distractors = cfg.ranges.distractors[1] > 0
    cfg.perception.image_size = settings.encoder.image_size
    cfg.perception.encoder = encoder
    cfg.perception.control_history = settings.controller.history
    cfg.perception.history_s = max(-offset for offset in settings.planner.model.history)
    if encoder is None:
        cfg.for_recording()
    cfg.apply()
    return cfg


def unseen_was_seen(settings: Settings) -> bool:
    """Whether training may have drawn all that ``unseen`` has, so that being judged on it is no test."""
    unseen, trained = settings.ranges("unseen"), (settings.randomization, settings.controller.curriculum.widest)
    return any(settings.ranges(preset).contains(unseen) for preset in trained if preset)


def physics_identity(settings: Settings, physics: str | None = None) -> dict[str, Any]:
    """What decides how the task's bodies move, for the fingerprints of stages that simulate: the engine (by default the
    run's own), its solver's settings, and the clocks."""
    cfg = environment_cfg(settings, 1, physics)
    solver = cfg.sim.physics.to_dict()  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    return {
        "engine": physics or settings.resolved_physics(),
        "solver": {k: v for k, v in solver.items() if not k.endswith("_dir")},  # where it keeps things
        "rates": dataclasses.asdict(cfg.rates),
        "plans_per_episode": cfg.plans_per_episode,
    }


@contextmanager
def make_environment(cfg: LatentTrackingEnvCfg) -> Iterator[LatentTrackingEnv]:
    """Open an environment, quietly, and close it afterwards."""
    prepare()
    with launch(cfg):
        # Isaac Lab prints its managers' tables, which say nothing here that the configuration does not.
        with open(os.devnull, "w") as devnull, redirect_stdout(devnull):
            env = LatentTrackingEnv(cfg)
        try:
            yield env
        finally:
            with open(os.devnull, "w") as devnull, redirect_stdout(devnull):
                env.close()


class Scenes:
    """Environments of one configuration under changing ranges, one open at a time; a context that closes it.

    Most ranges may change in an environment that stands (``set_ranges``). Where they want other objects, another is
    made in its place.
    """

    def __init__(self, cfg: LatentTrackingEnvCfg, expected: Iterable[RandomizationRanges]) -> None:
        """``expected``: all ranges that will be wanted."""
        self.cfg = cfg
        self.cfg.distractors = cfg.distractors or any(ranges.distractors[1] > 0 for ranges in expected)
        self._open = ExitStack()
        self._env: LatentTrackingEnv | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._env = None
        self._open.close()

    def having(self, ranges: RandomizationRanges) -> LatentTrackingEnv:
        """An environment that may be given ``ranges``."""
        if self._env is None or self._env.cfg.ranges.object_size != ranges.object_size:
            self._open.close()
            cfg = copy.deepcopy(self.cfg)  # Isaac Lab fills in what it is given, and its own copies begin anew
            cfg.ranges = ranges
            cfg.apply()
            self._env = self._open.enter_context(make_environment(cfg))
        return self._env


def make_expert(env: LatentTrackingEnv, task: str, cfg: ExpertCfg, seed: int) -> Any:
    """The task's scripted expert."""
    return _load(task_spec(task).kwargs["expert_entry_point"])(env, cfg, seed)
