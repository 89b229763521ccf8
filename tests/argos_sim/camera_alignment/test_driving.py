"""Laws of an arm that moves by itself: to its postures against gravity, once it is allowed, and let go in any case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from argos_sim.camera_alignment.driving import driven
from argos_sim.camera_alignment.found import trained_camera
from argos_sim.camera_alignment.matching import match
from argos_sim.camera_alignment.postures import chosen_postures
from argos_sim.camera_alignment.sessions import SIMULATED, moved_session
from argos_sim.camera_alignment.silhouette import ArmModel
from argos_sim.camera_alignment.ways import Stop, clearance, route
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.rotations import turn_of, turned
from argos_sim.mujoco_c.world import World
from tests.argos_sim.camera_alignment.arms import HeavyArm, Seeing, Waiting


@pytest.fixture
def bare(manifest: PolicyManifest) -> PolicyManifest:
    """Without a body: the stand-in's fingertip is nowhere."""
    return replace(manifest, body=None, joint_limits=((-1.0, 1.0),) * len(manifest.joint_names))


def test_an_arm_is_driven_to_its_postures_and_let_go(bare: PolicyManifest) -> None:
    clock = Waiting()
    robot, postures = HeavyArm(bare.joint_names, clock), np.array([[0.2] * 6, [-0.1, 0.3, 0.1, 0, 0, 0.2]])
    stops = [Stop(postures[0]), Stop(np.zeros(6), shown=False), Stop(postures[1])]
    recording = driven(robot, bare, stops, lambda: False, lambda text: None, clock)
    np.testing.assert_allclose(recording.joints, postures, atol=0.03)
    assert recording.pictures.shape == (2, 4, 4, 3) and recording.files == ("00.png", "01.png")
    assert not robot.torque.any()


def test_a_stop_lets_go(bare: PolicyManifest) -> None:
    clock = Waiting()
    robot = HeavyArm(bare.joint_names, clock)
    with pytest.raises(DeployError, match="Stopped by hand"):
        driven(robot, bare, [Stop(np.full(6, 0.5))], lambda: clock.now() > 0.3, lambda text: None, clock)
    assert not robot.torque.any() and robot.position.max() > 0


def test_an_arm_moves_by_itself_once_it_is_allowed_and_returns(manifest: PolicyManifest, world: World) -> None:
    lying, clock = np.array([0.0, -3.1, 3.0, 0.9, -1.57, 0.2]), Waiting()
    robot, asked, stopped = HeavyArm(manifest.joint_names, clock, lying, weight=0.0), [], []

    def moved(robot: HeavyArm, answer: str) -> np.ndarray:
        ask: Callable[[str], str] = lambda text: asked.append(text) or answer  # noqa: E731
        return moved_session(robot, manifest, world, 3, 0, ask, stopped, clock).joints

    with pytest.raises(DeployError, match="Nothing was moved"):
        moved(robot, "q")
    assert not robot.went and "through 3 postures" in asked[0]
    joints = moved(robot, "")
    assert len(joints) == 3 and np.ptp(joints, axis=0).max() > 0.3
    np.testing.assert_allclose(robot.position, lying, atol=0.05)
    arm = ArmModel(world)
    assert min(clearance(arm, q) for q in robot.went[::10]) > 0.0
    forward = HeavyArm(manifest.joint_names, clock, np.array([0.0, -0.6, 1.2, 1.0, 0.0, 0.0]), weight=0.0)
    with pytest.raises(ValueError, match="no way is clear to any posture"):
        moved(forward, "")
    assert not forward.went
    stopped.append("a key")
    with pytest.raises(DeployError, match="Stopped by hand"):
        moved(robot, "")


def test_the_simulated_arm_is_driven_and_its_camera_is_found(manifest: PolicyManifest, world: World) -> None:
    """With its noise, delays and lost packets, from begin to end."""
    arm, trained = ArmModel(world), trained_camera(world, 240, 320)
    robot = Seeing(world, SIMULATED)
    try:
        stops = route(arm, np.array(world.ready), chosen_postures(arm, trained, 8))
        recording = driven(robot, manifest, stops, lambda: False, lambda text: None, robot)
    finally:
        robot.close()
    wanted = np.array([stop.joints for stop in stops if stop.shown])
    assert len(recording.pictures) == 8 and np.abs(recording.joints - wanted).max() < 0.1
    found = match(recording, arm, trained).camera
    shift, turn = np.array(SIMULATED.camera_shift), turned(np.array(SIMULATED.camera_turn))
    assert np.linalg.norm(found.position - trained.position - shift) < 0.012
    assert np.degrees(np.linalg.norm(turn_of(found.aimed @ (turn @ trained.rotation).T))) < 0.6
    assert abs(found.focal / trained.focal / SIMULATED.camera_focal_scale - 1) < 0.02
