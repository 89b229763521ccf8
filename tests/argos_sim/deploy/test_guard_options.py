"""Laws of a run with less force: what is asked holds at the motors, is told and logged; nonsense is refused early."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from argos_sim.deploy.guard_options import add_guard, guard_settings, told
from argos_sim.deploy.live import Watched
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.pilot import Pilot
from argos_sim.deploy.robots import Robot
from argos_sim.deploy.safety import SafetySettings
from argos_sim.deploy.view.digest import Digest
from argos_sim.deploy.view.terminal import view
from tests.argos_sim.deploy.pilots import StandIn, until
from tests.argos_sim.deploy.test_safety import MANIFEST
from tests.argos_sim.deploy.view.test_digest import Loop

ROOM = ["-0.3", "-0.4", "0", "0.3", "0", "0.4"]


def asked(*arguments: str) -> SafetySettings:
    parser = argparse.ArgumentParser()
    add_guard(parser)
    return guard_settings(parser.parse_args(arguments))


def test_what_is_asked_is_what_the_guard_gets_and_nothing_asked_leaves_it_alone() -> None:
    assert asked() == SafetySettings() and not told(asked(), MANIFEST)
    given = asked("--torque-share", "0.5", "--torque-rate", "20", "--box", *ROOM)
    assert given == SafetySettings(torque_share=0.5, torque_rate=20.0, box=((-0.3, 0.3), (-0.4, 0.0), (0.0, 0.4)))
    assert told(given, MANIFEST) == ("50 % of the torque limits; 20 N·m/s; in x -0.3 to 0.3, y -0.4 to 0, z 0 to 0.4 m")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--torque-share", "0"], "--torque-share is above 0 and at most 1, and not 0"),
        (["--torque-share", "1.5"], "and not 1.5"),
        (["--torque-share", "nan"], "and not nan"),
        (["--torque-rate", "0"], "--torque-rate is a number above 0"),
        (["--torque-rate", "inf"], "and not inf"),
        (["--box", "0", "0", "0", "0.3", "-0.1", "0.4"], "each of X1 Y1 Z1 is to be 0.04 m or more above"),
        (["--box", "0", "0", "nan", "0.3", "0.3", "0.4"], "each of X1 Y1 Z1"),
        (["--box", "-1", "-1", "-1", "1", "1", "0"], "has no room above the table"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_moves(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asked(*arguments)


def test_the_script_ends_with_a_sentence(policy: Path) -> None:
    command = [sys.executable, "scripts/run_robot.py", "--policy", str(policy), "--torque-share", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: --torque-share is above 0 and at most 1, and not 2.\n")


def test_a_box_for_an_arm_of_unknown_body_is_refused_before_the_robot_is_reached(policy: Path) -> None:
    def reached(_: PolicyManifest) -> Robot:
        raise AssertionError("the robot was reached")

    with (
        pytest.raises(DeployError, match="does not know the arm's body"),
        Watched(policy, reached, safety=asked("--box", *ROOM)),
    ):
        pass


def test_a_pilot_gives_no_more_and_a_recording_and_a_terminal_say_so(policy: Path, tmp_path: Path) -> None:
    robot, cfg = StandIn((0.1, -0.2, 0.99)), asked("--torque-share", "0.05")  # at its end the last joint is pushed back
    with Watched(policy, lambda _: robot, log=tmp_path / "log", safety=cfg) as watched:
        assert watched.pilot is not None
        watched.pilot.begin("touch the red block")
        watched.pilot.start()
        pilot = watched.pilot
        until(lambda: isinstance(pilot, Pilot) and pilot.counts["targets"] > 0, "a target")
        until(lambda: any(np.abs(torque).max() > 0.09 for torque in robot.sent), "a torque")
    assert max(np.abs(torque).max() for torque in robot.sent) <= 0.05 * 2.0 + 1e-9
    assert json.loads((tmp_path / "log" / "steps.json").read_text())["guard"]["torque_share"] == 0.05
    assert watched.guarded == "5 % of the torque limits"
    loop = Loop()
    loop.step()
    loop.digest = Digest(loop.telemetry, replace(MANIFEST, joint_names=("pan", "lift", "grip")), watched.guarded)
    assert "guard   5 % of the torque limits" in view(loop.state())
