"""Laws of the ways to the posture box and back on MuJoCo: a heavy arm does not sag, and a stop brakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.simulated import SimulatedRobotSettings
from argos_sim.identification import trial
from argos_sim.identification.excitation import Excitation, ExcitationSettings
from argos_sim.identification.playing import play
from argos_sim.mujoco_c.virtual import VirtualRobot
from tests.argos_sim.identification.conftest import Arm

STRETCHED = np.array([-0.09, -0.11, 0.67, -0.73, 0.83, 0.3])
"""Stretched, two centimetres above the table, and as heavy as it can be."""


def goal(arm: Arm) -> np.ndarray:
    return Excitation(arm.manifest).centre


def lowest(arm: Arm, postures: np.ndarray) -> np.ndarray:
    """Height (N,) of the lowest point of what the shoulder carries [m]."""
    return arm.model.clearance(postures)[:, :5].min(1)


class Watched(VirtualRobot):
    """Notes where the arm truly is, and is stopped after ``until`` seconds."""

    def __init__(self, arm: Arm, begin: np.ndarray, until: float = np.inf) -> None:
        settings = SimulatedRobotSettings(image_size=16, seed=1, ranges="nominal", dynamics=trial.hidden(arm.world, 1))
        super().__init__(arm.world, settings, 0.001)
        arms = self._arm.arms
        arms.put_joints(np.r_[begin, np.zeros(6)][None])
        for i, name in enumerate(arm.world.objects):
            arms.data[0].joint(name).qpos[:2] = 0.5, 0.1 * i
        self._bus.read_out.write(position=begin, velocity=np.zeros(6), time=self.now())
        self.states: list[np.ndarray] = []
        self.stops, self.until = list[str](), until

    def wait_until(self, due: float) -> None:
        super().wait_until(due)
        self.states.append(self._arm.arms.joints()[0])
        if not self.stops and due > self.until:
            self.stops.append("somebody")


def test_an_arm_that_lies_low_and_heavy_does_not_sag_onto_the_table(arm: Arm, tmp_path: Path) -> None:
    robot = Watched(arm, STRETCHED)
    excitation = Excitation(arm.manifest, ExcitationSettings(seconds=1.0))
    play(robot, arm.manifest, arm.model, excitation, tmp_path, "arm", clock=robot)
    path = np.array(robot.states)[:, :6]
    begin = lowest(arm, STRETCHED[None])[0]
    raised = np.abs(path - goal(arm)).max(1).argmin()
    assert lowest(arm, path[:raised]).min() > begin - 0.005
    assert np.abs(path[raised] - goal(arm)).max() < 0.1, "it came to its box"
    assert np.abs(np.array(robot.states)[-1, 6:]).max() < 0.2, "and rests where it is let go"
    assert lowest(arm, path[-1:])[0] < begin + 0.02, "where it began"


def test_a_stop_lets_an_upright_arm_sink_and_not_fall(arm: Arm, tmp_path: Path) -> None:
    """Against letting it go at once."""
    lean = np.array([0.0, -1.1, 0.9, 0.3, 0.0, 0.5])
    fastest, height = {}, {}
    for braked in (True, False):
        robot = Watched(arm, lean, until=0.3)
        if not braked:
            robot.stops.append("somebody")
            robot.until = 0.0
        excitation = Excitation(arm.manifest, ExcitationSettings(seconds=1.0))
        if braked:
            with pytest.raises(DeployError, match="Stopped: somebody"):
                play(robot, arm.manifest, arm.model, excitation, tmp_path / "recording", "arm", robot.stops, robot)
        else:
            for _ in range(100):
                robot.send(np.zeros(6))
                robot.wait_until(robot.now() + 0.02)
        states = np.array(robot.states)[round(50 * robot.until) :]
        fastest[braked] = np.abs(states[:45, 6:]).max()
        height[braked] = lowest(arm, states[25:26, :6])[0]
    assert fastest[True] < 0.6 * fastest[False] and height[True] > height[False] + 0.05
