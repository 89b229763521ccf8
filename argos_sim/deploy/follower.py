"""Joints that follow a source of motion, for demonstrations: springs, as torques, through the guard of the policy.

As in ``pilot``, whose parts it is made of, the control thread keeps absolute deadlines at the policy's control rate,
and a camera thread hands on pictures as they come. What is late or missing holds, damps and stops the arm as there; a
source that is silent counts as a plan that does not come.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from argos_sim.deploy.control import ControlLoop, LoopSettings
from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.motion import MotionSource, Wanted
from argos_sim.deploy.recorder import Recorder
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.deploy.springs import Springs, SpringSettings


@dataclass(frozen=True)
class FollowerSettings(SpringSettings, LoopSettings):
    """How stiff the arm follows, and what happens when it cannot."""

    catch_up: float = 1.0
    """Fastest that what is followed moves [rad/s] where the source is elsewhere, such as when a leader is taken up."""
    most_ahead: float = 0.3
    """What is followed is never farther than this from where the arm is [rad]: what is held is not pressed on."""
    near: float = 0.15
    """A source that is no farther than this from what is followed is followed as it is [rad]."""


class Follower(ControlLoop):
    """Runs a ``MotionSource`` on a robot, until it is closed."""

    def __init__(
        self,
        manifest: PolicyManifest,
        robot: Robot,
        source: MotionSource,
        settings: FollowerSettings | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """``DeployError`` if the robot's joints are not the policy's."""
        self.settings, self.source = settings or FollowerSettings(), source
        super().__init__(manifest, robot, self.settings, recorder)
        self._followed: np.ndarray | None = None
        """Where the arm is to be now (J,) [rad]; None until its joints were read."""
        self._speed = np.zeros(self._joints)
        self._springs = Springs(self.settings, self._joints, self.control_dt)
        self._fastest = np.asarray(manifest.velocity_limits, dtype=float)
        self._led = False
        """Whether the source knows where the arm began."""
        self.begin("")

    def resume(self) -> None:
        """Move again after a stop, holding the arm."""
        self.begin("")
        self.fallback.resume()

    def _forget(self) -> None:
        self._seen_at = self._begun

    def _release(self) -> None:
        self.source.close()

    # -- the camera's thread ------------------------------------------------------------------------------------------

    def _look(self, last: float) -> float:
        """Hand on the newest picture if there is one after the time ``last``; returns its time."""
        frame, recent = self.robot.frame(), list(self._recent)
        if frame is None or frame.time == last or frame.time < self._begun or not recent:
            return last
        why = self._frame_check.refuses(frame, recent[-1].position, time.monotonic())
        if why:
            self._refuse(why)
            return frame.time
        self.counts["frames"] += 1
        if self.recorder is not None:
            self.recorder.see(frame)
        self._seen_at = frame.time
        return frame.time

    # -- the control thread -------------------------------------------------------------------------------------------

    def _step(self, now: float, late: float) -> None:
        with self._lock:
            text, begun, fresh, self._fresh = self.text, self._begun, self._fresh, False
        reading = self._believed(now)
        self._obey_file()
        if fresh:
            self._followed, self._led = None, False
        if not self._led and reading is not None:
            self._led = True
            self.source.begin(reading.position, now)
        wanted = self.source.wanted(now) if text else None
        known_at = begun if wanted is None else max(wanted.time, begun)
        ages = {
            "loop": now - self.watchdog.in_time_at,
            "joints": now - self._felt_at,
            "camera": now - self._seen_at,
            "plan": now - known_at if text else 0.0,
        }
        decided = self.fallback.decide(**ages)
        if decided != Mode.RUN:
            self._followed = None
        elif self._followed is None and reading is not None:
            self._take_up(reading)
        asked = self._torque(decided, reading, wanted)
        sent = self._sent(now, asked, reading, led=decided == Mode.RUN and reading is not None)
        if sent is None:
            return
        target = np.nan if self._followed is None else self._followed
        self._note(now, late, reading, ages, wanted=asked, sent=sent, target=target)

    def _take_up(self, reading: JointReading) -> None:
        """Follow from where the arm is; what the source says meanwhile is caught up with."""
        self._followed = reading.position.copy()
        self._speed = np.zeros(self._joints)
        self._springs.reset()
        self.guard.reset()

    def _torque(self, mode: Mode, reading: JointReading | None, wanted: Wanted | None) -> np.ndarray:
        """The torque of this step, before it is guarded."""
        if mode != Mode.RUN or reading is None or self._followed is None:
            return self._fallen_back(mode, reading)
        self._approach(wanted, reading.position)
        return self._springs.torque(self._followed, self._speed, reading.position, reading.velocity)

    def _approach(self, wanted: Wanted | None, position: np.ndarray) -> None:
        """Move what is followed to where the source is: no faster than the joints may where it is near, else than
        ``catch_up``; and not away from ``position``, where the arm is."""
        assert self._followed is not None
        if wanted is None:
            self._speed = np.zeros(self._joints)
            return
        gap, most = wanted.position - self._followed, self.settings.catch_up * self.control_dt
        near, ahead = np.abs(gap) <= self.settings.near, self.settings.most_ahead
        most = np.where(near, self._fastest * self.control_dt, most)
        step = np.clip(gap, -most, most)
        self._followed = np.clip(self._followed + step, position - ahead, position + ahead)
        self._speed = np.where(near, np.clip(wanted.velocity, -self._fastest, self._fastest), step / self.control_dt)
