"""Laws of the running policy: it moves the arm at its rate, and whatever breaks ends as ``fallback`` says."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argos_sim.deploy.fallback import FallbackSettings, Mode, Patience
from argos_sim.deploy.manifest import DeployError, read_manifest
from argos_sim.deploy.pilot import Pilot, PilotSettings
from argos_sim.deploy.recorder import Recorder, read_steps
from argos_sim.deploy.robots import Frame, JointReading
from tests.argos_sim.deploy.tiny import NAMES, SIZE

FALLBACK = FallbackSettings(
    joints=Patience(0.5, 0.9, 1.3), camera=Patience(1.0, 1.4, 1.8), plan=Patience(1.0, 1.4, 1.8)
)
PATIENCE_S = 20.0
"""For what takes a moment on an idle machine."""


class StandIn:
    """Joints that rest, and a camera of noise; each of its senses can be broken."""

    joint_names = NAMES

    def __init__(self) -> None:
        self.sent: list[np.ndarray] = []
        self.closed = False
        self.broken = ""
        self.position, self.velocity = np.array([0.1, -0.2, 0.3]), np.zeros(3)
        self._rng, self._taken = np.random.default_rng(0), -1.0
        self._picture = np.zeros((SIZE, SIZE, 3), np.uint8)
        self._stuck = 0.0

    def break_(self, what: str) -> None:
        self._stuck, self.broken = time.monotonic(), what

    def joints(self) -> JointReading | None:
        now = self._stuck if self.broken == "joints stuck" else time.monotonic()
        position, velocity = self.position, self.velocity
        if self.broken == "no joints":
            return None
        if self.broken == "joints are no numbers":
            position = position * np.nan
        if self.broken == "too few joints":
            position, velocity = position[:2], velocity[:2]
        if self.broken == "bus fails":
            raise OSError("the bus does not answer")
        return JointReading(position, velocity, now)

    def frame(self) -> Frame | None:
        now = time.monotonic()
        if self.broken == "no picture":
            return None
        if self.broken != "camera stuck" and now - self._taken >= 0.1:
            self._taken = now
            self._picture = self._rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        picture = self._picture.astype(float) if self.broken == "picture of floats" else self._picture
        return Frame((picture,), self._taken)

    def send(self, torque: np.ndarray) -> None:
        self.sent.append(np.array(torque))

    def close(self) -> None:
        self.closed = True


@contextmanager
def flying(policy: Path, text: str = "touch the red block", **settings) -> Iterator[tuple[Pilot, StandIn]]:
    robot = StandIn()
    pilot = Pilot(policy, robot, PilotSettings(fallback=FALLBACK, **settings))
    try:
        pilot.begin(text)
        pilot.start()
        yield pilot, robot
    finally:
        pilot.close()


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"{what} never happened"
        time.sleep(0.005)


def test_the_arm_is_held_until_there_is_a_target_and_moved_from_then_on(policy: Path, tmp_path: Path) -> None:
    robot = StandIn()
    recorder = Recorder(tmp_path, 3, {})
    pilot = Pilot(policy, robot, PilotSettings(fallback=FALLBACK), recorder)
    pilot.begin("touch the red block")
    pilot.start()
    until(lambda: pilot.counts["targets"] >= 2 and pilot.counts["steps"] >= 60, "a second target")
    assert pilot.fallback.mode == Mode.RUN
    pilot.close()
    steps = read_steps(tmp_path)
    led = steps["plan"] > 0
    assert led.any() and not led[0] and np.isfinite(steps["target"][led]).all()
    assert not steps["wanted"][: led.argmax()].any(), "nothing holds it but what it lately needed, which is nothing"
    assert np.abs(steps["wanted"][led]).max() > 1e-3
    assert np.array_equal(steps["sent"], np.array(robot.sent[: len(steps)], dtype=np.float32))
    assert np.abs(steps["sent"]).max() <= 2.0
    assert 0.015 < np.median(np.diff(steps["time"])) < 0.04, "about a control step"
    assert 0 < steps["time_to_go"][led.argmax()] <= 0.8
    assert robot.closed and not robot.sent[-1].any() and not pilot.planning.alive()


def test_without_a_text_no_target_is_asked_for(policy: Path) -> None:
    with flying(policy, text="") as (pilot, _):
        until(lambda: pilot.counts["frames"] >= 3, "a third picture")
        assert pilot.planning.target() is None and pilot.fallback.mode == Mode.RUN
        pilot.begin("touch the red block")
        until(lambda: pilot.counts["targets"] >= 1, "a target")


FAULTS = {
    "no joints": "joints",
    "joints stuck": "joints",
    "joints are no numbers": "joints",
    "too few joints": "joints",
    "no picture": "camera",
    "camera stuck": "camera",
    "picture of floats": "camera",
    "planner killed": "plan",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_breaks_is_held_then_damped_then_stopped_and_goes_on_when_somebody_says_so(
    policy: Path, fault: str
) -> None:
    with flying(policy) as (pilot, robot):
        until(lambda: pilot.counts["targets"] >= 1, "a target")
        seen: list[Mode] = []
        if fault == "planner killed":
            os.kill(pilot.planning.pid or 0, signal.SIGKILL)
        robot.break_(fault)

        def stopped() -> bool:
            if not seen or seen[-1] != pilot.fallback.mode:
                seen.append(pilot.fallback.mode)
            return pilot.fallback.mode == Mode.STOP

        until(stopped, "a stop")
        assert [mode for mode in seen if mode > Mode.RUN] == [Mode.HOLD, Mode.DAMP, Mode.STOP]
        assert FAULTS[fault] in pilot.fallback.reason
        count = len(robot.sent)
        until(lambda: len(robot.sent) > count + 5, "more steps")
        assert not np.any(robot.sent[count + 1 :]), "a stopped arm gets no torque, and goes on being told so"
        assert np.isfinite(robot.sent).all() and np.abs(robot.sent).max() <= 2.0
        robot.break_("")
        time.sleep(3.0 if fault == "camera stuck" else 0.1)  # longer than an old target would be followed
        assert pilot.fallback.mode == Mode.STOP
        if fault != "planner killed":
            targets = pilot.counts["targets"]
            pilot.resume()
            until(lambda: pilot.counts["targets"] > targets and pilot.fallback.mode == Mode.RUN, "moving again")


def test_a_read_out_that_is_missed_now_and_then_stops_nobody(policy: Path) -> None:
    with flying(policy) as (pilot, robot):
        until(lambda: pilot.counts["targets"] >= 1, "a target")
        time.sleep(FALLBACK.joints.stop + 0.3)  # so that an age since the beginning would ask for a stop
        for fault in ("no joints", "joints are no numbers", "no joints"):
            robot.break_(fault)
            time.sleep(0.06)
            robot.break_("")
            time.sleep(0.1)
            assert pilot.fallback.mode < Mode.DAMP, pilot.fallback.reason


@pytest.mark.parametrize("speed", [-3.0, 3.0])
def test_no_torque_is_made_from_joints_that_are_stuck_in_motion(policy: Path, speed: float) -> None:
    with flying(policy) as (pilot, robot):
        until(lambda: pilot.counts["targets"] >= 1, "a target")
        robot.velocity = np.full(3, speed)
        time.sleep(0.1)
        robot.break_("joints stuck")
        until(lambda: pilot.fallback.mode == Mode.DAMP, "damping")
        count = len(robot.sent)
        until(lambda: len(robot.sent) > count + 3, "more steps")
        assert not np.any(robot.sent[count + 1 :]), "braking what may stand still long since would drive it back"


def test_a_stopped_arm_gets_no_torque_even_past_the_end_of_its_range(policy: Path) -> None:
    with flying(policy) as (pilot, robot):
        robot.position = np.array([1.3, -1.3, 0.0])
        until(lambda: len(robot.sent) > 5 and bool(np.any(robot.sent[-1])), "being pushed back")
        pilot.stop("by hand")
        count = len(robot.sent)
        until(lambda: len(robot.sent) > count + 5, "more steps")
        assert not np.any(robot.sent[count + 2 :])


def test_a_controller_that_gives_no_torque_is_as_a_missing_plan(policy: Path) -> None:
    with flying(policy) as (pilot, _):
        until(lambda: pilot.counts["targets"] >= 1, "a target")

        def refuse(*_: Any) -> np.ndarray:
            raise ValueError("the controller's torque is not finite")

        pilot.controller.step = refuse  # pyright: ignore[reportAttributeAccessIssue]
        until(lambda: pilot.fallback.mode == Mode.STOP, "a stop")
        assert "no plan" in pilot.fallback.reason and "not finite" in pilot.refused_because


def test_what_holds_the_arm_is_what_was_sent_and_not_what_was_asked_for(policy: Path) -> None:
    with flying(policy) as (pilot, robot):
        pilot.controller.step = lambda *_: np.array([2.0, 2.0, 2.0])  # pyright: ignore[reportAttributeAccessIssue]
        robot.position = np.array([0.99, -0.2, 0.3])  # where the guard lets nothing through
        until(lambda: pilot.counts["targets"] >= 1, "a target")
        time.sleep(0.5)
        robot.break_("no joints")
        until(lambda: pilot.fallback.mode == Mode.HOLD, "holding blindly")
        count = len(robot.sent)
        until(lambda: len(robot.sent) > count + 2, "more steps")
        blind = np.array(robot.sent[count + 1 : count + 3])
        assert (blind[:, 0] <= 0).all() and (blind[:, 1:] > 1.0).all()


def test_a_text_that_cannot_be_sent_is_refused_at_once(policy: Path) -> None:
    with flying(policy, text="") as (pilot, _):
        for text in ("x" * 513, "touch\0the red block"):
            with pytest.raises(ValueError, match="An instruction"):
                pilot.begin(text)
        assert pilot.text == ""


def test_a_driver_that_fails_stops_the_arm_at_once(policy: Path) -> None:
    with flying(policy) as (pilot, robot):
        until(lambda: pilot.counts["targets"] >= 1, "a target")
        robot.break_("bus fails")
        until(lambda: pilot.fallback.mode == Mode.STOP, "a stop")
        assert "the bus does not answer" in pilot.fallback.reason
        count = len(robot.sent)
        until(lambda: len(robot.sent) > count + 3, "more steps")
        assert not np.any(robot.sent[count + 1 :])


def test_a_file_or_a_hand_stops_the_arm(policy: Path, tmp_path: Path) -> None:
    with flying(policy, stop_file=tmp_path / "stop") as (pilot, _):
        until(lambda: pilot.counts["steps"] > 5, "steps")
        assert pilot.fallback.mode == Mode.RUN
        (tmp_path / "stop").touch()
        until(lambda: pilot.fallback.mode == Mode.STOP, "a stop")
        pilot.resume()
        time.sleep(0.1)
        assert pilot.fallback.mode == Mode.STOP, "the file is still there"
        (tmp_path / "stop").unlink()
        forgotten: list[bool] = []
        reset = pilot.controller.reset
        pilot.controller.reset = lambda: (forgotten.append(True), reset())[1]
        pilot.resume()
        until(lambda: len(forgotten) > 0, "forgetting what was before the stop")
        time.sleep(0.1)
        assert pilot.fallback.mode == Mode.RUN
        pilot.stop("by hand")
        until(lambda: pilot.fallback.mode == Mode.STOP, "a stop")


def test_a_target_that_comes_too_late_is_not_used(policy: Path) -> None:
    with flying(policy, least_time_to_go=10.0) as (pilot, _):
        until(lambda: pilot.counts["targets_too_late"] >= 1, "a late target")
        assert pilot.counts["targets"] == 0
        until(lambda: pilot.fallback.mode > Mode.RUN, "holding")
        assert "no plan" in pilot.fallback.reason


def test_a_target_that_was_asked_for_before_the_present_beginning_is_not_used(policy: Path) -> None:
    with flying(policy, text="") as (pilot, _):
        shapes, now = pilot.manifest.inputs, time.monotonic()
        target = {"vision": np.zeros(shapes["vision"], np.float32), "proprio": np.zeros(8, np.float32)}
        times = {"asked": pilot._begun - 0.1, "made": now, "due": now + PATIENCE_S}
        pilot.planning.target = lambda: (98, target | times)
        until(lambda: pilot._heard == 98, "taking notice of it")
        assert pilot._target is None and pilot.counts["targets"] == 0
        pilot.planning.target = lambda: (99, target | times | {"asked": pilot._begun})
        until(lambda: pilot._target is not None, "taking the next one")


def test_a_robot_with_other_joints_is_refused(policy: Path) -> None:
    robot = StandIn()
    robot.joint_names = ("pan", "lift")  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(DeployError, match="robot's joints are .* the policy's"):
        Pilot(policy, robot)


def test_a_damaged_planner_is_told_at_once(policy: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(policy, tmp_path / "policy"))
    path, begin = copy / "planner_flow.onnx", time.monotonic()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DeployError, match=r"planner_flow.onnx is not the network that policy\.yaml describes"):
        Pilot(copy, StandIn())
    assert time.monotonic() - begin < 20


def test_a_policy_without_its_planner_is_refused(policy: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(policy, tmp_path / "policy"))
    (copy / "policy.yaml").write_text(replace(read_manifest(copy), planner=None).to_yaml())
    with pytest.raises(DeployError, match="exported without its planner"):
        Pilot(copy, StandIn())
