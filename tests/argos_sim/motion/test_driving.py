"""Laws of driving: an arm goes where its way ends, is waited for, and is not driven where it is not as it must be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.motion.driving import BOUND, Driver, Stopped
from argos_sim.motion.ways import Way
from tests.argos_sim.motion.robots import SO100

WAY = Way(np.stack([SO100.ready, SO100.ready + 0.3]), np.array([0.0, 1.0]))


class Moved:
    """An arm that is at ``place(t)`` (J,) [rad], whatever it is told; its own clock."""

    def __init__(self, place: Callable[[float], np.ndarray]) -> None:
        self.joint_names, self.place, self.time, self.sent = SO100.manifest.joint_names, place, 0.0, list[np.ndarray]()

    def now(self) -> float:
        return self.time

    def wait_until(self, due: float) -> None:
        self.time = max(self.time, due)

    def joints(self) -> JointReading | None:
        return JointReading(self.place(self.time), np.zeros(6), self.time)

    def frame(self) -> Frame | None:
        return None

    def send(self, torque: np.ndarray) -> None:
        self.sent.append(torque)

    def close(self) -> None:
        pass


def driver(robot: Moved) -> Driver:
    return Driver(robot, SO100.manifest, SO100.model.gravity, (), robot)


def along(late: float) -> Callable[[float], np.ndarray]:
    """``WAY``, so many seconds late."""
    return lambda time: SO100.ready + 0.3 * np.clip(time - late, 0.0, 1.0)


def test_a_way_ends_when_the_arm_rests_at_its_end() -> None:
    in_time, late = Moved(along(0.1)), Moved(along(1.5))
    for robot in (in_time, late):
        moving = driver(robot)
        moving.run(lambda moving=moving: moving.follow(WAY))
    assert 1.6 < in_time.time < 2.2 and 3.0 < late.time < 3.5


def test_an_arm_that_does_not_come_to_rest_is_let_go() -> None:
    robot = Moved(lambda time: along(0.0)(time) + 0.05 * np.sin(2 * np.pi * time))
    moving = driver(robot)
    with pytest.raises(Stopped, match="does not come to rest"):
        moving.run(lambda: moving.follow(WAY))
    assert 11.0 < robot.time < 12.0 and not robot.sent[-1].any()


def test_an_arm_that_is_held_gets_its_weight_and_no_more_than_the_bound() -> None:
    robot = Moved(lambda time: SO100.ready)
    moving, still = driver(robot), Way(np.stack([SO100.ready] * 2), np.array([0.0, 0.1]))
    moving.run(lambda: (moving.follow(still), robot.sent.clear(), moving.hold()))
    held = robot.sent[0]
    np.testing.assert_allclose(held, SO100.model.gravity(SO100.ready), atol=1e-6)
    assert np.abs(held).max() > 0.1
    far = Moved(lambda time: SO100.ready + np.minimum(0.5, time))
    moving = driver(far)
    moving.run(lambda: [moving.push(lambda q: np.full(6, 0.01)) for _ in range(3)])
    with pytest.raises(Stopped, match=r"is 0.6\d rad behind"):
        moving.run(lambda: moving.follow(Way(np.stack([SO100.ready, SO100.ready - 1.0]), np.array([0.0, 2.0]))))
    assert np.abs(far.sent).max() <= BOUND * 2.94 + 1e-9


def test_where_it_lies_is_read_once_it_lies_still() -> None:
    robot, asked = Moved(lambda time: SO100.ready), list[np.ndarray]()

    def plan(begin: np.ndarray) -> str:
        asked.append(begin)
        if len(asked) == 1:  # somebody moves it meanwhile
            robot.place = lambda time: SO100.ready + 0.1
        return f"plan {len(asked)}"

    assert driver(robot).planned(plan) == "plan 2"
    np.testing.assert_allclose(asked[1], SO100.ready + 0.1)
    restless = Moved(lambda time: SO100.ready)

    def shaken(begin: np.ndarray) -> None:
        restless.place = lambda time, begin=begin: begin + 0.06

    with pytest.raises(DeployError, match="does not lie still"):
        driver(restless).planned(shaken)
    assert not restless.sent


def test_an_arm_that_reads_far_beyond_its_range_is_not_driven() -> None:
    beyond = np.array(SO100.manifest.joint_limits)[:, 1] * [1, 0, 0, 0, 0, 0] + [0.3, 0, 0, 0, 0, 0]
    robot = Moved(lambda time: beyond)
    with pytest.raises(DeployError, match=r"shoulder_pan reads 0.30 rad beyond its range.* Nothing was moved"):
        driver(robot).planned(lambda begin: begin)
    assert not robot.sent


def test_one_that_reads_a_little_beyond_comes_into_it_no_faster_than_others_move() -> None:
    beyond = SO100.ready.copy()
    beyond[0] = SO100.manifest.joint_limits[0][1] + 0.14
    path = Way(np.stack([beyond, SO100.ready]), np.array([0.0, 8.0])).played(SO100.manifest, beyond, 0.0)
    speeds = [np.abs(path.wanted(float(time)).velocity).max() for time in np.arange(0.0, 9.0, 0.01)]
    assert 0.1 < max(speeds) < 1.3


def test_an_arm_that_fell_between_two_runs_is_followed_from_where_it_lies() -> None:
    robot = Moved(along(0.0))
    moving = driver(robot)
    moving.run(lambda: moving.follow(WAY))
    low = SO100.ready - 0.2
    robot.place, here = lambda time: low, len(robot.sent)
    moving.run(lambda: moving.follow(Way(np.stack([low, low]), np.array([0.0, 0.1]))))
    np.testing.assert_allclose(robot.sent[here], SO100.model.gravity(low), atol=1e-6)
