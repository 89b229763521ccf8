"""Laws of an arm that moves by itself: to its postures against gravity, once it is allowed, and let go in any case."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from argos_sim.camera_alignment.driving import driven
from argos_sim.camera_alignment.found import trained_camera
from argos_sim.camera_alignment.matching import match
from argos_sim.camera_alignment.postures import chosen_postures
from argos_sim.camera_alignment.route import Leg, route
from argos_sim.camera_alignment.sessions import SIMULATED, moved_session
from argos_sim.camera_alignment.silhouette import ArmModel
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import Frame
from argos_sim.deploy.rotations import turn_of, turned
from argos_sim.motion.driving import Driver
from argos_sim.motion.model import RobotModel
from argos_sim.motion.ways import Way, Ways
from argos_sim.mujoco_c.world import World
from tests.argos_sim.camera_alignment.arms import HeavyArm, Seeing, Waiting


@pytest.fixture
def bare(manifest: PolicyManifest) -> PolicyManifest:
    """Without a body: the stand-in's fingertip is nowhere."""
    return replace(manifest, body=None, joint_limits=((-1.0, 1.0),) * len(manifest.joint_names))


def legs_through(manifest: PolicyManifest, *postures: np.ndarray) -> list[Leg]:
    """Straight from zero through postures, of which the second is not shown."""
    path = [np.zeros(len(manifest.joint_names)), *postures]
    ways = [Way(np.stack(ends), np.array([0.0, 1.0])) for ends in itertools.pairwise(path)]
    return [Leg(way, shown=number != 1) for number, way in enumerate(ways)]


def weightless(q: np.ndarray) -> np.ndarray:
    return np.zeros_like(q)


def test_an_arm_is_driven_to_its_postures_and_let_go(bare: PolicyManifest) -> None:
    clock = Waiting()
    robot, postures = HeavyArm(bare.joint_names, clock), np.array([[0.2] * 6, [0] * 6, [-0.1, 0.3, 0.1, 0, 0, 0.2]])
    driver = Driver(robot, bare, weightless, (), clock)
    recording = driven(robot, driver, legs_through(bare, *postures), lambda text: None, clock)
    np.testing.assert_allclose(recording.joints, postures[[0, 2]], atol=0.03)
    assert recording.pictures.shape == (2, 4, 4, 3) and recording.files == ("00.png", "01.png")
    assert not robot.torque.any()


class Stopping(HeavyArm):
    """Somebody stops it at these times [s]."""

    def __init__(self, manifest: PolicyManifest, clock: Waiting, *times: float) -> None:
        super().__init__(manifest.joint_names, clock)
        self.stops, self.times, self.sent = list[str](), list(times), list[tuple[float, np.ndarray, np.ndarray]]()

    def send(self, torque: np.ndarray) -> None:
        super().send(torque)
        self.sent.append((self.clock.now(), self.velocity.copy(), torque))
        while self.times and self.clock.now() > self.times[0]:
            self.stops.append(f"after {self.times.pop(0)} s")


def stopped(bare: PolicyManifest, *times: float) -> Stopping:
    clock = Waiting()
    robot = Stopping(bare, clock, *times)
    driver = Driver(robot, bare, weightless, robot.stops, clock)
    with pytest.raises(DeployError, match="Stopped: after 0.3 s. Nothing was written"):
        driven(robot, driver, legs_through(bare, np.full(6, 0.5)), lambda text: None, clock)
    assert not robot.torque.any() and np.max(robot.went) > 0
    return robot


def test_a_stop_brakes_and_a_second_one_lets_go(bare: PolicyManifest) -> None:
    """An arm that goes on falling, whatever it is told."""
    braked = [(at, velocity, torque) for at, velocity, torque in stopped(bare, 0.3).sent if at > 0.31]
    assert 2.2 < braked[-1][0] < 2.4
    for _, velocity, torque in braked[:-1]:
        np.testing.assert_allclose(torque, -0.6 * velocity, atol=0.1)
    assert 0.3 < stopped(bare, 0.3, 0.5).sent[-1][0] < 0.55
    assert stopped(bare, 0.3, 0.3).sent[-1][0] < 0.35


def test_a_camera_without_pictures_ends_it_braked(bare: PolicyManifest) -> None:
    clock = Waiting()
    robot, notes = HeavyArm(bare.joint_names, clock), []
    robot.frame = lambda: None
    driver = Driver(robot, bare, weightless, (), clock, note=lambda *step: notes.append(driver.braking))
    with pytest.raises(DeployError, match="The camera gives no new pictures. Nothing was written"):
        driven(robot, driver, legs_through(bare, np.full(6, 0.2)), lambda text: None, clock)
    assert notes[-1] and not notes[-150] and not robot.torque.any()


def test_what_was_taken_is_kept_where_the_way_back_is_stopped(bare: PolicyManifest) -> None:
    clock, said = Waiting(), list[str]()
    robot = Stopping(bare, clock)
    there, back = legs_through(bare, np.full(6, 0.2), np.zeros(6))
    driver = Driver(robot, bare, weightless, robot.stops, clock)

    def show(text: str) -> None:
        said.append(text)
        robot.stops.append("a key was pressed")

    recording = driven(robot, driver, [there, back], show, clock)
    assert said[0] == "posture 1 of 1" and said[1].endswith("a key was pressed. All pictures had been taken.")
    np.testing.assert_allclose(recording.joints, np.full((1, 6), 0.2), atol=0.03)
    assert driver.braking and not robot.torque.any(), "it is stopped all the same"


class Buffered(HeavyArm):
    """Its driver hands out a picture that it took 0.29 s ago as if it were new."""

    stamps: list[float]

    def frame(self) -> Frame | None:
        self.stamps = [*getattr(self, "stamps", []), self.clock.now()]
        number = len(self.stamps) - 1
        return Frame((np.array([[[number // 256, number % 256, 0]]], np.uint8),), self.stamps[-1])


def test_no_picture_is_believed_that_may_be_older_than_the_arms_rest(bare: PolicyManifest) -> None:
    clock, rests = Waiting(), list[float]()
    robot = Buffered(bare.joint_names, clock)
    driver = Driver(robot, bare, weightless, (), clock)
    follow = driver.follow

    def followed(way: Way) -> None:
        follow(way)
        rests.append(clock.now())

    driver.follow = followed
    pictures = driven(robot, driver, legs_through(bare, np.full(6, 0.3)), lambda text: None, clock).pictures
    number = int(pictures[0, 0, 0, :2] @ [256, 1])
    assert robot.stamps[number] - 0.29 > rests[0]
    assert robot.stamps[number] - 0.35 < rests[0], "nor is more waited for"


def test_an_arm_moves_by_itself_once_it_is_allowed_and_returns(manifest: PolicyManifest, world: World) -> None:
    lying, clock = np.array([0.0, -3.1, 3.0, 0.9, -1.57, 0.2]), Waiting()
    model = RobotModel(world.mjcf, world.joint_names)
    weight = lambda q: model.gravity(q) * (np.abs(q - lying).max() > 0.1)  # noqa: E731  # its foot bears it there
    robot, asked, stopped = HeavyArm(manifest.joint_names, clock, lying, weight), [], []

    def moved(answer: str) -> np.ndarray:
        ask: Callable[[str], str] = lambda text: asked.append(text) or answer  # noqa: E731
        return moved_session(robot, manifest, world, 3, 0, ask, stopped, clock).joints

    with pytest.raises(DeployError, match="Nothing was moved"):
        moved("q")
    assert not robot.went and "through 3 postures" in asked[0]
    joints = moved("")
    assert len(joints) == 3 and np.ptp(joints, axis=0).max() > 0.3
    np.testing.assert_allclose(robot.went[-1], lying, atol=0.12)
    assert min(model.free(q) for q in robot.went[::10]) > 0.0
    stopped.append("a key")
    with pytest.raises(DeployError, match="Stopped: a key. Nothing was moved"):
        moved("")


def test_the_simulated_arm_is_driven_and_its_camera_is_found(manifest: PolicyManifest, world: World) -> None:
    """With its noise, delays and lost packets, from begin to end."""
    arm, trained = ArmModel(world), trained_camera(world, 240, 320)
    robot, model, ready = Seeing(world, SIMULATED), RobotModel(world.mjcf, world.joint_names), np.array(world.ready)
    try:
        legs = route(Ways(model, manifest), ready, ready, chosen_postures(arm, trained, 8))
        recording = driven(robot, Driver(robot, manifest, model.gravity, (), robot), legs, lambda text: None, robot)
    finally:
        robot.close()
    wanted = np.array([leg.way.end for leg in legs if leg.shown])
    assert len(recording.pictures) == 8 and np.abs(recording.joints - wanted).max() < 0.1
    found = match(recording, arm, trained).camera
    shift, turn = np.array(SIMULATED.camera_shift), turned(np.array(SIMULATED.camera_turn))
    assert np.linalg.norm(found.position - trained.position - shift) < 0.012
    assert np.degrees(np.linalg.norm(turn_of(found.aimed @ (turn @ trained.rotation).T))) < 0.6
    assert abs(found.focal / trained.focal / SIMULATED.camera_focal_scale - 1) < 0.02
