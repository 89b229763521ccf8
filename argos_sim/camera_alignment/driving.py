"""Pictures and joints of a robot that is driven through postures: by springs, as torques, through the guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from argos_sim.camera_alignment.recording import Recording, recording_of
from argos_sim.camera_alignment.ways import Stop
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.deploy.safety import SafetyGuard
from argos_sim.identification.playing import Clock, MonotonicClock

STIFFNESS, DAMPING, PULL = 12.0, 0.6, 4.0
"""Of the spring that drives a joint [N·m/rad, N·m·s/rad], and how fast its end leads away what gravity leaves [1/s]."""
SPEED = 0.8
"""Of the spring's end on its way [rad/s]."""
STILL, STILL_S = 0.02, 0.3
"""An arm rests that moved by less [rad] for so long [s]."""
SILENCE_S = 1.0
"""Joints that are older are not believed [s]."""
PATIENCE_S = 10.0
"""For a posture to be reached, or something to be sensed."""


def driven(
    robot: Robot,
    manifest: PolicyManifest,
    stops: Sequence[Stop],
    stopped: Callable[[], bool],
    show: Callable[[str], None],
    clock: Clock | None = None,
) -> Recording:
    """Pictures at ``stops``, or near them: what counts is what the joints read there. The arm is let go at the last.

    Raises:
        DeployError: joints or pictures do not come, or ``stopped`` says so; the arm is let go.
    """
    driver, taken = Driver(robot, manifest, stopped, clock or MonotonicClock()), []
    count = sum(stop.shown for stop in stops)
    try:
        aim = driver.reading().position
        for stop in stops:
            driver.drive(aim, stop.joints)
            aim = stop.joints
            if stop.shown:
                taken.append(driver.picture(aim))
                show(f"posture {len(taken)} of {count}")
    finally:
        robot.send(np.zeros(len(manifest.joint_names)))
    return recording_of(manifest.joint_names, taken)


class Driver:
    """Holds an arm by springs whose ends move."""

    def __init__(self, robot: Robot, manifest: PolicyManifest, stopped: Callable[[], bool], clock: Clock) -> None:
        self._robot, self._stopped, self._clock, self._guard = robot, stopped, clock, SafetyGuard(manifest)
        self._dt = 1 / manifest.rates["control_hz"]
        self._lead = np.zeros(len(manifest.joint_names))
        """How far the springs' ends lead, for what gravity leaves (J,) [rad]."""

    def drive(self, begin: np.ndarray, end: np.ndarray) -> None:
        """Along the straight way in joint space, until the arm rests there."""
        started = self._clock.now()
        seconds = float(np.abs(end - begin).max()) / SPEED
        rested, last = started + seconds, begin
        while (now := self._clock.now()) - started < seconds + PATIENCE_S:
            share = min(1.0, (now - started) / max(seconds, self._dt))
            position = self._push(begin + share * (end - begin))
            if share < 1 or np.abs(position - last).max() > STILL:
                rested, last = max(now, started + seconds), position
            if now - rested > STILL_S + 1 / PULL:
                return
        raise DeployError("The arm does not come to rest: is something in its way, or is it not driven?")

    def picture(self, posture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The next picture of the arm held here, and the mean of the joints' read-outs meanwhile."""
        begin, read = self._clock.now(), []
        while self._clock.now() - begin < PATIENCE_S:
            read.append(self._push(posture))
            frame = self._robot.frame()
            if frame is not None and frame.time > begin + STILL_S:
                return np.array(frame.pictures[0]), np.mean(read[len(read) // 2 :], axis=0)
        raise DeployError("The camera gives no new pictures.")

    def reading(self) -> JointReading:
        """The joints as they are."""
        end = self._clock.now() + PATIENCE_S
        while (now := self._clock.now()) < end:
            reading = self._robot.joints()
            if reading is not None and now - reading.time < SILENCE_S:
                return reading
            self._clock.wait_until(now + 0.002)
        raise DeployError("The joints are not read.")

    def _push(self, aim: np.ndarray) -> np.ndarray:
        """One control step of the springs; returns the joints."""
        if self._stopped():
            raise DeployError("Stopped by hand; nothing was written.")
        reading = self.reading()
        lead = self._lead + PULL * self._dt * (aim - reading.position)
        self._lead = np.clip(lead, -0.3, 0.3)
        torque = STIFFNESS * (aim + self._lead - reading.position) - DAMPING * reading.velocity
        self._robot.send(self._guard.apply(torque, reading.position, reading.velocity, reading.temperature))
        self._clock.wait_until(self._clock.now() + self._dt)
        return reading.position
