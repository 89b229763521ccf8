"""Laws of the running policy: it moves the arm at its rate, and whatever breaks ends as ``fallback`` says."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.manifest import DeployError, read_manifest
from argos_sim.deploy.pilot import Pilot, PilotSettings
from argos_sim.deploy.recorder import Recorder, read_steps
from argos_sim.deploy.robots import JointReading
from argos_sim.deploy.safety import SafetySettings
from tests.argos_sim.deploy.pilots import FALLBACK, StandIn, first, flying, until


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


def test_something_else_is_asked_for_without_a_pause(policy: Path) -> None:
    with flying(policy) as (pilot, _):
        until(lambda: pilot.counts["targets"] >= 1, "a target")
        begun, remembered = pilot._begun, len(pilot._memory)
        with pytest.raises(ValueError, match="An instruction"):
            pilot.ask("x" * 513)
        assert pilot.text == "touch the red block"
        pilot.ask("touch the blue block")
        assert pilot._target is not None and pilot._begun == begun and len(pilot._memory) >= remembered

        def asked() -> bool:
            newest = pilot.planning._requests.read()
            return newest is not None and bytes(newest[1]["text"]).startswith(b"touch the blue block")

        until(asked, "asking the planner for it")
        pilot.ask("")
        assert pilot._target is None and pilot._begun > begun, "nothing is asked for: the arm is held"
        pilot.ask("touch the red block")
        until(lambda: pilot._target is not None, "a target from a new beginning")


@pytest.mark.parametrize("speed", [-3.0, 3.0])
def test_no_torque_is_made_from_joints_that_are_stuck_in_motion(policy: Path, speed: float) -> None:
    with flying(policy) as (pilot, robot):
        until(lambda: pilot.counts["targets"] >= 1, "a target")
        robot.velocity = np.full(3, speed)
        time.sleep(0.1)
        robot.bent_joints = first()
        until(lambda: pilot.fallback.mode == Mode.DAMP, "damping")
        count = len(robot.sent)
        until(lambda: len(robot.sent) > count + 3, "more steps")
        assert not np.any(robot.sent[count + 1 :]), "braking what may stand still long since would drive it back"


def test_a_stopped_arm_gets_no_torque_even_past_the_end_of_its_range(policy: Path) -> None:
    with flying(policy, position=(1.3, -1.3, 0.0)) as (pilot, robot):
        until(lambda: len(robot.sent) > 5 and bool(np.any(robot.sent[-1])), "being pushed back")
        pilot.stop("by hand")
        count = len(robot.sent)
        until(lambda: len(robot.sent) > count + 5, "more steps")
        assert not np.any(robot.sent[count + 2 :])


def test_what_holds_the_arm_is_what_was_sent_and_not_what_was_asked_for(policy: Path) -> None:
    with flying(policy, position=(0.99, -0.2, 0.3)) as (pilot, robot):  # where the guard lets nothing through
        pilot.controller.step = lambda *_: np.array([2.0, 2.0, 2.0])  # pyright: ignore[reportAttributeAccessIssue]
        until(lambda: pilot.counts["targets"] >= 1, "a target")
        time.sleep(0.5)
        robot.bent_joints = lambda _: None
        until(lambda: pilot.fallback.mode == Mode.HOLD, "holding blindly")
        count = len(robot.sent)
        until(lambda: len(robot.sent) > count + 2, "more steps")
        blind = np.array(robot.sent[count + 1 : count + 3])
        assert (blind[:, 0] <= 0).all() and (blind[:, 1:] > 1.0).all()


def test_torque_grows_no_faster_where_the_joints_are_silent(policy: Path) -> None:
    pilot = Pilot(policy, StandIn(), PilotSettings(safety=SafetySettings(torque_rate=2.0)))
    try:
        held = np.full(3, 0.5)
        sent = [pilot._guarded(held, None) for _ in range(3)]
        np.testing.assert_allclose(sent, 2.0 * pilot.control_dt * np.arange(1, 4)[:, None] * np.ones(3))
    finally:
        pilot.close()


def test_a_text_that_cannot_be_sent_is_refused_at_once(policy: Path) -> None:
    with flying(policy, text="") as (pilot, _):
        for text in ("x" * 513, "touch\0the red block"):
            with pytest.raises(ValueError, match="An instruction"):
                pilot.begin(text)
        assert pilot.text == ""


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


def test_a_target_that_was_asked_for_before_the_present_beginning_is_not_used(policy: Path) -> None:
    with flying(policy, text="") as (pilot, _):
        shapes = pilot.manifest.inputs
        target = {"vision": np.zeros(shapes["vision"], np.float32), "proprio": np.zeros(8, np.float32)}

        def asked(at: float) -> dict[str, Any]:
            return target | {"asked": at, "made": time.monotonic(), "due": time.monotonic() + pilot.period}

        pilot.planning.target = lambda after=0: (98, asked(pilot._begun - 0.1))
        until(lambda: pilot._heard == 98, "taking notice of it")
        assert pilot._target is None and pilot.counts["targets"] == 0
        pilot.planning.target = lambda after=0: (99, asked(pilot._begun))
        until(lambda: pilot._target is not None, "taking the next one")


def test_a_picture_is_remembered_with_the_joints_of_its_own_time(policy: Path) -> None:
    robot = StandIn()
    pilot = Pilot(policy, robot, PilotSettings(fallback=FALLBACK))
    try:
        frame = robot.frame()
        assert frame is not None
        felt = {age: np.full(3, 10 * age) for age in (0.03, 0.01, -0.015, -0.04)}  # before and after the picture
        pilot._recent.extend(JointReading(at, np.zeros(3), frame.time - age) for age, at in felt.items())
        pilot._begun = frame.time - 1.0
        assert pilot._look(0.0) == frame.time
        (at, _, proprio), *_ = pilot._memory
        assert at == frame.time
        assert np.array_equal(proprio, pilot.encoders.feel(np.concatenate([felt[0.01], np.zeros(3)])))
        assert pilot._look(frame.time) == frame.time and len(pilot._memory) == 1, "the same picture once"
    finally:
        pilot.close()


def test_a_robot_with_other_joints_is_refused(policy: Path) -> None:
    robot = StandIn()
    robot.joint_names = ("pan", "lift")  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(DeployError, match="robot's joints are .* the policy's"):
        Pilot(policy, robot)


def test_a_policy_without_its_planner_is_refused(policy: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(policy, tmp_path / "policy"))
    (copy / "policy.yaml").write_text(replace(read_manifest(copy), planner=None).to_yaml())
    with pytest.raises(DeployError, match="exported without its planner"):
        Pilot(copy, StandIn())
