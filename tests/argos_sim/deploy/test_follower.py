"""Laws of following: the arm goes where its source says, slowly where that is far, and lets nobody lead it who is
silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from argos_sim.deploy.fallback import FallbackSettings, Mode, Patience
from argos_sim.deploy.follower import Follower, FollowerSettings
from argos_sim.deploy.manifest import DeployError, PolicyManifest, read_manifest
from argos_sim.deploy.motion import Wanted
from argos_sim.deploy.recorder import Recorder, read_steps
from tests.argos_sim.deploy.pilots import FALLBACK, StandIn, until

DT, DAMPING, INERTIA = 0.02, 0.6, 0.03
PATIENT = replace(FALLBACK, loop=Patience(5.0, 6.0, 7.0), camera=Patience(5.0, 6.0, 7.0))


class Told:
    """A source that says what it is told to; None while it is silent."""

    def __init__(self, position: np.ndarray | None) -> None:
        self.position, self.closed, self.begun = position, False, 0
        self.said = time.monotonic()

    def begin(self, position: np.ndarray, now: float) -> None:
        self.begun += 1

    def wanted(self, now: float) -> Wanted | None:
        if self.position is not None:
            self.said, self.last = now, self.position
        return None if self.position is None and self.begun == 0 else Wanted(self.last, np.zeros(3), self.said)

    def close(self) -> None:
        self.closed = True


class Arm(StandIn):
    """Three joints with motors as an STS3215's, moved by what is sent; a control step passes with each."""

    def send(self, torque: np.ndarray) -> None:
        super().send(torque)
        for _ in range(4):
            self.velocity = self.velocity + (torque - DAMPING * self.velocity) / INERTIA * DT / 4
            self.position = self.position + self.velocity * DT / 4


def make(policy: Path, source: Told, robot: StandIn | None = None, **settings) -> Follower:
    fallback = FallbackSettings(**{**vars(PATIENT), **settings.pop("fallback", {})})
    return Follower(
        read_manifest(policy), robot or Arm(), source, FollowerSettings(fallback=fallback, **settings), None
    )


@contextmanager
def following(policy: Path, source: Told, **settings) -> Iterator[tuple[Follower, StandIn]]:
    follower = make(policy, source, **settings)
    try:
        follower.begin("touch the red block")
        follower.start()
        yield follower, follower.robot  # pyright: ignore[reportReturnType]
    finally:
        follower.close()


def steps(follower: Follower, count: int) -> None:
    """So many control steps, one after the other, without a clock."""
    for _ in range(count):
        now = time.monotonic()
        follower.watchdog.in_time_at = follower._seen_at = now
        follower._step(now, 0.0)


def test_the_arm_goes_where_its_source_is_and_not_faster_than_it_may(policy: Path) -> None:
    goal = np.array([0.6, -0.5, 0.0])
    follower = make(policy, Told(goal))
    try:
        robot = follower.robot
        assert isinstance(robot, StandIn)
        path = []
        follower.begin("x")
        for _ in range(120):
            steps(follower, 1)
            path.append(robot.position.copy())
        speed = np.abs(np.diff(path, axis=0)).max() / DT
        assert np.abs(path[-1] - goal).max() < 0.01
        assert 0.5 < speed < 1.6, "as fast as a source may be caught up with, and a little that springs add"
        assert np.abs(robot.sent).max() <= 2.0
    finally:
        follower.close()


def test_a_source_that_leaps_is_followed_no_faster_than_joints_may_and_never_far_from_the_arm(policy: Path) -> None:
    follower = make(policy, Told(np.array([0.9, -0.2, 0.3])), StandIn(), near=10.0)  # an arm that is held
    try:
        follower.begin("x")
        steps(follower, 1)
        fastest = 4.0 * follower.control_dt
        assert follower._followed is not None and np.isclose(follower._followed[0], 0.1 + fastest)
        steps(follower, 30)
        assert np.allclose(follower._followed, [0.4, -0.2, 0.3])
    finally:
        follower.close()


def test_after_a_pause_the_arm_is_led_on_from_where_it_is_then(policy: Path) -> None:
    source = Told(np.array([0.1, -0.2, 0.3]))
    follower = make(policy, source)
    try:
        robot = follower.robot
        assert isinstance(robot, StandIn)
        follower.begin("x")
        steps(follower, 20)
        follower._springs._held[:] = 1.0
        now = time.monotonic()
        follower.watchdog.in_time_at, follower._seen_at = now, now - 5.5
        follower._step(now, 0.0)
        assert follower.fallback.mode == Mode.HOLD
        robot.position, robot.velocity = np.array([0.5, -0.2, 0.3]), np.zeros(3)
        believed = SimpleNamespace(refuses=lambda reading, _: "" if reading is not None else "silent")
        follower._joint_check = believed  # pyright: ignore[reportAttributeAccessIssue]
        robot.bent_joints = lambda _: None
        steps(follower, 1)
        assert follower._followed is None, "nobody knows where it is"
        robot.mend()
        steps(follower, 1)
        assert follower._followed is not None and abs(follower._followed[0] - 0.5) < 0.1
        assert -1.5 < robot.sent[-1][0] < -0.5, "as for a leader that is taken up, and with nothing of what was learnt"
        assert source.begun == 1
    finally:
        follower.close()


def test_a_constant_load_is_learnt(policy: Path) -> None:
    follower = make(policy, Told(np.array([0.1, -0.2, 0.3])))
    try:
        robot = follower.robot
        assert isinstance(robot, StandIn)
        send = robot.send
        robot.send = lambda torque: send(torque - np.array([0.5, 0.0, 0.0]))
        follower.begin("x")
        away = []
        for _ in range(150):
            steps(follower, 1)
            away.append(abs(robot.position[0] - 0.1))
        assert max(away) > 0.02 and away[-1] < 0.003
    finally:
        follower.close()


def test_without_a_text_the_arm_stays_and_nobody_leads_it(policy: Path) -> None:
    source = Told(np.array([0.8, 0.8, 0.8]))
    follower = make(policy, source)
    try:
        steps(follower, 30)
        robot = follower.robot
        assert isinstance(robot, StandIn)
        assert np.abs(robot.position - [0.1, -0.2, 0.3]).max() < 1e-3 and follower.fallback.mode == Mode.RUN
    finally:
        follower.close()


def test_a_silent_source_holds_and_then_stops_the_arm(policy: Path) -> None:
    source = Told(np.array([0.1, -0.2, 0.3]))
    with following(policy, source, fallback={"plan": Patience(0.3, 0.5, 0.9)}) as (follower, robot):
        until(lambda: follower.counts["steps"] > 10 and follower.counts["frames"] > 1, "following")
        source.position = None
        until(lambda: follower.fallback.mode == Mode.STOP, "a stop")
        count = len(robot.sent)
        until(lambda: len(robot.sent) > count + 3, "more steps")
        assert "no plan for" in follower.fallback.reason and not np.any(robot.sent[count + 1 :])
    assert source.closed and robot.closed and not robot.sent[-1].any()


def test_silent_joints_stop_the_arm(policy: Path) -> None:
    with following(policy, Told(np.array([0.1, -0.2, 0.3]))) as (follower, robot):
        until(lambda: follower.counts["steps"] > 10, "following")
        robot.bent_joints = lambda _: None
        until(lambda: follower.fallback.mode == Mode.STOP, "a stop")
        assert "no joints for" in follower.fallback.reason


def test_an_error_stops_the_arm_at_once(policy: Path) -> None:
    source = Told(np.array([0.1, -0.2, 0.3]))
    with following(policy, source) as (follower, robot):
        until(lambda: follower.counts["steps"] > 5, "following")
        source.wanted = lambda now: 1 / 0  # pyright: ignore[reportAttributeAccessIssue]
        until(lambda: follower.fallback.mode == Mode.STOP, "a stop")
        assert "ZeroDivisionError" in follower.fallback.reason
        until(lambda: not robot.sent[-1].any(), "no torque")


def test_what_is_recorded_is_what_was_sent(policy: Path, tmp_path: Path) -> None:
    manifest: PolicyManifest = read_manifest(policy)
    robot = Arm()
    recorder = Recorder(tmp_path, 3, {})
    follower = Follower(manifest, robot, Told(np.array([0.3, 0.0, 0.0])), FollowerSettings(fallback=PATIENT), recorder)
    follower.begin("x")
    steps(follower, 31)
    follower.close()
    kept = read_steps(tmp_path)
    assert np.array_equal(kept["sent"], np.array(robot.sent[:31], np.float32))
    assert np.isclose(kept["target"][-1, 0], 0.3) and np.isfinite(kept["position"]).all()


def test_a_robot_with_other_joints_is_refused(policy: Path) -> None:
    robot = Arm()
    robot.joint_names = ("pan", "lift")  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(DeployError, match="robot's joints are .* the policy's"):
        make(policy, Told(None), robot)
