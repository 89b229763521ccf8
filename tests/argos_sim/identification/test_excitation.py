"""Laws of the excitation: the same for the same seed, bounded, over when an arm is silent or somebody stops it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.recorder import read_steps
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.identification.excitation import CREEP, RETURN, SHAKE, SWEEP, Excitation, ExcitationSettings
from argos_sim.identification.playing import play
from tests.argos_sim.identification.conftest import Arm

HOME = np.array([0.0, -2.5, 2.3, 1.2, -1.57, 0.7])


class Dummy:
    """An arm that stays where it is, and whose read-outs end after ``until`` seconds; its own clock."""

    def __init__(self, names: tuple[str, ...], until: float = np.inf) -> None:
        self.joint_names, self.until, self.time, self.sent = names, until, 100.0, []

    def now(self) -> float:
        return self.time

    def wait_until(self, due: float) -> None:
        self.time = max(self.time, due)

    def joints(self) -> JointReading | None:
        return JointReading(HOME.copy(), np.zeros(6), min(self.time, 100.0 + self.until))

    def frame(self) -> Frame | None:
        return None

    def send(self, torque: np.ndarray) -> None:
        self.sent.append(torque)

    def close(self) -> None:
        pass


def torques(arm: Arm, seed: int) -> np.ndarray:
    excitation = Excitation(arm.manifest, ExcitationSettings(seconds=20.0, seed=seed))
    return np.array([excitation.torque(0.02 * k, HOME) for k in range(int(50 * excitation.seconds))])


def test_a_seed_is_an_excitation_and_no_torque_is_beyond_the_bound(arm: Arm) -> None:
    one, again, other = torques(arm, 1), torques(arm, 1), torques(arm, 2)
    assert np.array_equal(one, again) and np.abs(one - other).max() > 0.1
    assert np.abs(one).max() <= 0.6 * 2.94


def test_all_phases_take_turns(arm: Arm) -> None:
    excitation = Excitation(arm.manifest, ExcitationSettings(seconds=20.0))
    played = [excitation.phase(t) for t in (3.5, 8.0, 11.0, 13.5, 18.0, 21.0, 23.5)]
    assert played == [SWEEP, SHAKE, CREEP, SWEEP, SHAKE, CREEP, RETURN]


def test_a_box_that_is_not_the_arms_is_refused(arm: Arm) -> None:
    narrow = replace(arm.manifest, joint_limits=((-0.5, 0.5), *arm.manifest.joint_limits[1:]))
    with pytest.raises(DeployError, match="box of postures of shoulder_pan reaches beyond"):
        Excitation(narrow)
    with pytest.raises(DeployError, match="no box of postures for the joint shoulder_lift"):
        Excitation(arm.manifest, box={"shoulder_pan": (0.0, 0.5)})
    with pytest.raises(ValueError, match="excited for 1 to 3600 s, not 0"):
        ExcitationSettings(seconds=0)


def test_a_silent_arm_is_let_go_and_what_was_recorded_is_kept(arm: Arm, tmp_path: Path) -> None:
    robot = Dummy(arm.world.joint_names, until=2.0)
    with pytest.raises(DeployError, match="joints were not read for 0.2 s; the arm was let go"):
        play(robot, arm.manifest, Excitation(arm.manifest), tmp_path, "dummy", clock=robot)
    assert (robot.sent[-1] == 0).all() and np.abs(robot.sent[-2]).max() > 0.01
    assert 100 < len(read_steps(tmp_path)) < 120
    with pytest.raises(DeployError, match="There is a recording in .* already"):
        play(robot, arm.manifest, Excitation(arm.manifest), tmp_path, "dummy", clock=robot)
    assert len(read_steps(tmp_path)) > 100, "nothing is lost"


def test_who_stops_it_lets_go_of_the_arm(arm: Arm, tmp_path: Path) -> None:
    robot = Dummy(arm.world.joint_names)
    reason = lambda: "a key" if robot.time > 101.0 else None  # noqa: E731
    with pytest.raises(DeployError, match="Stopped: a key"):
        play(robot, arm.manifest, Excitation(arm.manifest), tmp_path, "dummy", reason, robot)
    assert (robot.sent[-1] == 0).all() and robot.time < 101.1


def test_nothing_that_trains_is_loaded_while_an_arm_moves() -> None:
    code = (
        "import sys, argos_sim.identification.playing, argos_sim.identification.excitation as e; "
        "print([m for m in ('torch', 'isaaclab', 'mujoco', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_script_says_in_a_sentence_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/identify.py", "--policy", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: There is no exported policy at")
