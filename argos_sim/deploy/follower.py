"""Joints that follow a source of motion, for demonstrations: springs, as torques, through the guard of the policy.

As in ``pilot``, whose parts it is made of, the control thread keeps absolute deadlines at the policy's control rate,
and a camera thread hands on pictures as they come. What is late or missing holds, damps and stops the arm as there; a
source that is silent counts as a plan that does not come.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from argos_sim.deploy.fallback import Fallback, FallbackSettings, Mode
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.motion import MotionSource, Wanted
from argos_sim.deploy.pilot import COUNTED, LOOK_S, PRIORITY, wait_until
from argos_sim.deploy.recorder import Recorder
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.deploy.safety import SafetyGuard, SafetySettings
from argos_sim.deploy.senses import FrameCheck, JointCheck, SenseSettings
from argos_sim.deploy.times import Times
from argos_sim.deploy.watchdog import Watchdog


@dataclass(frozen=True)
class FollowerSettings:
    """How stiff the arm follows, and what happens when it cannot."""

    stiffness: float = 10.0
    """[N·m/rad]; stable with 40 ms of delay."""
    damping: float = 0.2
    """On the difference of speeds, beside the motor's own [N·m·s/rad]."""
    feedforward: float = 0.6
    """Torque for each rad/s wanted [N·m·s/rad]: what an STS3215's back-EMF takes."""
    integral: float = 15.0
    """[N·m/(rad·s)]; what gravity asks for is learnt in about half a second, ..."""
    most_integral: float = 1.2
    """... up to so much [N·m]."""
    catch_up: float = 1.0
    """Fastest that what is followed moves [rad/s] where the source is elsewhere, such as when a leader is taken up."""
    near: float = 0.15
    """A source that is no farther than this from what is followed is followed as it is [rad]."""
    fallback: FallbackSettings = field(default_factory=FallbackSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    senses: SenseSettings = field(default_factory=SenseSettings)
    stop_file: Path | None = None
    """The arm stops as soon as this file exists."""


class Follower:
    """Runs a ``MotionSource`` on a robot, until it is closed; what it offers is what ``Pilot`` does."""

    def __init__(
        self,
        manifest: PolicyManifest,
        robot: Robot,
        source: MotionSource,
        settings: FollowerSettings | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """``DeployError`` if the robot's joints are not the policy's."""
        if tuple(robot.joint_names) != manifest.joint_names:
            raise DeployError(f"The robot's joints are {robot.joint_names}, the policy's {manifest.joint_names}.")
        self.settings, self.manifest, self.robot = settings or FollowerSettings(), manifest, robot
        self.source, self.recorder = source, recorder
        self.guard = SafetyGuard(manifest, self.settings.safety)
        self.control_dt, hz = 1 / manifest.rates["control_hz"], manifest.rates["control_hz"]
        self.fallback = Fallback(self.settings.fallback, hz)
        self._joints = len(manifest.joint_names)
        self.watchdog = Watchdog(robot, self._joints, self.control_dt, self.settings.fallback.loop, self.stop)
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._threads: list[threading.Thread] = []
        self.late, self.took = Times(COUNTED), Times(COUNTED)
        self.counts = {"steps": 0, "missed": 0, "frames": 0, "refused": 0}
        self.refused_because = ""
        self._followed: np.ndarray | None = None
        """Where the arm is to be now (J,) [rad]; None until its joints were read."""
        self._speed, self._held = np.zeros(self._joints), np.zeros(self._joints)
        self.begin("")

    # -- what an operator does ----------------------------------------------------------------------------------------

    def begin(self, text: str) -> None:
        """Begin an episode of ``text``; an empty one holds the arm where it is."""
        with self._lock:
            self.text, self._begun = text, time.monotonic()
            self._felt_at = self._seen_at = self._begun
            limits = self.manifest.joint_limits, self.manifest.velocity_limits
            self._joint_check = JointCheck(*limits, self._begun, self.settings.senses)
            self._frame_check = FrameCheck(self.settings.senses)
            self._fresh = True
        self.fallback.forget()
        if self.recorder is not None:
            self.recorder.tell("begin", text=text, episode=getattr(self.robot, "episode", None))

    def start(self) -> None:
        """Begin to move."""
        sys.setswitchinterval(5e-4)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._watch, self._drive)]
        self.watchdog.start()
        for thread in self._threads:
            thread.start()

    def stop(self, reason: str) -> None:
        """No torque, at the next control step and until ``resume``."""
        self.fallback.stop(reason)

    def resume(self) -> None:
        """Move again after a stop, holding the arm."""
        self.begin("")
        self.fallback.resume()

    def close(self) -> None:
        """Release the robot, the source and the recording."""
        self._ended.set()
        self.watchdog.close()
        self.watchdog.let_go()
        for thread in self._threads:
            thread.join(2.0)
        try:
            self.watchdog.let_go()
            self.robot.close()  # the motors first, whatever becomes of the rest
        finally:
            self.source.close()
            if self.recorder is not None:
                self.recorder.close()

    def figures(self) -> dict[str, float]:
        """Counts, and medians and 99th percentiles of ``late`` and ``took`` [ms]; see ``Pilot.figures``."""
        found: dict[str, float] = dict(self.counts)
        for name in ("late", "took"):
            values = 1e3 * getattr(self, name).kept()
            if len(values):
                found |= {f"{name}_ms_p{q}": float(np.percentile(values, q)) for q in (50, 99)}
        return found

    # -- the camera's thread ------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        last = 0.0
        while not self._ended.is_set():
            try:
                last = self._look(last)
            except Exception as error:  # what comes of it is the fallback's matter
                self._refuse(f"{type(error).__name__}: {error}")
            time.sleep(LOOK_S)

    def _look(self, last: float) -> float:
        """Hand on the newest picture if there is one after the time ``last``; returns its time."""
        frame, position = self.robot.frame(), self._followed
        if frame is None or frame.time == last or frame.time < self._begun or position is None:
            return last
        why = self._frame_check.refuses(frame, position, time.monotonic())
        if why:
            self._refuse(why)
            return frame.time
        self.counts["frames"] += 1
        if self.recorder is not None:
            self.recorder.see(frame)
        self._seen_at = frame.time
        return frame.time

    # -- the control thread -------------------------------------------------------------------------------------------

    def _drive(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        due = time.monotonic()
        while not self._ended.is_set():
            wait_until(due)
            begin = time.monotonic()
            self.watchdog.step(begin)
            try:
                self._step(begin, begin - due)
            except Exception as error:  # whatever happened, the arm must not go on as it was told last
                self.stop(f"{type(error).__name__}: {error}")
                with contextlib.suppress(Exception):
                    self.robot.send(np.zeros(self._joints))
            due += self.control_dt
            if time.monotonic() > due:
                self.counts["missed"] += 1
                due = time.monotonic()

    def _step(self, now: float, late: float) -> None:
        with self._lock:
            text, begun, fresh, self._fresh = self.text, self._begun, self._fresh, False
        reading, mode = self._believed(now), self.fallback.mode
        if self.settings.stop_file is not None and self.settings.stop_file.exists():
            self.stop(f"{self.settings.stop_file} is there")
        if fresh:
            self._followed = None
        if self._followed is None and reading is not None:
            self._take_up(reading, now)
        wanted = self.source.wanted(now) if text else None
        known_at = begun if wanted is None else max(wanted.time, begun)
        ages = {
            "loop": now - self.watchdog.in_time_at,
            "joints": now - self._felt_at,
            "camera": now - self._seen_at,
            "plan": now - known_at if text else 0.0,
        }
        decided = self.fallback.decide(**ages)
        if decided == Mode.RUN and mode != Mode.RUN and reading is not None:
            self._held = np.zeros(self._joints)
            self._take_up(reading, now)
        asked = self._torque(decided, reading, wanted)
        sent = self._guarded(asked, reading)
        if self._ended.is_set():
            return
        if time.monotonic() - now > self.settings.fallback.joints.hold:  # it hung, and this is of joints of long ago
            sent = np.zeros(self._joints)
        self.robot.send(sent)
        if decided == Mode.RUN and reading is not None:
            self.fallback.moved(sent)
        self.counts["steps"] += 1
        self.late.add(late)
        took = time.monotonic() - now
        self.took.add(took)
        if self.recorder is not None:
            self.recorder.add(
                time=now,
                late=late,
                took=took,
                mode=int(self.fallback.mode),
                reason=self.fallback.reason,
                position=np.nan if reading is None else reading.position,
                velocity=np.nan if reading is None else reading.velocity,
                wanted=asked,
                sent=sent,
                target=np.nan if self._followed is None else self._followed,
                joints_age=ages["joints"],
                camera_age=ages["camera"],
            )

    def _believed(self, now: float) -> JointReading | None:
        """The joints, if they can be believed and are not old; see ``Pilot``."""
        reading = self.robot.joints()
        why = self._joint_check.refuses(reading, now)
        if why or reading is None:
            if reading is not None:
                self._refuse(why)
            return None
        self._felt_at = reading.time
        return reading if now - self._felt_at <= self.settings.fallback.joints.hold else None

    def _take_up(self, reading: JointReading, now: float) -> None:
        """Follow from where the arm is."""
        self._followed, self._speed = reading.position.copy(), np.zeros(self._joints)
        self.guard.reset()
        self.source.begin(reading.position, now)

    def _torque(self, mode: Mode, reading: JointReading | None, wanted: Wanted | None) -> np.ndarray:
        """The torque of this step, before it is guarded."""
        if mode != Mode.RUN or reading is None or self._followed is None:
            position, velocity = (None, None) if reading is None else (reading.position, reading.velocity)
            return self.fallback.torque(position, velocity, self._joints, max(mode, Mode.HOLD))
        cfg = self.settings
        self._approach(wanted)
        off = self._followed - reading.position
        self._held = np.clip(self._held + cfg.integral * self.control_dt * off, -cfg.most_integral, cfg.most_integral)
        spring = cfg.stiffness * off + cfg.damping * (self._speed - reading.velocity)
        return spring + cfg.feedforward * self._speed + self._held

    def _approach(self, wanted: Wanted | None) -> None:
        """Move what is followed to where the source is: at once where it is near, else no faster than ``catch_up``."""
        assert self._followed is not None
        if wanted is None:
            self._speed = np.zeros(self._joints)
            return
        gap, most = wanted.position - self._followed, self.settings.catch_up * self.control_dt
        near = np.abs(gap) <= self.settings.near
        step = np.where(near, gap, np.clip(gap, -most, most))
        self._followed = self._followed + step
        self._speed = np.where(near, wanted.velocity, step / self.control_dt)

    def _guarded(self, wanted: np.ndarray, reading: JointReading | None) -> np.ndarray:
        """What may be sent; see ``Pilot``."""
        if self.fallback.mode == Mode.STOP:
            self.guard.reset()
            return np.zeros(self._joints)
        if reading is None:
            self.guard.follow(wanted)
            return wanted
        allowed = self.guard.apply(wanted, reading.position, reading.velocity, reading.temperature)
        if self.guard.refused:
            self._refuse(self.guard.refused)
        return allowed

    def _refuse(self, why: str) -> None:
        self.counts["refused"] += 1
        self.refused_because = why
