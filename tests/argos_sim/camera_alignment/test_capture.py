"""Laws of taking pictures: an arm is driven to its postures against gravity, and let go in any case."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from argos_sim.camera_alignment.capture import by_hand, driven
from argos_sim.camera_alignment.sessions import moved_session
from argos_sim.camera_alignment.silhouette import ArmModel
from argos_sim.camera_alignment.ways import Stop, clearance
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.mujoco_c.world import World

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
    stops = [Stop(postures[0]), Stop(np.zeros(6), shown=False), Stop(postures[1])]
    recording = driven(robot, bare, stops, lambda: False, lambda text: None)
    np.testing.assert_allclose(recording.joints, postures, atol=0.06)
    assert recording.pictures.shape == (2, 4, 4, 3) and recording.files == ("00.png", "01.png")
    assert not robot.torque.any()


def test_a_stop_lets_go(bare: PolicyManifest) -> None:
    robot, end = HeavyArm(bare.joint_names), time.monotonic() + 0.3
    with pytest.raises(DeployError, match="Stopped by hand"):
        driven(robot, bare, [Stop(np.full(6, 0.5))], lambda: time.monotonic() > end, lambda text: None)
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


def test_a_posture_in_which_a_limp_arm_does_not_rest_is_taken_again(bare: PolicyManifest) -> None:
    robot, asked = HeavyArm(bare.joint_names), []

    def ask(text: str) -> str:
        asked.append(text)
        robot.velocity[:] = 0.0
        robot.torque[:] = GRAVITY
        if len(asked) == 1:
            robot.torque[3] = 0.0  # nothing bears this joint
        return ""

    recording = by_hand(robot, bare, 1, ask)
    assert len(asked) == 2 and asked[1].startswith(f"{bare.joint_names[3]} moved by 0.") and "prop the arm" in asked[1]
    assert len(recording.pictures) == 1


class Follows(HeavyArm):
    """Lies somewhere, and weighs nothing."""

    def __init__(self, names: tuple[str, ...], position: np.ndarray) -> None:
        super().__init__(names)
        self.position = position
        self.went: list[np.ndarray] = []

    def send(self, torque: np.ndarray) -> None:
        self.torque = np.array(torque) + GRAVITY
        self.went.append(self.position.copy())


def test_an_arm_moves_by_itself_once_it_is_allowed_and_returns(manifest: PolicyManifest, world: World) -> None:
    lying = np.array([0.0, -3.1, 3.0, 0.9, -1.57, 0.2])
    robot, asked, stopped = Follows(manifest.joint_names, lying), [], []

    def ask(answer: str) -> Callable[[str], str]:
        return lambda text: asked.append(text) or answer

    with pytest.raises(DeployError, match="Nothing was moved"):
        moved_session(robot, manifest, world, 3, 0, ask("q"), stopped)
    assert not robot.went and "through 3 postures" in asked[0]
    recording = moved_session(robot, manifest, world, 3, 0, ask(""), stopped)
    assert len(recording.pictures) == 3 and np.ptp(recording.joints, axis=0).max() > 0.3
    np.testing.assert_allclose(robot.position, lying, atol=0.1)
    arm = ArmModel(world)
    assert min(clearance(arm, q) for q in robot.went[::20]) > 0.0
    folded_forward = Follows(manifest.joint_names, np.array([0.0, -0.6, 1.2, 1.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="no way is clear to any posture"):
        moved_session(folded_forward, manifest, world, 3, 0, ask(""), stopped)
    assert not folded_forward.went
    stopped.append("a key")
    with pytest.raises(DeployError, match="Stopped by hand"):
        moved_session(robot, manifest, world, 3, 0, ask(""), stopped)
