"""Episodes recorded one after the other, each kept or not: what ``scripts/record.py`` does while the robot moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from argos_sim.deploy.follower import Follower, FollowerSettings
from argos_sim.deploy.keys import stop_on_key
from argos_sim.deploy.lerobot_leader import Leader, connected_leader, require_calibration
from argos_sim.deploy.live import Watched
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.motion import MotionSource, Trajectory
from argos_sim.deploy.pilot import Pilot
from argos_sim.deploy.recorder import KIND, Recorder
from argos_sim.deploy.robots import Robot
from argos_sim.deploy.simulated import SimulatedRobot

SESSION = "session-{:03d}"
POLICY, LEADER = "policy", "leader"


@dataclass(frozen=True)
class Source:
    """Who moves the robot."""

    what: str
    """``policy``, ``leader``, or a trajectory's file."""
    leader_port: str = ""
    leader_calibration: Path | None = None
    leader_inverted: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.what not in (POLICY, LEADER) and not Path(self.what).is_file():
            raise DeployError(f"--source is policy, leader or a trajectory's file, and there is no file {self.what}.")

    def pilot(
        self, manifest: PolicyManifest, stop_file: Path | None = None
    ) -> Callable[[PolicyManifest, Robot, Recorder | None], Pilot | Follower] | None:
        """What ``Watched`` makes its pilot with; None for the policy's own.

        A leader is reached no sooner than a pilot is made, and let go where none can be: a session that is refused
        leaves no port open.

        Raises:
            DeployError: the trajectory is not there or does not fit, or the leader is not named, before any robot is
                reached.
        """
        if self.what == POLICY:
            return None
        trajectory = None
        if self.what == LEADER:
            self._require_leader(manifest)
        else:
            trajectory = Trajectory.read(Path(self.what), manifest)
        settings = FollowerSettings(stop_file=stop_file)

        def follower(known: PolicyManifest, robot: Robot, recorder: Recorder | None) -> Follower:
            source: MotionSource = trajectory or self._leader(manifest)
            try:
                return Follower(known, robot, source, settings, recorder)
            except BaseException:  # nobody else knows of it
                source.close()
                raise

        return follower

    def _require_leader(self, manifest: PolicyManifest) -> None:
        if self.leader_calibration is None:
            raise DeployError("Say with --leader-calibration where lerobot's file of the leader is.")
        require_calibration(self.leader_calibration)
        unknown = sorted(set(self.leader_inverted) - set(manifest.joint_names))
        if unknown:
            names = ", ".join(manifest.joint_names)
            raise DeployError(f"There is no joint {unknown[0]!r}; the policy has {names}.")

    def _leader(self, manifest: PolicyManifest) -> Leader:
        assert self.leader_calibration is not None
        device = connected_leader(self.leader_port, self.leader_calibration)
        try:
            return Leader(device, manifest, dict.fromkeys(self.leader_inverted, -1))
        except BaseException:
            device.disconnect()
            raise


def sessions(folder: Path) -> list[Path]:
    """The recordings in a dataset's folder of recordings, in the order in which they were made."""
    return sorted(path.parent for path in folder.glob(f"session-*/{KIND}"))


def next_session(folder: Path) -> Path:
    """Where the next recording goes: nothing that is there is written over."""
    numbers = [int(path.name.rsplit("-", 1)[1]) for path in folder.glob("session-*") if path.name[8:].isdecimal()]
    return folder / SESSION.format(max(numbers, default=-1) + 1)


def record_episodes(
    watched: Watched,
    wanted: int,
    texts: Sequence[str],
    seconds: float | None,
    keep_all: bool,
    ask: Callable[[str], str],
    first: int = 0,
) -> int:
    """Record until ``wanted`` episodes more were kept, or somebody stops; returns how many were.

    A simulated robot begins each episode elsewhere, and keeps those in which what was asked is done; beside any other
    robot somebody sets the scene, and says afterwards what is kept.

    Args:
        texts: what is asked, in turn; empty takes a simulated robot's own.
        seconds: of an episode; None takes a simulated robot's own.
        keep_all: keep episodes that were not done, too.
        ask: shows a question, and gives the answer.
        first: number of the first simulated episode, so that a session that goes on brings others.

    Raises:
        ValueError: ``texts`` or ``seconds`` are missing.
    """
    robot, pilot = watched.robot, watched.pilot
    assert pilot is not None
    simulated = isinstance(robot, SimulatedRobot)
    if not simulated and (not texts or seconds is None):
        raise ValueError("Say with --text what is done, and with --seconds how long an episode lasts.")
    kept, number = 0, first
    while kept < wanted and watched.stopped is None:
        text = texts[(number - first) % len(texts)] if texts else ""
        if simulated:
            text = robot.begin(number, text or None)
        elif ask(f"{text}: Enter begins, q and Enter ends: ").strip().lower() == "q":
            break
        pilot.begin(text)
        if number == first:
            pilot.start()
        number += 1
        with stop_on_key(watched.stop):
            whole = watched.wait(robot.episode_s if simulated and seconds is None else seconds or 0.0, show=False)
        if not whole:
            break
        keep = _judge(watched, pilot, keep_all, ask)
        kept += keep
        print(f"episode {number}: {text}: {'kept' if keep else 'discarded'}, {kept} of {wanted}", flush=True)
    return kept


def _judge(watched: Watched, pilot: Pilot | Follower, keep_all: bool, ask: Callable[[str], str]) -> bool:
    """End an episode, hold the arm, and note whether it is kept."""
    done = watched.robot.success() if isinstance(watched.robot, SimulatedRobot) else None
    watched.tell_end(done)
    pilot.begin("")
    keep = keep_all or bool(done)
    if done is None:  # nobody but who watched knows
        keep = ask("Enter keeps it, d and Enter discards it: ").strip().lower() != "d"
    if pilot.recorder is not None:
        pilot.recorder.tell("verdict", kept=keep)
    return keep
