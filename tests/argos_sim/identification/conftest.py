"""One hidden arm, recorded without the wall clock, for all tests of this folder that a worker runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import tasks  # noqa: F401
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.identification import trial
from argos_sim.motion.model import RobotModel
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.export import body_of
from argos_sim.pipeline.settings import Settings
from tasks.so100.robot import so100_arm

SECONDS, SEED = 10.0, 3


@dataclass(frozen=True)
class Arm:
    """An arm that nobody knows, and its recording."""

    world: World
    manifest: PolicyManifest
    model: RobotModel
    folder: Path
    offset: float


def manifest_of(world: World) -> PolicyManifest:
    joints = len(world.joint_names)
    return PolicyManifest(
        spec={},
        joint_names=world.joint_names,
        joint_limits=world.joint_limits,
        torque_limits=(2.94,) * joints,
        velocity_limits=(4.9,) * joints,
        rates={"control_hz": world.rates.control_hz},
        history=0,
        action_scale=(2.94,) * joints,
        body=body_of(so100_arm("cpu")),
    )


@pytest.fixture(scope="session")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Arm:
    world = World.of(environment_cfg(Settings(), 1))
    manifest, folder = manifest_of(world), tmp_path_factory.mktemp("hidden")
    model = RobotModel(world.mjcf, world.joint_names)
    return Arm(world, manifest, model, folder, trial.record(world, manifest, folder, SECONDS, SEED, "nominal"))
