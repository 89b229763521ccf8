"""Stage ``demos``: record the expert; stage ``views``: render what an encoder learns from."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

from argos_sim.demos import record_demonstrations, record_views
from argos_sim.envs.latent_tracking import LatentTrackingEnvCfg
from argos_sim.pipeline.environment import (
    environment_cfg,
    make_environment,
    make_expert,
    physics_identity,
    require_fitting_encoder,
    require_learning,
    task_files,
)
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import run_stage
from argos_sim.randomization.ranges import get_ranges
from argos_wm.checkpoint import load_json, save_json
from argos_wm.data.files import DatasetError
from argos_wm.data.layout import DatasetSummary, check_dataset

TASK_FILES = "task_files.json"
VIEW_SPREAD = 0.25
"""rad more than in the task; an encoder must also know postures that demonstrations only pass near."""


def collect_demos(settings: Settings) -> dict[str, Any]:
    """Record demonstrations into ``<run>/demos/dataset``, or copy those that the settings name."""
    if settings.demos.dataset is not None:
        return _copy_demos(settings, Path(settings.demos.dataset))
    # All that follows would be recorded for nothing.
    require_fitting_encoder(settings)
    require_learning(settings)
    inputs = {
        "task": settings.task,
        # Runs of before there was this setting are what they were.
        "demos": {name: value for name, value in dataclasses.asdict(settings.demos).items() if name != "dataset"},
        "ranges": settings.drawn_from(),
        "physics": physics_identity(settings),
        "renderer": settings.renderer,
        "image_size": settings.encoder.image_size,
        "seed": settings.seed,
    }

    def work(folder: Path) -> dict[str, Any]:
        cfg = environment_cfg(settings, settings.demos.num_envs)
        with make_environment(cfg) as env:
            expert = make_expert(env, settings.task, settings.demos.expert, settings.seed)
            save_json(folder / TASK_FILES, task_files(settings.task))
            return record_demonstrations(env, expert, folder / "dataset", settings.demos.episodes)

    folder = settings.folder / "demos"
    record = run_stage(folder, "demos", inputs, work, settings.overwrite)
    changed = changed_since(folder, settings.task)
    if changed:
        print(f"  recorded before {', '.join(changed)} changed; overwrite=true records anew")
    return record


def _copy_demos(settings: Settings, dataset: Path) -> dict[str, Any]:
    """Copy a dataset after comparing its joints and rates with the task's.

    Raises:
        DatasetError: in one sentence, what does not fit.
    """
    cfg = environment_cfg(settings, 1)
    found = check_dataset(dataset, joint_names=cfg.joint_names, fps=cfg.rates.camera_hz)
    if not found.has_control or found.control_per_frame != cfg.rates.control_per_frame:
        raise DatasetError(
            f"{dataset} has {found.control_per_frame if found.has_control else 0} control steps a frame and the task "
            f"{cfg.rates.control_per_frame}: nothing in it can be imitated."
        )
    if settings.controller.demonstration_share > 0:
        _require_beginnings(found, cfg, settings.task)
    files = sorted(path for path in dataset.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()

    def work(folder: Path) -> dict[str, Any]:
        shutil.copytree(dataset, folder / "dataset", dirs_exist_ok=True)
        save_json(folder / TASK_FILES, task_files(settings.task))
        return {"recorded": found.episodes}

    return run_stage(settings.folder / "demos", "demos", {"dataset": digest}, work, settings.overwrite)


def _require_beginnings(found: DatasetSummary, cfg: LatentTrackingEnvCfg, task: str) -> None:
    """Refuse, before hours of other work, a dataset whose demonstrations PPO could not begin episodes as."""
    remedy = "and an episode of PPO cannot begin as one of its demonstrations: give controller.demonstration_share=0."
    if not found.environment_dim:
        raise DatasetError(f"{found.root} does not tell where blocks lay, {remedy}")
    asked = {text for texts in cfg.commands.instruction.phrasings().values() for text in texts}
    unknown = [text for text in found.tasks if text not in asked]
    if unknown:
        raise DatasetError(f"{found.root} has the instruction {unknown[0]!r}, which {task} does not ask for, {remedy}")


def changed_since(folder: Path, task: str) -> list[str]:
    """The task's files that are not as they were when ``folder`` was recorded. They are not among the stage's inputs: a
    comment that is changed must not cost what was recorded, and all that was learnt from it."""
    if not (folder / TASK_FILES).is_file():
        return []
    before, now = load_json(folder / TASK_FILES), task_files(task)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _view_cameras(settings: Settings) -> dict[str, Any]:
    """How views' cameras are moved, where that is not as in ``train``, whose ranges all views had before."""
    own, train = settings.ranges(), get_ranges("train")
    names = ("camera_position", "camera_rotation")
    moved = {name: getattr(own, name) for name in names if getattr(own, name) != getattr(train, name)}
    return {"cameras": moved} if moved else {}


def collect_views(settings: Settings) -> dict[str, Any]:
    """Render views into ``<run>/views/views.safetensors``."""
    encoder = settings.encoder
    given = encoder.folder is not None
    movements, scattered = (1, 0) if given else (encoder.view_movements, encoder.view_scattered)
    num_envs = encoder.check_envs if given else encoder.view_envs
    inputs = {
        "task": settings.task,
        "movements": movements,
        "scattered": scattered,
        "num_envs": num_envs,
        "expert": dataclasses.asdict(settings.demos.expert),
        "image_size": encoder.image_size,
        "renderer": settings.renderer,
        "ranges": settings.drawn_from(),
        "physics": physics_identity(settings),
        "seed": settings.seed,
    } | _view_cameras(settings)

    def work(folder: Path) -> dict[str, Any]:
        cfg = environment_cfg(settings, num_envs)
        place: dict[str, Any] = cfg.events.place_robot.params
        place["spread"] += VIEW_SPREAD
        place["joint_spread"] = {k: v + VIEW_SPREAD for k, v in place.get("joint_spread", {}).items()}
        brisk = dataclasses.replace(settings.demos.expert, noise=0.3, pace=(0.5, 1.08))
        with make_environment(cfg) as env:
            expert = make_expert(env, settings.task, brisk, settings.seed)
            record_views(env, expert, folder / "views.safetensors", movements, scattered)
        return {}

    return run_stage(settings.folder / "views", "views", inputs, work, settings.overwrite)
