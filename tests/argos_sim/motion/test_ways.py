"""Laws of ways: they keep their distance, and where there is none that is one sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from argos_sim.deploy.manifest import DeployError
from argos_sim.motion import ways
from argos_sim.motion.model import RobotModel
from tests.argos_sim.motion.robots import FRANKA, SO100, Known

FORWARD = np.array([-2.09, -1.91, 2.84, -0.51, -2.86, -0.15])
"""Folded, five centimetres above the table; all joints at one speed would bring the jaw onto it."""
BACK = np.array([0.0, -3.0, 3.0, 1.2, 0.0, 0.2])
"""Folded over the foot, as it rests."""
UPRIGHT = np.array([0.0, -1.65, 0.85, -0.1, 0.0, 0.85])


def played(robot: Known, way: ways.Way, begin: np.ndarray) -> np.ndarray:
    """Postures every 20 ms."""
    path = way.played(robot.manifest, begin, 5.0)
    return np.array([path.wanted(5.0 + 0.02 * k).position for k in range(int(50 * path.seconds) + 5)])


def lowest(postures: np.ndarray) -> np.ndarray:
    """Height (N,) of the lowest point of what the shoulder carries [m]."""
    return SO100.model.clearance(postures)[:, :5].min(1)


@pytest.mark.parametrize("begin", [FORWARD, BACK], ids=["forward", "back"])
def test_a_way_keeps_its_distance_where_all_joints_at_once_do_not(begin: np.ndarray) -> None:
    model, way = SO100.model, SO100.ways.found(begin, UPRIGHT)
    path = played(SO100, way, begin)
    assert np.array_equal(path[0], begin) and np.allclose(path[-1], UPRIGHT) and np.allclose(way.end, UPRIGHT)
    clearance, ends = model.clearance(path), model.clearance(np.stack([begin, UPRIGHT])).min(0)
    assert (clearance >= np.minimum(ends, ways.WANTED) - 2.1 * ways.SLACK).all()
    away = np.abs(path - begin).max(1) > ways.LEAVING
    assert (clearance[away][:, ~model.near] >= ways.WANTED - 2.1 * ways.SLACK).all()
    turns = np.abs(path[:, [0, 4, 5]] - begin[[0, 4, 5]]).max(1) > 1e-6
    np.testing.assert_allclose(path[turns][:, 1:4], UPRIGHT[None, 1:4].repeat(turns.sum(), 0), atol=1e-9)
    if begin is FORWARD:
        at_once = begin + np.clip(UPRIGHT - begin, *(sign * np.linspace(0, 3, 100)[:, None] for sign in (-1, 1)))
        assert lowest(at_once).min() < 0.005 < 0.03 < lowest(path).min()
    assert np.abs(np.diff(path, axis=0)).max() < 1.6 * ways.SPEED * 0.02
    there = played(SO100, way.back(), UPRIGHT + 0.1)
    assert np.allclose(there[[0, -1]], [UPRIGHT + 0.1, begin])


def test_an_arm_that_lies_beyond_its_ranges_is_brought_to_their_ends() -> None:
    beyond = BACK - np.array([0.0, 0.15, 0.0, 0.0, 0.0, 0.0])
    assert beyond[1] < SO100.manifest.joint_limits[1][0]
    there = played(SO100, SO100.ways.found(beyond, UPRIGHT).back(), UPRIGHT)[-1]
    assert there[1] == SO100.manifest.joint_limits[1][0] and np.allclose(np.delete(there, 1), np.delete(beyond, 1))


def test_a_straight_way_is_clear_or_there_is_none() -> None:
    ready, turned = SO100.ready, SO100.ready + np.array([0.5, 0.2, 0.0, 0.0, 0.0, 0.0])
    for begin, end in ((ready, turned), (turned, ready)):
        way = SO100.ways.straight(begin, end)
        assert way is not None and np.allclose(way.postures[[0, -1]], [begin, end])
    down = ready + np.linspace(0, 1.6, 161)[:, None] * np.array([0.0, 1.0, -0.5, 0.0, 0.0, 0.0])
    low = down[np.flatnonzero(lowest(down) < 0.012)[0]]
    aside = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert SO100.ways.straight(low, low + 0.7 * aside) is not None, "it lies low at both ends, which are near"
    assert SO100.ways.straight(low, low + aside) is None, "it would go along the table"
    assert SO100.model.free(down[-1]) < 0 and SO100.ways.straight(ready, down[-1]) is None


@pytest.mark.parametrize("gap", [0.2, np.inf], ids=["gap", "none"])
def test_a_way_goes_around_what_is_between_or_it_is_one_sentence(gap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall between elbow angles, which ends where the wrist is bent by ``gap``."""

    def walled(self: RobotModel, q: np.ndarray) -> np.ndarray:
        wall = np.maximum(np.abs(q[:, 2] - 1.8) - 0.2, q[:, 3] - gap)
        return np.minimum(0.1 * wall, 0.1)[:, None].repeat(len(self.near), 1)

    monkeypatch.setattr(RobotModel, "clearance", walled)
    begin = BACK + np.array([0.0, 0.0, 0.0, -0.6, 0.0, 0.0])
    assert SO100.ways.straight(begin, UPRIGHT) is None
    if np.isfinite(gap):
        clearance = SO100.model.clearance(SO100.ways.found(begin, UPRIGHT).postures)
        assert clearance.min() >= ways.WANTED - 2.1 * ways.SLACK
    else:
        with pytest.raises(DeployError, match="There is no safe way for the arm from where it lies"):
            SO100.ways.found(begin, UPRIGHT)


def test_a_way_first_leaves_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is more room where the wrist is bent by half a radian."""

    def room(self: RobotModel, q: np.ndarray) -> np.ndarray:
        return np.where(q[:, 3] < 0.5, 0.03, 0.1)[:, None].repeat(len(self.near), 1)

    monkeypatch.setattr(RobotModel, "clearance", room)
    begin, end = UPRIGHT.copy(), UPRIGHT.copy()
    begin[2:4], end[2:4] = (0.5, 0.0), (2.5, 1.0)
    way = SO100.ways.found(begin, end)
    near = way.postures[:, 3] < 0.45
    assert np.ptp(way.postures[near, 2]) < 0.3
    slowly = np.abs(np.diff(way.postures, axis=0)).max(1) / np.diff(way.time)
    assert slowly[0] < 0.6 * ways.SPEED and slowly.max() == pytest.approx(ways.SPEED)


def test_another_robot_has_ways_too() -> None:
    """Bent aside, where joints that raise it do not bring it to its ready pose; and low before the base."""
    aside = np.array([-1.2, -0.3, -2.7, -2.7, 1.0, 2.4, 0.7, 0.02, 0.02])
    low = np.array([0.0, 0.9, 0.0, -2.0, 0.0, 2.9, 0.785, 0.02, 0.02])
    for begin in (aside, low):
        path = played(FRANKA, FRANKA.ways.found(begin, FRANKA.ready), begin)
        least = min(FRANKA.model.free(q) for q in path[::5])
        assert np.allclose(path[-1], FRANKA.ready)
        assert least > min(FRANKA.model.free(begin), ways.WANTED) - 2.1 * ways.SLACK


def test_no_joint_is_faster_than_half_of_what_it_may() -> None:
    slow = replace(SO100, manifest=replace(SO100.manifest, velocity_limits=(0.4,) * 6))
    way = slow.ways.straight(SO100.ready, UPRIGHT)
    assert way is not None
    fastest = np.abs(np.diff(way.postures, axis=0)).max(1) / np.diff(way.time)
    assert fastest.max() == pytest.approx(0.2)
