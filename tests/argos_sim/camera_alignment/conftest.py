"""The SO-100's scene and body, and pictures of it from a hidden camera, made once for all tests of this folder."""

from __future__ import annotations

from typing import Any

import pytest

import tasks  # noqa: F401
from argos_sim.camera_alignment.recording import Recording
from argos_sim.camera_alignment.trials import WEBCAM, TrialSettings, arm_recording
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.export import body_of
from argos_sim.pipeline.settings import Settings

LENS = {name: (value / 2 if name == "principal_point" else value) for name, value in WEBCAM.items()}
"""Of half the pixels."""
SMALL = TrialSettings(height=240, width=320, postures=10, pixel_noise=2.0, joint_noise=0.0, **LENS)


@pytest.fixture(scope="session")
def cfg() -> Any:
    return environment_cfg(Settings(), 1)


@pytest.fixture(scope="session")
def world(cfg: Any) -> World:
    return World.of(cfg)


@pytest.fixture(scope="session")
def manifest(cfg: Any, world: World) -> PolicyManifest:
    count = len(world.joint_names)
    return PolicyManifest(
        spec={},
        joint_names=world.joint_names,
        joint_limits=world.joint_limits,
        torque_limits=(2.94,) * count,
        velocity_limits=(4.9,) * count,
        rates={"control_hz": 50},
        history=0,
        action_scale=(2.94,) * count,
        body=body_of(cfg.robot.arm("cpu"), postures=10),
    )


@pytest.fixture(scope="session")
def seen(world: World) -> tuple[Recording, Pinhole]:
    return arm_recording(world, SMALL, 5)
