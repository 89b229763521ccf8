"""An excitation on a robot, and the ways there and back: at the control rate, through the guard, recorded.

It goes from where the arm lies to the middle of its posture box, excites it there, goes back, and lets go. How a stop
ends it is ``argos_sim.motion.driving``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.recorder import STEPS, Recorder
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.identification.excitation import APPROACH, DAMP, RETURN, Excitation
from argos_sim.motion.clock import Clock, MonotonicClock
from argos_sim.motion.driving import Driver, Stopped
from argos_sim.motion.model import RobotModel
from argos_sim.motion.ways import Way, Ways


def play(
    robot: Robot,
    manifest: PolicyManifest,
    model: RobotModel,
    excitation: Excitation,
    folder: Path,
    robot_name: str,
    stops: Sequence[str] = (),
    clock: Clock | None = None,
) -> None:
    """Excite ``robot`` and record it in ``folder``; whatever ends it, no torque is the last that is sent.

    Args:
        model: of the robot, on which its ways are planned.
        stops: reasons to stop, which others add to meanwhile; a second one is not waited for.

    Raises:
        DeployError: there is no safe way to the posture box; the joints are silent or blocked, or somebody stopped it:
            what was recorded until then is kept. Or there is a recording in ``folder`` already.
    """
    if (folder / STEPS).exists():
        raise DeployError(f"There is a recording in {folder} already: fit it with --data, or choose another folder.")
    playing = _Playing(robot, manifest, model, excitation, stops, clock or MonotonicClock())
    ways = Ways(model, manifest)
    way = playing.driver.planned(lambda begin: ways.found(begin, excitation.centre))
    recorder = playing.recorder = Recorder(folder, len(manifest.joint_names), _about(manifest, excitation, robot_name))
    try:
        playing.driver.run(lambda: playing.play(way))
    except Stopped as stop:
        raise DeployError(f"{stop} What was recorded until then is kept.") from None
    finally:
        recorder.close()
    if recorder.problem:
        raise DeployError(f"The recording in {folder} is not whole: {recorder.problem}.")


def _about(manifest: PolicyManifest, excitation: Excitation, robot_name: str) -> dict[str, object]:
    """What a recording's file says of it."""
    return {
        "robot": robot_name,
        "joints": list(manifest.joint_names),
        "rates": manifest.rates,
        "seconds": excitation.settings.seconds,
        "seed": excitation.settings.seed,
    }


class _Playing:
    """One excitation, step by step."""

    recorder: Recorder

    def __init__(
        self,
        robot: Robot,
        manifest: PolicyManifest,
        model: RobotModel,
        excitation: Excitation,
        stops: Sequence[str],
        clock: Clock,
    ) -> None:
        self.excitation, self.clock, self.phase = excitation, clock, APPROACH
        bound = excitation.settings.bound
        self.driver = Driver(robot, manifest, model.gravity, stops, clock, bound, self._note)

    def play(self, way: Way) -> None:
        """There, excited, and back."""
        self.driver.follow(way)
        begin, seconds = self.clock.now(), self.excitation.settings.seconds
        while (at := self.clock.now() - begin) < seconds:
            self.phase = self.excitation.phase(at)
            self.driver.push(lambda position, at=at: self.excitation.torque(at, position))
        self.phase = RETURN
        self.driver.follow(way.back())

    def _note(self, now: float, late: float, at: JointReading, wanted: np.ndarray, sent: np.ndarray) -> None:
        """See ``driving.Note``."""
        self.recorder.add(
            time=now,
            late=late,
            mode=DAMP if self.driver.braking else self.phase,
            position=at.position,
            velocity=at.velocity,
            wanted=wanted,
            sent=sent,
            joints_age=now - at.time,
        )
