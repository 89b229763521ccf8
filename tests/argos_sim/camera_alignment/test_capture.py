"""Laws of taking pictures: an arm is driven to its postures against gravity, and let go in any case."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from argos_sim.camera_alignment.capture import by_hand, driven
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import Frame, JointReading

INERTIA, FRICTION, GRAVITY = 0.05, 0.6, 0.4


class HeavyArm:
    """Joints with inertia and a constant weight, on the clock; its picture shows how often it was asked."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.joint_names, count = names, len(names)
        self.position, self.velocity, self.torque = np.zeros(count), np.zeros(count), np.zeros(count)
        self._then, self.closed = time.monotonic(), False

    def joints(self) -> JointReading:
        now = time.monotonic()
        for _ in range(round((now - self._then) / 1e-3)):
            self._then += 1e-3
            self.velocity += 1e-3 / INERTIA * (self.torque - GRAVITY - FRICTION * self.velocity)
            self.position = self.position + 1e-3 * self.velocity
        return JointReading(self.position.copy(), self.velocity.copy(), now)

    def frame(self) -> Frame:
        return Frame((np.full((4, 4, 3), 7, np.uint8),), time.monotonic())

    def send(self, torque: np.ndarray) -> None:
        self.torque = np.array(torque)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bare(manifest: PolicyManifest) -> PolicyManifest:
    """Without a body: the stand-in's fingertip is nowhere."""
    limits = ((-1.0, 1.0),) * len(manifest.joint_names)
    return replace(manifest, body=None, joint_limits=limits)


def test_an_arm_is_driven_to_its_postures_and_let_go(bare: PolicyManifest) -> None:
    robot, postures = HeavyArm(bare.joint_names), np.array([[0.2] * 6, [-0.1, 0.3, 0.1, 0, 0, 0.2]])
    recording = driven(robot, bare, postures, lambda: False, lambda text: None)
    np.testing.assert_allclose(recording.joints, postures, atol=0.06)
    assert recording.pictures.shape == (2, 4, 4, 3) and recording.files == ("00.png", "01.png")
    assert not robot.torque.any()


def test_a_stop_lets_go(bare: PolicyManifest) -> None:
    robot, end = HeavyArm(bare.joint_names), time.monotonic() + 0.3
    with pytest.raises(DeployError, match="Stopped by hand"):
        driven(robot, bare, np.full((1, 6), 0.5), lambda: time.monotonic() > end, lambda text: None)
    assert not robot.torque.any() and robot.position.max() > 0


def test_a_hand_takes_pictures_and_touches_corners(bare: PolicyManifest) -> None:
    robot, asked = HeavyArm(bare.joint_names), []

    def ask(text: str) -> str:
        asked.append(text)
        robot.position = np.full(6, 0.1 * len(asked))
        robot.velocity[:] = 0.0
        robot.torque[:] = GRAVITY
        return "s" if "corner C" in text else ""

    recording = by_hand(robot, bare, 2, ask, ("A", "B", "C", "D"))
    np.testing.assert_allclose(recording.joints[:, 0], [0.1, 0.2], atol=0.01)
    assert list(recording.touches) == ["A", "B", "D"] and recording.placed == "01.png"
    np.testing.assert_allclose(recording.touches["D"], 0.6, atol=0.01)
