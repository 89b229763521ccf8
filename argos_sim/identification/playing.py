"""An excitation on a robot, and the ways there and back: at the control rate, through the guard, recorded.

It goes from where the arm lies to its posture box (``approach``), excites it there, goes back, and lets go.
Who stops it has the motors brake until the arm rests, ``DAMP_S`` at most; who stops it twice, or an arm that cannot be
read, has no torque at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from argos_sim.deploy.fallback import FallbackSettings
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.motion import Trajectory
from argos_sim.deploy.recorder import STEPS, Recorder
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.deploy.safety import SafetyGuard
from argos_sim.deploy.springs import Springs, SpringSettings
from argos_sim.identification.approach import Way, find_way
from argos_sim.identification.excitation import APPROACH, DAMP, RETURN, Excitation
from argos_sim.identification.weight import Weight

SILENCE_S = 0.2
"""After which an arm whose joints are not read, or not as numbers, gets no torque any more [s]."""
FIRST_S = 10.0
"""Within which a first read-out must come [s]."""
SETTLE_S = 0.5
"""How long the arm is held at the end of a way [s]."""
DAMP_S, REST_S, REST_SPEED = 2.0, 0.3, 0.05
"""How long the motors brake at most [s]; an arm rests where for so long [s] no joint is faster than this [rad/s]."""
BEHIND = 0.6
"""A joint that is farther than this from where it is to be is blocked [rad]."""
MOVED, SEARCHES = 0.05, 10
"""By which the arm may move while its way is searched [rad], and how often that is tried."""


class Clock(Protocol):
    """The time, or a simulation's."""

    def now(self) -> float:
        """[s]."""
        ...

    def wait_until(self, due: float) -> None:
        """Return at ``due``, or at once where it is past."""
        ...


class MonotonicClock:
    """The machine's own."""

    def now(self) -> float:
        """See ``Clock``."""
        return time.monotonic()

    def wait_until(self, due: float) -> None:
        """See ``Clock``."""
        time.sleep(max(0.0, due - time.monotonic()))


def play(
    robot: Robot,
    manifest: PolicyManifest,
    excitation: Excitation,
    folder: Path,
    robot_name: str,
    stops: Sequence[str] = (),
    clock: Clock | None = None,
) -> None:
    """Excite ``robot`` and record it in ``folder``; whatever ends it, no torque is the last that is sent.

    Args:
        stops: reasons to stop, which others add to meanwhile; a second one is not waited for.

    Raises:
        DeployError: there is no safe way to the posture box; the joints are silent or blocked, or somebody stopped it:
            what was recorded until then is kept. Or there is a recording in ``folder`` already.
    """
    if (folder / STEPS).exists():
        raise DeployError(f"There is a recording in {folder} already: fit it with --data, or choose another folder.")
    about = {
        "robot": robot_name,
        "joints": list(manifest.joint_names),
        "rates": manifest.rates,
        "seconds": excitation.settings.seconds,
        "seed": excitation.settings.seed,
    }
    playing = _Playing(robot, manifest, excitation, stops, clock or MonotonicClock())
    way = playing.found_way()
    recorder = Recorder(folder, len(manifest.joint_names), about)
    try:
        playing.run(way, recorder)
    finally:
        try:
            robot.send(np.zeros(len(manifest.joint_names)))
        finally:
            recorder.close()
    if recorder.problem:
        raise DeployError(f"The recording in {folder} is not whole: {recorder.problem}.")


class _Stopped(Exception):
    """Somebody stopped it, or a joint is blocked: the motors brake, and then let go."""


class _Playing:
    """Control steps of one excitation."""

    def __init__(
        self, robot: Robot, manifest: PolicyManifest, excitation: Excitation, stops: Sequence[str], clock: Clock
    ) -> None:
        self.robot, self.manifest, self.excitation, self.stops, self.clock = robot, manifest, excitation, stops, clock
        self.guard, self.period = SafetyGuard(manifest), 1 / manifest.rates["control_hz"]
        self.springs = Springs(SpringSettings(), len(manifest.joint_names), self.period)
        self.weight, self.damping = Weight(manifest), FallbackSettings().damping
        self.most = excitation.settings.bound * np.array(manifest.torque_limits)

    def found_way(self) -> Way:
        """From where the limp arm lies."""
        for _ in range(SEARCHES):
            begin = self._first().position
            way = find_way(self.manifest, begin, self.excitation.centre)
            if np.abs(self._first().position - begin).max() < MOVED:
                return way
        raise DeployError("The arm does not lie still, so that no way can be found for it: let it rest first.")

    def run(self, way: Way, recorder: Recorder) -> None:
        """There, excited, back, and let go."""
        self.recorder, self.reading = recorder, self._first()
        self.due = self.clock.now()
        try:
            self._follow(way.there(self.manifest, self.clock.now()), APPROACH)
            self._excite()
            self._follow(way.back(self.manifest, self.reading.position, self.clock.now()), RETURN)
        except _Stopped as stop:
            self._damp(already=min(1, len(self.stops)))
            raise DeployError(f"{stop} What was recorded until then is kept.") from None
        self._damp(already=0)

    def _follow(self, way: Trajectory, phase: int) -> None:
        """By springs and without weight, and hold the arm at the end for a moment."""
        self.springs.reset()
        begin = self.clock.now()
        while (now := self.clock.now()) < begin + way.seconds + SETTLE_S:
            self._read()
            wanted = way.wanted(now)
            off = np.abs(wanted.position - self.reading.position)
            if off.max() > BEHIND:
                name = self.manifest.joint_names[int(off.argmax())]
                raise _Stopped(f"{name} is {off.max():.2f} rad behind: something is in its way.")
            self._obey()
            at = self.reading
            torque = self.springs.torque(wanted.position, wanted.velocity, at.position, at.velocity)
            self._send(np.clip(torque + self.weight.torque(at.position), -self.most, self.most), phase)

    def _excite(self) -> None:
        begin = self.clock.now()
        while (at := self.clock.now() - begin) < self.excitation.settings.seconds:
            self._read()
            self._obey()
            self._send(self.excitation.torque(at, self.reading.position), self.excitation.phase(at))

    def _damp(self, already: int) -> None:
        """Brake until the arm rests; more stops than ``already`` are not waited for."""
        begin = moved = self.clock.now()
        while (now := self.clock.now()) < begin + DAMP_S and now < moved + REST_S and len(self.stops) <= already:
            self._read()
            if np.abs(self.reading.velocity).max() > REST_SPEED:
                moved = now
            self._send(-self.damping * self.reading.velocity, DAMP)

    def _obey(self) -> None:
        if self.stops:
            raise _Stopped(f"Stopped: {self.stops[0]}.")

    def _read(self) -> None:
        """The newest read-out; ``DeployError`` where it is too old."""
        newest = self.robot.joints()
        if newest is not None and _whole(newest):
            self.reading = newest
        if self.clock.now() - self.reading.time > SILENCE_S:
            raise DeployError(f"The joints were not read for {SILENCE_S:g} s; the arm was let go.")

    def _send(self, wanted: np.ndarray, phase: int) -> None:
        """Guarded and recorded; returns when the next step is due."""
        at = self.reading
        sent = self.guard.apply(wanted, at.position, at.velocity, at.temperature)
        now = self.clock.now()
        self.robot.send(sent)
        self.recorder.add(
            time=now,
            late=now - self.due,
            mode=phase,
            position=at.position,
            velocity=at.velocity,
            wanted=wanted,
            sent=sent,
            joints_age=now - at.time,
        )
        self.due = max(self.due + self.period, self.clock.now() - self.period)
        self.clock.wait_until(self.due)

    def _first(self) -> JointReading:
        """A read-out of the limp arm that is not old."""
        end = self.clock.now() + FIRST_S
        while (now := self.clock.now()) < end:
            reading = self.robot.joints()
            if reading is not None and _whole(reading) and now - reading.time <= SILENCE_S:
                return reading
            self._wait_limp(now)
        raise DeployError(f"No joints were read for {FIRST_S:g} s.")

    def _wait_limp(self, now: float) -> None:
        if self.stops:
            raise DeployError(f"Stopped: {self.stops[0]}. Nothing was moved.")
        self.clock.wait_until(now + self.period)


def _whole(reading: JointReading) -> bool:
    return bool(np.isfinite(reading.position).all() and np.isfinite(reading.velocity).all())
