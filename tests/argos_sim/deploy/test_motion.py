"""Laws of a trajectory: it passes through its waypoints, overshoots none, and says its own speed; and of a leader."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from argos_sim.deploy.lerobot_leader import Leader, connected_leader
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.motion import Trajectory
from tests.argos_sim.deploy.pilots import until
from tests.argos_sim.deploy.servos import Servos

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
LIMITS = ((-2.2, 2.2), (-3.14, 0.2), (0.0, 3.14), (-2.0, 1.8), (-3.14, 3.14), (-0.2, 2.0))


def manifest(names: tuple[str, ...] = JOINTS, limits: tuple[tuple[float, float], ...] = LIMITS) -> PolicyManifest:
    count = len(names)
    each: dict[str, Any] = {"torque_limits": (2.0,) * count, "velocity_limits": (4.0,) * count}
    return PolicyManifest({}, names, limits, rates={"control_hz": 50}, history=0, action_scale=(2.0,) * count, **each)


TWO = manifest(("pan", "lift"), ((-1.0, 1.0), (-1.0, 1.0)))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(float, (4, 2), elements=st.floats(-1.0, 1.0, width=32)),
    hnp.arrays(float, 4, elements=st.floats(0.125, 2.0, width=32)),
    st.floats(-1.0, 1.0),
)
def test_a_trajectory_passes_its_waypoints_and_overshoots_none(
    waypoints: np.ndarray, widths: np.ndarray, start: float
) -> None:
    times = np.cumsum(widths)
    source = Trajectory(times, waypoints, TWO)
    source.begin(np.array([start, 0.0]), 50.0)
    knots, values = np.r_[0.0, times], np.vstack([[start, 0.0], waypoints])
    for at, value in zip(knots, values, strict=True):
        assert np.allclose(source.wanted(50.0 + at).position, value, atol=1e-9)
    for leg in range(4):
        between = [source.wanted(50.0 + t).position for t in np.linspace(knots[leg], knots[leg + 1], 40)]
        low, high = np.minimum(values[leg], values[leg + 1]), np.maximum(values[leg], values[leg + 1])
        assert (np.min(between, 0) >= low - 1e-9).all() and (np.max(between, 0) <= high + 1e-9).all()
    for end in (-1.0, times[-1] + 5.0):
        assert np.allclose(source.wanted(50.0 + end).velocity, 0.0), "it rests at both ends"


def test_the_speed_of_a_trajectory_is_its_own() -> None:
    source = Trajectory(np.array([0.5, 1.0, 1.8]), np.array([[0.2, 0.5], [0.8, -0.5], [0.9, 0.0]]), TWO)
    source.begin(np.zeros(2), 0.0)
    for at in np.linspace(0.05, 1.75, 35):
        step = (source.wanted(at + 1e-5).position - source.wanted(at - 1e-5).position) / 2e-5
        assert np.allclose(source.wanted(at).velocity, step, atol=1e-3)


def test_a_trajectory_is_read_in_the_policys_order_of_joints(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"joints": ["lift", "pan"], "time": [1.0, 2.0], "position": [[0.1, 0.2], [0.3, 0.4]]}))
    source = Trajectory.read(path, TWO)
    assert source.seconds == 2.0
    source.begin(np.zeros(2), 0.0)
    assert np.allclose(source.wanted(1.0).position, [0.2, 0.1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no trajectory"),
        ('{"joints": ["pan", "lift"], "time": [1]}', "is no trajectory"),
        ('{"joints": ["pan", "tail"], "time": [1], "position": [[0, 0]]}', "is of the joints"),
        ('{"joints": ["pan", "lift"], "time": [0], "position": [[0, 0]]}', "times must rise from above zero"),
        ('{"joints": ["pan", "lift"], "time": [2, 1], "position": [[0, 0], [0, 0]]}', "times must rise"),
        ('{"joints": ["pan", "lift"], "time": [1, 2], "position": [[0, 0]]}', "is N times and"),
        ('{"joints": ["pan", "lift"], "time": [1], "position": [[0, NaN]]}', "all its numbers be finite"),
        ('{"joints": ["pan", "lift"], "time": [1], "position": [[0, 1.2]]}', "At 1 s the trajectory has lift at 1.2"),
    ],
)
def test_what_is_no_trajectory_is_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DeployError, match=message):
        Trajectory.read(tmp_path / "a.json", TWO)
    with pytest.raises(DeployError, match="is no trajectory"):
        Trajectory.read(tmp_path / "none.json", TWO)


class Hand:
    """A teleoperator of lerobot's kind, without an arm."""

    def __init__(self, **degrees: float) -> None:
        self.said: dict[str, float] = {f"{name}.pos": degrees.get(name, 0.0) for name in JOINTS}
        self.broken = self.disconnected = False

    @property
    def action_features(self) -> dict[str, type]:
        return dict.fromkeys(self.said, float)

    def get_action(self) -> dict[str, float]:
        if self.broken:
            raise ConnectionError("Incorrect status packet!")
        return dict(self.said)

    def disconnect(self) -> None:
        self.disconnected = True


def newest(leader: Leader):
    until(lambda: leader.wanted(0.0) is not None, "a reading")
    wanted = leader.wanted(0.0)
    assert wanted is not None
    return wanted


def test_a_leaders_degrees_become_the_policys_radians() -> None:
    hand = Hand(shoulder_pan=90.0, shoulder_lift=-30.0, elbow_flex=10.0, gripper=25.0, wrist_roll=1000.0)
    leader = Leader(hand, manifest(), {"elbow_flex": -1})
    try:
        position = newest(leader).position
    finally:
        leader.close()
    middle = np.mean(LIMITS, 1)
    assert np.isclose(position[0], np.pi / 2) and np.isclose(position[1], middle[1] - np.pi / 6)
    assert np.isclose(position[2], middle[2] - np.radians(10.0)), "an inverted joint"
    assert np.isclose(position[3], middle[3])
    assert np.isclose(position[4], 3.14), "no farther than the range goes"
    assert np.isclose(position[5], -0.2 + 0.25 * 2.2), "the gripper's share of its range"
    assert hand.disconnected


def test_a_leader_that_jumps_is_not_followed() -> None:
    hand = Hand()
    leader = Leader(hand, manifest())
    try:
        newest(leader)
        hand.said["shoulder_pan.pos"] = 90.0
        until(lambda: leader.problem == "a joint of the leader jumped", "a word about it")
        hand.said["shoulder_pan.pos"] = 0.0
        until(lambda: leader.problem == "", "its being believed again")
        assert np.abs(newest(leader).velocity).max() < 0.1 and abs(newest(leader).position[0]) < 0.1
    finally:
        leader.close()


def test_a_leader_that_is_not_heard_grows_old_and_comes_back() -> None:
    hand = Hand()
    leader = Leader(hand, manifest())
    try:
        newest(leader)
        hand.broken = True
        until(lambda: leader.problem == "Incorrect status packet!", "a word about it")
        old = newest(leader).time
        time.sleep(0.05)
        assert newest(leader).time == old
        hand.broken = False
        hand.said["wrist_flex.pos"] = float("nan")
        until(lambda: "no number" in leader.problem, "a word about what is no number")
        assert newest(leader).time == old
        hand.said["wrist_flex.pos"] = 5.0
        until(lambda: newest(leader).time > old, "another reading")
        assert leader.problem == ""
    finally:
        leader.close()


def test_a_leader_that_moves_says_how_fast() -> None:
    hand = Hand()
    leader = Leader(hand, manifest())
    try:
        begin, speeds = time.monotonic(), []
        while time.monotonic() < begin + 0.6:
            hand.said["shoulder_pan.pos"] = 60.0 * (time.monotonic() - begin)
            wanted = leader.wanted(0.0)
            if wanted is not None and time.monotonic() > begin + 0.3:
                speeds.append(wanted.velocity[0])
            time.sleep(0.002)
    finally:
        leader.close()
    assert 0.7 < np.median(speeds) < 1.4, "60 degrees a second"


def test_a_leader_with_other_joints_is_refused() -> None:
    with pytest.raises(DeployError, match="The leader has no joint 'tail'"):
        Leader(Hand(), replace(manifest(), joint_names=("tail", *JOINTS[1:])))


def test_lerobots_own_leader_is_read_over_its_bus(tmp_path: Path) -> None:
    servos = Servos()
    known = {
        name: {"id": i, "drive_mode": 0, "homing_offset": 0, "range_min": 1024, "range_max": 3072}
        for i, name in enumerate(JOINTS, 1)
    }
    path = tmp_path / "leader.json"
    path.write_text(json.dumps(known))
    try:
        for i in range(1, 7):
            servos.set_word(i, 9, 1024)
            servos.set_word(i, 11, 3072)
        servos.ticks[1], servos.ticks[6] = 2048 + 512, 1024 + 512
        leader = Leader(connected_leader(servos.port, path), manifest())
        try:
            position = newest(leader).position
        finally:
            leader.close()
        assert abs(position[0] - np.pi / 4) < 0.01 and abs(position[1] - np.mean(LIMITS[1])) < 0.01
        assert abs(position[5] - (-0.2 + 0.25 * 2.2)) < 0.01
        assert not any(servos.duty(i) for i in range(1, 7)), "it is limp"
        servos.set_word(3, 11, 3000)
        with pytest.raises(DeployError, match="holds another calibration than"):
            connected_leader(servos.port, path)
    finally:
        servos.close()
    with pytest.raises(DeployError, match="The leader's calibration .* is missing"):
        connected_leader("/dev/nowhere", tmp_path / "none.json")
    with pytest.raises(DeployError, match="The leader on /dev/nowhere cannot be reached"):
        connected_leader("/dev/nowhere", path)
