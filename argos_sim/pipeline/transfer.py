"""Transfer tables: the trained controllers where they never were. Other ranges, another engine, MuJoCo's own.

A cell is an engine and a condition; each is a stage of its own in ``<run>/transfer/<engine>/<condition>``, so that a
killed run goes on with the cell that it was in. Its figures are ``transfer.<policy>.<engine>.<condition>.<figure>``.
Cells of weights that are no longer there are taken away, so that one table shows one run; those of other settings only
with ``overwrite``.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from argos_sim.controller.network import load_controller
from argos_sim.deploy.manifest import FORMAT_VERSION
from argos_sim.evaluation import ControllerPolicy, PerfectTracking, controller_figures
from argos_sim.mujoco_c.loop import BatchedController, Drive, Loop, NoTorque, require_known
from argos_sim.mujoco_c.loop import PerfectTracking as PerfectTrackingInMujoco
from argos_sim.mujoco_c.policy import BatchedPolicy
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import Scenes, environment_cfg, physics_identity, unseen_was_seen
from argos_sim.pipeline.evaluate import EVALUATION_SEED, judge_planned, print_result
from argos_sim.pipeline.export import export_trained, export_whole
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.pipeline.stage import RECORD, fingerprint, require_stage, require_stale, run_stage
from argos_sim.randomization.ranges import GROUPS, RandomizationRanges, with_group
from argos_sim.randomization.shifts import SHIFTS, set_world
from argos_wm.checkpoint import load_json

MUJOCO = "mujoco"
"""The engine that Isaac Lab has no part in."""
LIGHTS = ("light", "unseen_light")
"""Conditions with a lamp that training never saw, near and with shadows, which here only MuJoCo's loop can have."""
CONDITIONS = ("nominal", "train", *GROUPS, "unseen", *LIGHTS)
ARMS = 32
"""Arms that the MuJoCo loop steps in turn, for pictures and plans to be made in batches."""


def conditions(settings: Settings, engine: str) -> dict[str, RandomizationRanges]:
    """The ranges of each condition that is to be measured on ``engine``: the run's own, with one group or all of the
    groups from ``unseen``."""
    wanted = settings.evaluation.transfer_conditions or CONDITIONS
    unknown = [name for name in wanted if name not in CONDITIONS]
    if unknown:
        raise SettingsError(
            f"There is no condition {unknown[0]!r} in evaluation.transfer_conditions. Choose from: "
            f"{', '.join(CONDITIONS)}."
        )
    own, unseen = settings.ranges(), settings.ranges("unseen")
    every = {"nominal": settings.ranges("nominal"), "train": own, "light": own}
    every |= {group: with_group(own, unseen, group) for group in GROUPS} | dict.fromkeys(
        ("unseen", "unseen_light"), unseen
    )
    return {name: every[name] for name in CONDITIONS if name in wanted and (engine == MUJOCO or name not in LIGHTS)}


def transfer_stage(settings: Settings, engine: str) -> None:
    """Judge every policy in every cell of ``engine``, in this process."""
    cells = conditions(settings, engine)
    stages = tuple(dict.fromkeys(("imitation", settings.prior, "ppo")))
    records = {name: require_stage(settings.folder / name, name, "train_controller.py") for name in stages}
    planner = require_stage(settings.folder / "planner", "planner", "train_planner.py")
    policies = {
        "controllers": {name: record["fingerprint"] for name, record in records.items()},
        "planner": planner["fingerprint"],
        "sampling": dataclasses.asdict(settings.controller.sampling),
        "task": settings.task,
        "seed": settings.seed,
    }
    made_from = fingerprint(policies)
    _take_away_others(settings, policies)
    common: dict[str, Any] = {
        "transfer.made_from": made_from,
        "transfer.trained_on": records["ppo"]["figures"].get("physics", settings.resolved_physics()),
        "transfer.unseen_was_seen": unseen_was_seen(settings),
    }
    with ExitStack() as stack:
        judge_cell = (_mujoco if engine == MUJOCO else _isaac_lab)(settings, engine, stages, stack)
        for condition, ranges in cells.items():
            inputs = policies | {
                "world": _world_identity(settings, engine),
                "ranges": ranges.identity(),
                "photographs": settings.drawn_from().get("photographs"),
                "episodes": settings.evaluation.transfer_episodes,
            }

            def work(folder: Path, condition: str = condition, ranges: RandomizationRanges = ranges) -> dict[str, Any]:
                figures = dict(common)
                for policy, found in judge_cell(condition, ranges).items():
                    figures |= {f"transfer.{policy}.{engine}.{condition}.{k}": v for k, v in found.items()}
                return figures

            folder = settings.folder / "transfer" / engine / condition
            run_stage(folder, f"evaluate_transfer_{engine}_{condition}", inputs, work, settings.overwrite)


def _take_away_others(settings: Settings, policies: dict[str, Any]) -> None:
    """Remove the cells, of all engines, that were measured with weights that are no longer there.

    Raises:
        CheckpointError: some were measured with other settings, and ``overwrite`` does not say that they may go.
    """
    records = {path.parent: load_json(path) for path in sorted((settings.folder / "transfer").glob(f"*/*/{RECORD}"))}
    made_from = fingerprint(policies)
    others = {cell: x for cell, x in records.items() if x["figures"].get("transfer.made_from") != made_from}
    for cell, record in others.items():
        if not settings.overwrite:
            known = {"inputs": {k: record["inputs"].get(k) for k in policies}} if "inputs" in record else {}
            require_stale(cell, record["name"], record | known, policies)
    for cell in others:
        print(f"[transfer] {cell} is of other weights or settings: taken away", flush=True)
        shutil.rmtree(cell)


def _world_identity(settings: Settings, engine: str) -> dict[str, Any]:
    """What decides how bodies move and look on ``engine``, and in which form a policy comes there."""
    if engine != MUJOCO:
        return physics_identity(settings, engine) | {"renderer": settings.renderer}
    world = World.of(environment_cfg(settings, 1))
    return dataclasses.asdict(world) | {"mjcf": world.mjcf.name, "export": FORMAT_VERSION}


JudgeCell = Callable[[str, RandomizationRanges], dict[str, dict[str, Any]]]
"""Figures of each policy under a condition's ranges."""


def _isaac_lab(settings: Settings, engine: str, stages: tuple[str, ...], stack: ExitStack) -> JudgeCell:
    """Judges in an environment of Isaac Lab's, opened when the first cell needs it."""
    count = settings.evaluation.transfer_episodes
    num_envs = min(count, settings.controller.ppo.num_envs)
    cfg = environment_cfg(settings, num_envs, engine, str(settings.folder / "encoder"))
    cfg.seed = settings.seed + EVALUATION_SEED
    scenes = stack.enter_context(Scenes(cfg, conditions(settings, engine).values()))
    spec = load_encoder(settings).spec
    controllers = {name: load_controller(settings.folder / name, spec, "the encoder") for name in stages}

    def judge_cell(condition: str, ranges: RandomizationRanges) -> dict[str, dict[str, Any]]:
        env = scenes.having(ranges)
        policies: dict[str, Any] = {k: ControllerPolicy(v.to(env.device)) for k, v in controllers.items()}
        policies["perfect"] = PerfectTracking(env)
        set_world(env, ranges, SHIFTS["none"], settings.seed + EVALUATION_SEED)  # whichever cells came before
        return {
            name: judge_planned(env, policy, settings, count, f"{name}, {engine}, {condition}")[1]
            for name, policy in policies.items()
        }

    return judge_cell


def _mujoco(settings: Settings, engine: str, stages: tuple[str, ...], stack: ExitStack) -> JudgeCell:
    """Judges in the independent loop: exported policies, and two yardsticks that need no controller."""
    count = settings.evaluation.transfer_episodes
    for ranges in conditions(settings, engine).values():
        require_known(ranges)
    world, arms = World.of(environment_cfg(settings, 1)), min(ARMS, count)

    @cache
    def exported() -> tuple[BatchedPolicy, dict[str, Drive]]:
        """Encoder and planner, and what moves the arms; when the first cell needs them."""
        folder, drives = settings.folder / "transfer" / "exports", dict[str, Drive]()
        export_whole(settings, stages[-1], folder / "policy")
        policy = BatchedPolicy.load(folder / "policy")
        for name in stages:
            export_trained(settings, name, folder / name)
            drives[name] = BatchedController.load(folder / name, policy)
        return policy, drives | {"perfect": PerfectTrackingInMujoco(), "limp": NoTorque()}

    def judge_cell(condition: str, ranges: RandomizationRanges) -> dict[str, dict[str, Any]]:
        policy, drives = exported()
        loop = Loop(world, ranges, policy, arms, condition in LIGHTS, settings.seed + EVALUATION_SEED)
        found = {}
        for name, drive in drives.items():
            label = f"{name}, {engine}, {condition}"
            found[name] = controller_figures(loop.run(drive, count, label))
            print_result(label, found[name])
        return found

    return judge_cell
