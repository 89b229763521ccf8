"""Laws of the excitation: the same for the same seed, bounded, over when an arm is silent or somebody stops it."""

from __future__ import annotations

import itertools
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from argos_sim.deploy import manifest
from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.recorder import STEPS, read_steps
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.identification.excitation import CREEP, DAMP, SHAKE, SWEEP, Excitation, ExcitationSettings
from argos_sim.identification.playing import play
from argos_sim.motion import driving
from tests.argos_sim.identification.conftest import Arm

HOME = np.array([0.0, -2.5, 2.3, 1.2, -1.57, 0.7])


class Dummy:
    """An arm that stays where it is, and whose read-outs end after ``until`` seconds; its own clock.

    ``stops`` gets a reason at each time of ``stopped_at``.
    """

    def __init__(self, names: tuple[str, ...], until: float = np.inf, stopped_at: tuple[float, ...] = ()) -> None:
        self.joint_names, self.until, self.time, self.sent = names, until, 100.0, []
        self.velocity, self.stops, self._stopped_at = np.zeros(6), list[str](), list(stopped_at)

    def now(self) -> float:
        return self.time

    def wait_until(self, due: float) -> None:
        self.time = max(self.time, due)
        while self._stopped_at and self.time >= 100.0 + self._stopped_at[0]:
            self.stops.append(f"reason {len(self.stops)}")
            self._stopped_at.pop(0)

    def joints(self) -> JointReading | None:
        return JointReading(HOME.copy(), self.velocity, min(self.time, 100.0 + self.until))

    def frame(self) -> Frame | None:
        return None

    def send(self, torque: np.ndarray) -> None:
        self.sent.append(torque)

    def close(self) -> None:
        pass


def torques(arm: Arm, seed: int) -> np.ndarray:
    excitation = Excitation(arm.manifest, ExcitationSettings(seconds=20.0, seed=seed))
    return np.array([excitation.torque(0.02 * k, HOME) for k in range(1000)])


def test_a_seed_is_an_excitation_and_no_torque_is_beyond_the_bound(arm: Arm) -> None:
    one, again, other = torques(arm, 1), torques(arm, 1), torques(arm, 2)
    assert np.array_equal(one, again) and np.abs(one - other).max() > 0.1
    assert np.abs(one).max() <= 0.6 * 2.94


def test_all_phases_take_turns(arm: Arm) -> None:
    excitation = Excitation(arm.manifest, ExcitationSettings(seconds=20.0))
    played = [excitation.phase(t) for t in (0.5, 5.0, 8.0, 10.5, 15.0, 18.0)]
    assert played == [SWEEP, SHAKE, CREEP, SWEEP, SHAKE, CREEP]


def test_a_box_that_is_not_the_arms_is_refused(arm: Arm) -> None:
    narrow = replace(arm.manifest, joint_limits=((-0.5, 0.5), *arm.manifest.joint_limits[1:]))
    with pytest.raises(DeployError, match="box of postures of shoulder_pan reaches beyond"):
        Excitation(narrow)
    with pytest.raises(DeployError, match="no box of postures for the joint shoulder_lift"):
        Excitation(arm.manifest, box={"shoulder_pan": (0.0, 0.5)})
    with pytest.raises(ValueError, match="excited for 1 to 3600 s, not 0"):
        ExcitationSettings(seconds=0)


def test_a_silent_arm_is_let_go_and_what_was_recorded_is_kept(arm: Arm, tmp_path: Path) -> None:
    robot = Dummy(arm.world.joint_names, until=0.4)
    with pytest.raises(DeployError, match="joints were not read for 0.2 s; the arm was let go"):
        play(robot, arm.manifest, arm.model, Excitation(arm.manifest), tmp_path, "dummy", clock=robot)
    assert (robot.sent[-1] == 0).all() and np.abs(robot.sent[-2]).max() > 0.01
    assert 25 < len(read_steps(tmp_path)) < 35
    with pytest.raises(DeployError, match="There is a recording in .* already"):
        play(robot, arm.manifest, arm.model, Excitation(arm.manifest), tmp_path, "dummy", clock=robot)
    assert len(read_steps(tmp_path)) > 25, "nothing is lost"


def stopped(arm: Arm, folder: Path, *stopped_at: float) -> tuple[np.ndarray, np.ndarray]:
    """Modes and torques (N, J) of an arm that goes on falling, whatever it is told, once somebody stopped it."""
    robot = Dummy(arm.world.joint_names, stopped_at=stopped_at)
    robot.velocity = np.full(6, 0.1)
    with pytest.raises(DeployError, match="Stopped: reason 0. What was recorded until then is kept"):
        play(robot, arm.manifest, arm.model, Excitation(arm.manifest), folder, "dummy", robot.stops, robot)
    assert (robot.sent[-1] == 0).all()
    steps = read_steps(folder)
    return steps["mode"], steps["sent"]


def test_who_stops_it_has_the_motors_brake_for_two_seconds(arm: Arm, tmp_path: Path) -> None:
    mode, sent = stopped(arm, tmp_path, 0.5)
    assert (mode == DAMP).sum() == pytest.approx(100, abs=2) and (np.diff(mode) >= 0).all()
    assert np.allclose(sent[mode == DAMP], -0.06), "what moves is braked"


def test_who_stops_it_twice_lets_go_at_once(arm: Arm, tmp_path: Path) -> None:
    assert (stopped(arm, tmp_path / "one", 0.5, 0.7)[0] == DAMP).sum() == pytest.approx(10, abs=2)
    assert (stopped(arm, tmp_path / "two", 0.5, 0.5)[0] == DAMP).sum() == 0


def test_an_arm_that_is_held_fast_is_not_pressed_on(arm: Arm, tmp_path: Path) -> None:
    robot = Dummy(arm.world.joint_names)
    with pytest.raises(DeployError, match=r"is 0\.6. rad behind: something is in its way"):
        play(robot, arm.manifest, arm.model, Excitation(arm.manifest), tmp_path, "dummy", clock=robot)
    mode = read_steps(tmp_path)["mode"]
    assert (mode == DAMP).sum() == pytest.approx(15, abs=1), "it rests at once"


def test_an_arm_that_does_not_lie_still_is_not_moved(arm: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "SEARCHES", 2)
    robot = Dummy(arm.world.joint_names)
    elsewhere = itertools.cycle((0.0, 0.1))

    def shaken() -> JointReading | None:
        return JointReading(HOME + next(elsewhere), np.zeros(6), robot.time)

    robot.joints = shaken
    with pytest.raises(DeployError, match="does not lie still"):
        play(robot, arm.manifest, arm.model, Excitation(arm.manifest), tmp_path, "dummy", clock=robot)
    assert robot.sent == [] and not (tmp_path / STEPS).exists()


def test_nothing_that_trains_is_loaded_while_an_arm_moves() -> None:
    code = (
        "import sys, argos_sim.identification.playing, argos_sim.identification.excitation as e; "
        "print([m for m in ('torch', 'isaaclab', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_script_says_in_a_sentence_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/identify.py", "--policy", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: There is no exported policy at")


def test_who_stops_the_script_by_hand_gets_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped_by_hand(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "read_manifest", stopped_by_hand)
    monkeypatch.setattr(sys, "argv", ["identify.py", "--data", "anywhere"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path("scripts/identify.py", run_name="__main__")
    assert end.value.code == 2 and capsys.readouterr().err.startswith("error: Stopped by hand")
