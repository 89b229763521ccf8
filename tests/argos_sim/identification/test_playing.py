"""Laws of the way to the posture box: it keeps its distance, where there is none nothing moves, and a stop brakes."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import mujoco
import numpy as np
import pytest

from argos_sim.deploy.body import Chain, Links
from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.simulated import SimulatedRobotSettings
from argos_sim.identification import approach, shape, trial
from argos_sim.identification.approach import find_way
from argos_sim.identification.excitation import Excitation, ExcitationSettings
from argos_sim.identification.playing import play
from argos_sim.identification.shape import Shape
from argos_sim.identification.virtual import VirtualRobot
from argos_sim.identification.weight import Weight
from tests.argos_sim.identification.conftest import Arm

FORWARD = np.array([-2.09, -1.91, 2.84, -0.51, -2.86, -0.15])
"""Folded, four centimetres above the table; all joints at one speed would bring the jaw through it."""
STRETCHED = np.array([-0.09, -0.11, 0.67, -0.73, 0.83, 0.3])
"""Stretched, two centimetres above the table, and as heavy as it can be."""
BACK = np.array([0.0, -3.0, 3.0, 1.2, 0.0, 0.2])
"""Folded over the foot, as it rests."""


def goal(arm: Arm) -> np.ndarray:
    return Excitation(arm.manifest).centre


def model(arm: Arm):
    found = mujoco.MjModel.from_xml_path(str(arm.world.mjcf))
    return found, mujoco.MjData(found)


def lowest(arm: Arm, postures: np.ndarray) -> np.ndarray:
    """Height (N,) of the lowest point of forearm, wrist and jaws [m]."""
    return Shape(arm.manifest).clearance(postures)[:, :5].min(1)


def test_the_boxes_hold_every_part_that_is_drawn(arm: Arm) -> None:
    found, _ = model(arm)
    boxes = {"base": shape.FOOT} | dict(zip(bodies(found), shape.SO100.values(), strict=True))
    for geom in np.flatnonzero(found.geom_group == 2):
        turn, size = np.zeros(9), found.geom_size[geom]
        mujoco.mju_quat2Mat(turn, found.geom_quat[geom])
        turn = turn.reshape(3, 3)
        half = np.abs(turn) @ size
        if found.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CYLINDER:
            half = np.abs(turn[:, 2]) * size[1] + np.sqrt(1 - turn[:, 2] ** 2) * size[0]
        low, high = found.geom_pos[geom] - half, found.geom_pos[geom] + half
        assert covered(low, high, boxes[body(found, geom)]), f"geom {geom} of {body(found, geom)}"


def covered(low: np.ndarray, high: np.ndarray, boxes: tuple[shape.Box, ...]) -> bool:
    """Whether each point of a box is in one of ``boxes``, to 1 mm."""
    points = low + (high - low) * np.random.default_rng(0).uniform(size=(2000, 3))
    held = [((np.array(a) - 1e-3 < points) & (points < np.array(b) + 1e-3)).all(1) for a, b in boxes]
    return bool(np.any(held, 0).all())


def bodies(found) -> list[str]:
    return [found.body(i).name for i in range(2, found.nbody)]


def body(found, geom: int) -> str:
    return found.body(int(found.geom_bodyid[geom])).name


def test_links_and_weight_are_mujocos(arm: Arm) -> None:
    found, data = model(arm)
    assert arm.manifest.body is not None
    low, high = np.array(arm.manifest.joint_limits).T
    q = np.random.default_rng(0).uniform(low, high, (20, 6))
    frames, weight = Links(arm.manifest.body).frames(q), Weight(arm.manifest)
    for k, posture in enumerate(q):
        data.qpos[:] = posture
        mujoco.mj_forward(found, data)
        np.testing.assert_allclose(frames[k, :, :3, 3], data.xpos[2:], atol=1e-6)
        np.testing.assert_allclose(frames[k, :, :3, :3].reshape(6, 9), data.xmat[2:], atol=1e-6)
        np.testing.assert_allclose(weight.torque(posture), data.qfrc_bias, atol=1e-6)
    tip = frames[:, arm.manifest.body.tip_link] @ np.array([*arm.manifest.body.tip, 1.0])
    np.testing.assert_allclose(tip[:, :3], Chain(arm.manifest.body).tip_and_jacobian(q)[0], atol=1e-9)


def test_clearance_is_no_more_than_what_mujoco_measures_and_not_much_less(arm: Arm) -> None:
    found, data = model(arm)
    seen = np.flatnonzero(found.geom_group == 2)
    owner = found.geom_bodyid
    apart = [
        (a, b) for a, b in itertools.combinations(seen, 2)
        if owner[a] != owner[b] and owner[a] not in (found.body_parentid[owner[b]], found.body_parentid[owner[a]])
        and found.body_parentid[owner[b]] != owner[a]
    ]  # fmt: skip
    low, high = np.array(arm.manifest.joint_limits).T
    q = np.random.default_rng(1).uniform(low, high, (40, 6))
    clearance = Shape(arm.manifest).clearance(q)
    assert clearance[:, 5:].min() < 0, "one of them reaches into itself"
    for posture, own in zip(q, clearance, strict=True):
        data.qpos[:] = posture
        mujoco.mj_kinematics(found, data)
        true = min(mujoco.mj_geomDistance(found, data, a, b, 0.3, None) for a, b in apart)
        assert true < 0 or true - 0.03 < own[5:].min() < true + 0.002


@pytest.mark.parametrize("begin", [FORWARD, BACK])
def test_a_way_keeps_its_distance_where_all_joints_at_once_do_not(arm: Arm, begin: np.ndarray) -> None:
    end, measured = goal(arm), Shape(arm.manifest)
    way = find_way(arm.manifest, begin, end)
    kept = np.minimum(measured.clearance(np.stack([begin, end])).min(0), approach.WANTED) - 2.1 * approach.SLACK
    played = way.there(arm.manifest, 5.0)
    path = np.array([played.wanted(5.0 + 0.02 * k).position for k in range(int(50 * way.seconds) + 5)])
    assert np.array_equal(path[0], begin) and np.allclose(path[-1], end)
    assert (measured.clearance(path) >= kept).all()
    if begin is FORWARD:
        at_once = begin + np.clip(end - begin, *(sign * np.linspace(0, 3, 100)[:, None] for sign in (-1, 1)))
        assert lowest(arm, at_once).min() < 0 < 0.03 < lowest(arm, path).min()
    assert np.abs(np.diff(path, axis=0)).max() < 1.6 * approach.SPEED * 0.02
    back = way.back(arm.manifest, end + 0.1, 9.0)
    there = np.array([back.wanted(9.0 + t).position for t in (0.0, back.seconds)])
    assert np.allclose(there, [end + 0.1, begin])


def test_where_there_is_no_way_nothing_moves(arm: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall between elbow angles, of which only the ends are free."""
    free = Shape.clearance

    def walled(self: Shape, q: np.ndarray) -> np.ndarray:
        wall = np.where((q[:, 2] > 1.0) & (q[:, 2] < 1.4), -0.1, 0.1)
        return np.minimum(free(self, q), wall[:, None])

    monkeypatch.setattr(Shape, "clearance", walled)
    with pytest.raises(DeployError, match="There is no safe way for the arm from where it lies"):
        find_way(arm.manifest, BACK, goal(arm))


def test_an_arm_of_which_nothing_is_known_is_refused(arm: Arm) -> None:
    with pytest.raises(DeployError, match="does not know the arm's body"):
        find_way(dataclasses.replace(arm.manifest, body=None), BACK, goal(arm))


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
    play(robot, arm.manifest, Excitation(arm.manifest, ExcitationSettings(seconds=1.0)), tmp_path, "arm", clock=robot)
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
                play(robot, arm.manifest, excitation, tmp_path / "recording", "arm", robot.stops, robot)
        else:
            for _ in range(100):
                robot.send(np.zeros(6))
                robot.wait_until(robot.now() + 0.02)
        states = np.array(robot.states)[-100:]
        fastest[braked] = np.abs(states[:, 6:]).max()
        height[braked] = lowest(arm, states[:60, :6]).min()
    assert fastest[True] < 0.75 * fastest[False] and height[True] > height[False] + 0.01
