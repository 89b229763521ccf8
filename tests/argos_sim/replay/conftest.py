"""The world of the default task, and a recording of it, for all tests of this folder."""

from __future__ import annotations

import pytest

import tasks  # noqa: F401
from argos_sim.deploy.recording import Recording, load_recording
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from tests.argos_sim.replay.made import record


@pytest.fixture(scope="session")
def world() -> World:
    return World.of(environment_cfg(Settings(), 1))


@pytest.fixture(scope="session")
def recorded(world: World, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return load_recording(record(tmp_path_factory.mktemp("recorded"), world, episodes=(3, 4)))
