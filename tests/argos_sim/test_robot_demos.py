"""Laws of recording sessions: what was finished is kept, whatever ends a session, and somebody says what is good."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tasks  # noqa: F401
from argos_sim.deploy.demonstrating import Source, next_session, sessions
from argos_sim.deploy.fallback import FallbackSettings, Patience
from argos_sim.deploy.follower import Follower, FollowerSettings
from argos_sim.deploy.lerobot_leader import Leader
from argos_sim.deploy.live import Watched
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.motion import MotionSource, Trajectory
from argos_sim.deploy.recording import load_recording
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.deploy.simulated import SimulatedRobot
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.robot_demos import record_dataset
from argos_wm.data.episodes import read_episodes
from argos_wm.data.files import DatasetError
from tests.argos_sim.deploy.test_motion import Hand
from tests.argos_sim.replay.made import EXACT, policy_folder, record

LONG = Patience(10.0, 11.0, 12.0)
PATIENT = FallbackSettings(joints=LONG, camera=LONG, plan=LONG, loop=LONG)
"""A busy machine is no reason to hold the arm here."""
SECONDS, SIZE, TRIES = 1.2, 32, 6
"""A busy machine is a reason to refuse an episode, though: so many sessions may be needed."""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PolicyManifest]:
    return policy_folder(tmp_path_factory.mktemp("p") / "policy", World.of(environment_cfg(Settings(), 1)))


def session(
    policy: tuple[Path, PolicyManifest],
    source: Callable[[], MotionSource],
    robot: Callable[[PolicyManifest], object] | None = None,
    kind: type[Watched] = Watched,
) -> Callable[[Path], Watched]:
    """Makes sessions on a simulated robot, or another, led by what ``source`` makes."""
    folder, _ = policy

    def make_robot(manifest: PolicyManifest):
        return SimulatedRobot(folder, manifest, EXACT) if robot is None else robot(manifest)

    def make_pilot(manifest: PolicyManifest, made, recorder) -> Follower:
        return Follower(manifest, made, source(), FollowerSettings(fallback=PATIENT), recorder)

    return lambda log: kind(folder, make_robot, log=log, make_pilot=make_pilot)  # pyright: ignore[reportArgumentType]


def trajectory(manifest: PolicyManifest) -> Trajectory:
    return Trajectory(
        np.array([0.6, 1.1]), np.array([[0.2, -2.2, 2.1, 1.0, -1.4, 0.4], [0, -2, 2, 1, -1.4, 0.2]]), manifest
    )


def recorded(root: Path, make: Callable[[Path], Watched], episodes: int) -> None:
    for _ in range(TRIES):
        try:
            found = record_dataset(root, make, episodes, SIZE, seconds=SECONDS, keep_all=True)
        except DatasetError:  # none of the episodes was regular enough
            continue
        if found["recorded"] == episodes:
            return
    raise AssertionError(f"the machine is too busy for {episodes} regular episodes")


def test_a_trajectory_and_then_a_leader_are_recorded_from_the_simulated_robot(
    policy: tuple[Path, PolicyManifest], tmp_path: Path
) -> None:
    root, manifest = tmp_path / "robot", policy[1]
    recorded(root, session(policy, lambda: trajectory(manifest)), 2)
    hand = Hand(
        shoulder_pan=20.0, shoulder_lift=-50.0, elbow_flex=30.0, wrist_flex=50.0, wrist_roll=-90.0, gripper=30.0
    )
    before = len(sessions(tmp_path / "robot.recordings"))
    recorded(root, session(policy, lambda: Leader(hand, manifest)), 3)
    episodes = list(read_episodes(root, "front", manifest.joint_names, fps=10))
    assert len(episodes) == 3 and len(sessions(tmp_path / "robot.recordings")) > before
    for episode in episodes:
        assert 9 <= len(episode) <= 12 and episode.control_action.shape[1:] == (5, 6)
        assert np.abs(episode.control_action).max() > 0.05
    led = [0.35, -2.34, 2.09, 0.77, -1.57, 0.46]  # the leader's degrees from the middles of the ranges
    for episode, goal in ((episodes[1], [0, -2, 2, 1, -1.4, 0.2]), (episodes[2], led)):
        far, near = (np.abs(episode.state[i, :6] - goal).max() for i in (0, -1))
        assert near < max(0.1, 0.7 * far), "it goes where its source leads, as far as time lets it"
    assert hand.disconnected
    told = [load_recording(path).steps["sent"] for path in sessions(tmp_path / "robot.recordings")]
    known = np.concatenate(told)
    for episode in episodes:
        for torque in episode.control_action.reshape(-1, 6)[::7]:
            assert np.abs(known - torque).max(1).min() < 1e-6, "what the robot was told"
    summary = json.loads((tmp_path / "robot.json").read_text())
    assert summary["recorded"] == 3 and summary["step_off_s"] < 0.01 and summary["picture_off_s"] < 0.1


class Killed(Watched):
    """Its process is killed in the second episode; what that leaves is copied to ``<log>.left``."""

    waits = 0

    def wait(self, seconds: float, show: bool) -> bool:
        self.waits += 1
        if self.waits == 1:
            return super().wait(seconds, show)
        super().wait(0.4, show)
        assert self.log is not None
        shutil.copytree(self.log, self.log.with_name("left"))
        raise KeyboardInterrupt


def test_a_session_that_is_killed_loses_the_episode_under_way(
    policy: tuple[Path, PolicyManifest], tmp_path: Path
) -> None:
    make = session(policy, lambda: trajectory(policy[1]), kind=Killed)
    for attempt in range(TRIES):
        root = tmp_path / f"robot{attempt}"
        with pytest.raises(KeyboardInterrupt):
            record_dataset(root, make, 2, SIZE, seconds=SECONDS, keep_all=True)
        assert not root.exists()
        folder = tmp_path / f"robot{attempt}.recordings"
        shutil.rmtree(folder / "session-000")
        (folder / "left").rename(folder / "session-000")
        left = load_recording(folder / "session-000")
        assert [segment.kept for segment in left.segments() if segment.text] == [True, False]
        try:
            record_dataset(root, lambda _: pytest.fail("nothing is to be recorded"), 1, SIZE)
        except (DatasetError, pytest.fail.Exception):  # that episode was not regular: the machine was too busy
            continue
        assert len(list(read_episodes(root))) == 1
        return
    raise AssertionError("the machine is too busy for one regular episode")


class Idle:
    """A robot that is no simulated one: six joints that rest, and a camera."""

    def __init__(self, manifest: PolicyManifest) -> None:
        self.joint_names = manifest.joint_names
        self._rng, self._frame = np.random.default_rng(0), Frame((np.zeros((SIZE, SIZE, 3), np.uint8),), -1.0)

    def joints(self) -> JointReading:
        return JointReading(np.array([0.0, -2.5, 2.3, 1.2, -1.5, 0.7]), np.zeros(6), time.monotonic())

    def frame(self) -> Frame:
        if time.monotonic() - self._frame.time >= 0.03:
            picture = self._rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            self._frame = Frame((picture,), time.monotonic())
        return self._frame

    def send(self, torque: np.ndarray) -> None:
        """It rests."""

    def close(self) -> None:
        """Nothing is open."""


def test_somebody_says_which_episodes_of_a_robot_are_good(policy: tuple[Path, PolicyManifest], tmp_path: Path) -> None:
    answers, asked = ["", "d", "", "", "q"], []

    def ask(question: str) -> str:
        asked.append(question)
        return answers[len(asked) - 1]

    make = session(policy, lambda: trajectory(policy[1]), Idle)
    with pytest.raises(ValueError, match="Say with --text what is done"):
        record_dataset(tmp_path / "none", make, 2, SIZE, ask=ask)
    try:
        record_dataset(tmp_path / "robot", make, 2, SIZE, ["wipe the table", "wave"], 0.5, ask=ask)
    except DatasetError as error:  # the machine was too busy
        assert "No episode was recorded" in str(error)
    assert len(asked) == 5 and asked[2].startswith("wave: ")
    found = load_recording(next_session(tmp_path / "robot.recordings").with_name("session-000"))
    assert [(s.text, s.kept) for s in found.segments() if s.text] == [("wipe the table", False), ("wave", True)]


def test_nothing_is_written_over(policy: tuple[Path, PolicyManifest], tmp_path: Path) -> None:
    (tmp_path / "robot").mkdir()
    with pytest.raises(DatasetError, match="exists already and is of no recordings in"):
        record_dataset(tmp_path / "robot", lambda _: pytest.fail("nothing is recorded"), 1, SIZE)
    folder = tmp_path / "robot.recordings"
    assert next_session(folder).name == "session-000"
    (folder / "session-007").mkdir(parents=True)
    assert next_session(folder).name == "session-008" and sessions(folder) == []


def test_a_source_that_is_not_there_is_told_before_any_robot_is_reached(
    policy: tuple[Path, PolicyManifest], tmp_path: Path
) -> None:
    assert Source("policy").pilot(policy[1]) is None
    with pytest.raises(DeployError, match="Say with --leader-calibration"):
        Source("leader").pilot(policy[1])
    with pytest.raises(DeployError, match="there is no file"):
        Source(str(tmp_path / "none.json"))
    command = [
        sys.executable,
        "scripts/record.py",
        str(tmp_path / "d"),
        "--source",
        "policy",
        "--policy",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: There is no exported policy at")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [["--episodes", "0"], ["--seconds", "nan"], ["--seconds", "-1"], ["--seed", "-1"]])
def test_absurd_numbers_are_refused_as_the_options_are_read(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["record.py", "none", "--source", "policy", "--policy", "none", *options])
    with pytest.raises(SystemExit) as end:
        runpy.run_path("scripts/record.py", run_name="__main__")
    assert end.value.code == 2 and options[0] in capsys.readouterr().err.splitlines()[-1]


def test_ctrl_c_before_an_arm_moves_is_a_sentence(
    policy: tuple[Path, PolicyManifest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("argos_sim.robot_demos.record_dataset", ended)
    monkeypatch.setattr("argos_sim.replay.replay.replay", ended)
    record_options = [str(tmp_path / "d"), "--source", "policy", "--policy", str(policy[0])]
    for script, options in (("record", record_options), ("replay", [str(tmp_path)])):
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *options])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(f"scripts/{script}.py", run_name="__main__")
        assert end.value.code == 2 and capsys.readouterr().err.startswith("error: Stopped by hand")
    assert not (tmp_path / "d").exists()


def test_sessions_with_and_without_a_camera_file_are_not_mixed_and_no_arm_is_reached(
    policy: tuple[Path, PolicyManifest], tmp_path: Path
) -> None:
    def reached(_: PolicyManifest) -> object:
        raise AssertionError("the robot was reached")

    def seen_otherwise(log: Path) -> Watched:
        made = session(policy, lambda: trajectory(policy[1]), reached)(log)
        made.camera_file = tmp_path / "camera.yaml"
        return made

    earlier = record(tmp_path / "made", World.of(environment_cfg(Settings(), 1)), steps=62)
    shutil.copytree(earlier, next_session(tmp_path / "robot.recordings"))
    with pytest.raises(DatasetError, match="was recorded without --camera-file, and others with"):
        record_dataset(tmp_path / "robot", seen_otherwise, 5, SIZE, seconds=SECONDS)


def test_a_camera_file_that_is_none_is_a_sentence(tmp_path: Path, policy: tuple[Path, PolicyManifest]) -> None:
    command = [sys.executable, "scripts/record.py", str(tmp_path / "d"), "--source", "policy"]
    command += ["--policy", str(policy[0]), "--camera-file", str(tmp_path / "none.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith(f"error: {tmp_path}/none.yaml is no camera.yaml")
