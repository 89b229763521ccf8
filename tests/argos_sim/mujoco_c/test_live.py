"""Laws of the arm in real time: a command acts by its own time, however late its process wakes up."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

import tasks  # noqa: F401
from argos_sim.deploy.simulated import SimulatedRobotSettings
from argos_sim.deploy.simulated_bus import SimulatedBus
from argos_sim.mujoco_c import live
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import get_ranges


def test_a_command_waits_for_the_first_step_that_is_due_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.of(environment_cfg(Settings(), 1))
    monkeypatch.setattr(live, "BACKGROUNDS", len(get_ranges("train").background_families))
    settings = SimulatedRobotSettings(image_size=16, lost=0.0)
    bus = SimulatedBus(multiprocessing.get_context("spawn"), len(world.joint_names), settings.picture_shape)
    arm = live.LiveArm(world, settings, bus.command, bus.read_out, bus.frame)
    acted: list[float] = []
    monkeypatch.setattr(arm.arms, "physics_step", lambda command: acted.append(float(command[0, 0])))
    for number in range(1, 31):  # all are there when physics, which is late, catches up
        bus.send(np.full(6, 0.01 * number), 0.002 * number + 1e-4)
    for step in range(12):
        arm.step(0.005 * step)
    assert np.allclose(acted, [0.01 * ((5 * step - 0.1) // 2) if step else 0.0 for step in range(12)])
