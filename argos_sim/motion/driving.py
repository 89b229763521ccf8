"""Control steps of an arm that a tool moves by itself: at the policy's rate, by springs, through the guard.

What the model's gravity asks for is added to the springs. Who stops it has the motors brake until the arm rests,
``BRAKE_S`` at most; who stops it twice, or an arm that cannot be read, has no torque at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from argos_sim.deploy.fallback import FallbackSettings
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.deploy.safety import SafetyGuard
from argos_sim.deploy.springs import Springs, SpringSettings
from argos_sim.motion.clock import Clock, MonotonicClock
from argos_sim.motion.ways import Way

BOUND = 0.6
"""Share of each torque limit that is asked for at most."""
SILENCE_S = 0.2
"""After which an arm whose joints are not read, or not as numbers, gets no torque any more [s]."""
FIRST_S = 10.0
"""Within which a first read-out must come [s]."""
SETTLED, SETTLE_S, PATIENCE_S = 0.02, 0.5, 10.0
"""At the end of a way an arm is held until no joint moved by more [rad] for so long [s], for so long at most [s]."""
BRAKE_S, REST_S, REST_SPEED = 2.0, 0.3, 0.05
"""How long the motors brake at most [s]; an arm rests where for so long [s] no joint is faster than this [rad/s]."""
BEHIND = 0.6
"""A joint that is farther than this from where it is to be is blocked [rad]."""
BEYOND = 0.15
"""A joint that reads farther than this beyond its range is calibrated wrongly [rad]."""
MOVED, SEARCHES = 0.05, 10
"""By which the arm may move while its way is searched [rad], and how often that is tried."""

Note = Callable[[float, float, JointReading, np.ndarray, np.ndarray], None]
"""Told of each step: when it was sent and by how much late [s], joints, torque wanted and torque sent (J,) [N·m]."""


class Stopped(DeployError):
    """Somebody stopped it, or it cannot go on: the motors brake, and then let go."""


class Driver:
    """Moves an arm for whoever ``run`` is given.

    Attributes:
        reading: the newest read-out of the joints.
        braking: whether the motors brake, and nothing else is followed any more.
    """

    def __init__(
        self,
        robot: Robot,
        manifest: PolicyManifest,
        gravity: Callable[[np.ndarray], np.ndarray],
        stops: Sequence[str] = (),
        clock: Clock | None = None,
        bound: float = BOUND,
        note: Note | None = None,
    ) -> None:
        """
        Args:
            gravity: torque (J,) [N·m] that keeps the arm at rest at joints (J,) [rad].
            stops: reasons to stop, which others add to meanwhile; a second one is not waited for.
            bound: share of each torque limit that is asked for at most.
            note: is told of each step.
        """
        self._robot, self._manifest, self._gravity, self._stops = robot, manifest, gravity, stops
        self._clock, self._note, self._period = clock or MonotonicClock(), note, 1 / manifest.rates["control_hz"]
        self._guard, self._damping = SafetyGuard(manifest), FallbackSettings().damping
        self._springs = Springs(SpringSettings(), len(manifest.joint_names), self._period)
        self._most = bound * np.array(manifest.torque_limits)
        self._aim: np.ndarray | None = None
        """Where the springs hold the arm (J,) [rad]; None while they do not."""
        self.braking = False

    # -- the arm is limp ----------------------------------------------------------------------------------------------

    def planned[T](self, plan: Callable[[np.ndarray], T]) -> T:
        """What ``plan`` makes of where the limp arm lies (J,) [rad], once it lies as still as that takes.

        Raises:
            DeployError: it does not lie still, is not read, or somebody stopped it; or what ``plan`` raises.
        """
        for _ in range(SEARCHES):
            begin = self._first().position
            self._require_in_range(begin)
            made = plan(begin)
            if np.abs(self._first().position - begin).max() < MOVED:
                return made
        raise DeployError("The arm does not lie still, so that no way can be found for it: let it rest first.")

    def run[T](self, move: Callable[[], T]) -> T:
        """What ``move`` gives, which drives by the methods below; the arm is braked to rest and let go in any case.

        Raises:
            Stopped: somebody stopped it, or it could not go on.
            DeployError: the joints are not read; the arm is let go at once.
        """
        self.reading, self._due, self.braking, already = self._first(), self._clock.now(), False, 0
        self._aim = None  # where an earlier run left the arm, which was limp since
        self._springs.reset()
        try:
            try:
                return move()
            except Stopped:
                already = min(1, len(self._stops))
                raise
            finally:
                self._brake(already)
        finally:
            self._robot.send(np.zeros(len(self._manifest.joint_names)))

    def _require_in_range(self, joints: np.ndarray) -> None:
        low, high = np.array(self._manifest.joint_limits).T
        beyond = np.maximum(low - joints, joints - high)
        if beyond.max() > BEYOND:
            name = self._manifest.joint_names[int(beyond.argmax())]
            raise DeployError(
                f"{name} reads {beyond.max():.2f} rad beyond its range: are calibration and --inverted right? "
                "Nothing was moved."
            )

    def _first(self) -> JointReading:
        """A read-out of the limp arm that is not old."""
        end = self._clock.now() + FIRST_S
        while (now := self._clock.now()) < end:
            if self._stops:
                raise DeployError(f"Stopped: {self._stops[0]}. Nothing was moved.")
            reading = self._robot.joints()
            if reading is not None and _whole(reading) and now - reading.time <= SILENCE_S:
                return reading
            self._clock.wait_until(now + self._period)
        raise DeployError(f"No joints were read for {FIRST_S:g} s.")

    # -- the arm is driven --------------------------------------------------------------------------------------------

    def follow(self, way: Way) -> None:
        """Along ``way``, from where the arm is, and hold it at the end until it rests."""
        begin, started = self.reading.position if self._aim is None else self._aim, self._clock.now()
        path = way.played(self._manifest, begin, started)
        self._aim, rested, last = begin, started + path.seconds, begin
        while (now := self._clock.now()) < rested + SETTLE_S:
            if now > started + path.seconds + PATIENCE_S:
                raise Stopped("The arm does not come to rest: is something in its way, or is it not driven?")
            wanted = path.wanted(now)
            at = self._hold(wanted.position, wanted.velocity)
            if now > started + path.seconds and np.abs(at - last).max() > SETTLED:
                rested, last = now, at

    def hold(self) -> np.ndarray:
        """One step in which the arm stays at the end of its way; the joints (J,) [rad]."""
        assert self._aim is not None
        return self._hold(self._aim, np.zeros_like(self._aim))

    def push(self, torque: Callable[[np.ndarray], np.ndarray]) -> None:
        """One step of ``torque`` (J,) [N·m] of joints (J,) [rad]."""
        self._read()
        self._obey()
        self._springs.reset()
        self._aim = None
        self._send(torque(self.reading.position))

    def _hold(self, place: np.ndarray, speed: np.ndarray) -> np.ndarray:
        """One step of the springs toward ``place`` [rad], which moves at ``speed`` [rad/s]; the joints."""
        self._read()
        self._obey()
        at, self._aim = self.reading, place
        off = np.abs(place - at.position)
        if off.max() > BEHIND:
            name = self._manifest.joint_names[int(off.argmax())]
            raise Stopped(f"{name} is {off.max():.2f} rad behind: something is in its way.")
        torque = self._springs.torque(place, speed, at.position, at.velocity) + self._gravity(at.position)
        self._send(np.clip(torque, -self._most, self._most))
        return at.position

    def _brake(self, already: int) -> None:
        """Brake until the arm rests; more stops than ``already`` are not waited for."""
        self.braking, begin = True, self._clock.now()
        moved = begin
        while (now := self._clock.now()) < begin + BRAKE_S and now < moved + REST_S and len(self._stops) <= already:
            self._read()
            if np.abs(self.reading.velocity).max() > REST_SPEED:
                moved = now
            self._send(-self._damping * self.reading.velocity)

    def _obey(self) -> None:
        if self._stops:
            raise Stopped(f"Stopped: {self._stops[0]}.")

    def _read(self) -> None:
        """The newest read-out; ``DeployError`` where it is too old."""
        newest = self._robot.joints()
        if newest is not None and _whole(newest):
            self.reading = newest
        if self._clock.now() - self.reading.time > SILENCE_S:
            raise DeployError(f"The joints were not read for {SILENCE_S:g} s; the arm was let go.")

    def _send(self, wanted: np.ndarray) -> None:
        """Guarded and noted; returns when the next step is due."""
        at = self.reading
        sent = self._guard.apply(wanted, at.position, at.velocity, at.temperature)
        now = self._clock.now()
        self._robot.send(sent)
        if self._note is not None:
            self._note(now, now - self._due, at, wanted, sent)
        self._due = max(self._due + self._period, self._clock.now() - self._period)
        self._clock.wait_until(self._due)


def _whole(reading: JointReading) -> bool:
    return bool(np.isfinite(reading.position).all() and np.isfinite(reading.velocity).all())
