"""What every control loop on a robot has: deadlines, checked senses, a fallback, a guard, a watchdog, a recording.

A control thread reads the joints, decides on a torque, guards it and sends it, at the policy's control rate, with
absolute deadlines; a camera thread takes pictures as they come. Neither waits for the other. ``Pilot`` lets a policy
decide, ``Follower`` a source of motion.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from argos_sim.deploy.fallback import Fallback, FallbackSettings, Mode
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.recorder import Recorder
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.deploy.safety import SafetyGuard, SafetySettings
from argos_sim.deploy.senses import FrameCheck, JointCheck, SenseSettings
from argos_sim.deploy.times import Times
from argos_sim.deploy.watchdog import Watchdog

SPIN_S = 1e-4
"""Before a deadline the control thread waits without sleeping: a sleep may end so much late."""
LOOK_S = 0.002
"""How often the camera thread asks for a picture."""
PRIORITY = 10
"""Of the control thread among real-time threads, where the system lets it have one."""
RECENT_S = 0.5
"""How long joint read-outs are kept for pictures that were taken with them [s]."""
COUNTED = 200_000
"""Control steps whose times are kept for ``figures``."""


@dataclass(frozen=True)
class LoopSettings:
    """What happens when something breaks."""

    fallback: FallbackSettings = field(default_factory=FallbackSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    senses: SenseSettings = field(default_factory=SenseSettings)
    stop_file: Path | None = None
    """The arm stops as soon as this file exists."""


class ControlLoop(ABC):
    """Runs a robot, until it is closed.

    Attributes:
        text: what is asked; an empty one holds the arm.
        late, took: of each control step, see ``figures``.
        counts: what happened how often.
    """

    timed: tuple[str, ...] = ("late", "took")
    """Attributes that are ``Times``, for ``figures``."""

    def __init__(
        self, manifest: PolicyManifest, robot: Robot, settings: LoopSettings, recorder: Recorder | None
    ) -> None:
        """``DeployError`` if the robot's joints are not the policy's."""
        if tuple(robot.joint_names) != manifest.joint_names:
            raise DeployError(f"The robot's joints are {robot.joint_names}, the policy's {manifest.joint_names}.")
        self.manifest, self.robot, self.recorder, self._settings = manifest, robot, recorder, settings
        self.guard = SafetyGuard(manifest, settings.safety)
        hz = manifest.rates["control_hz"]
        self.control_dt, self._joints = 1 / hz, len(manifest.joint_names)
        self.fallback = Fallback(settings.fallback, hz)
        self.watchdog = Watchdog(robot, self._joints, self.control_dt, settings.fallback.loop, self.stop)
        self._lock = threading.Lock()  # of what begins anew together; neither thread holds it while it computes
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.late, self.took = Times(COUNTED), Times(COUNTED)
        self.counts = {"steps": 0, "missed": 0, "frames": 0, "refused": 0}
        self.refused_because = ""
        self._sent_at = -math.inf
        self._recent: deque[JointReading] = deque(maxlen=round(RECENT_S / self.control_dt) + 1)

    # -- what an operator does ----------------------------------------------------------------------------------------

    def begin(self, text: str) -> None:
        """Forget the past, and do ``text`` from now on; an empty one holds the arm."""
        with self._lock:
            self.text, self._begun = text, time.monotonic()
            self._felt_at, self._fresh = self._begun, True
            limits = self.manifest.joint_limits, self.manifest.velocity_limits
            self._joint_check = JointCheck(*limits, self._begun, self._settings.senses)
            self._frame_check = FrameCheck(self._settings.senses, self.manifest.spec.get("cameras", ("front",)))
            self._forget()
        self.fallback.forget()
        self._tell_begin()

    def ask(self, text: str) -> None:
        """Do ``text`` next, without a pause where the loop can."""
        self.begin(text)

    def start(self) -> None:
        """Begin to move."""
        sys.setswitchinterval(5e-4)  # the camera's thread must not keep the control thread waiting for 5 ms
        gc.collect()
        gc.freeze()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._watch, self._drive)]
        self.watchdog.start()
        for thread in self._threads:
            thread.start()

    def stop(self, reason: str) -> None:
        """No torque, at the next control step and until ``resume``."""
        self.fallback.stop(reason)

    def resume(self) -> None:
        """Move again after a stop, from a new beginning."""
        self.begin(self.text)
        self.fallback.resume()

    def close(self) -> None:
        """Release the robot, and end all that belongs to the loop."""
        self._ended.set()
        self.watchdog.close()
        self.watchdog.let_go()
        for thread in self._threads:
            thread.join(2.0)
        try:
            self.watchdog.let_go()
            self.robot.close()  # the motors first, whatever becomes of the rest
        finally:
            try:
                self._release()
            finally:
                if self.recorder is not None:
                    self.recorder.close()

    def figures(self) -> dict[str, float]:
        """Counts, and medians and 99th percentiles of times [ms]: ``late`` after a deadline, ``took`` from the begin
        of a control step to its command, and what else is ``timed``."""
        found: dict[str, float] = dict(self.counts)
        for name in self.timed:
            values = 1e3 * getattr(self, name).kept()
            if len(values):
                found |= {f"{name}_ms_p{q}": float(np.percentile(values, q)) for q in (50, 99)}
        return found

    # -- what each loop does ------------------------------------------------------------------------------------------

    @abstractmethod
    def _forget(self) -> None:
        """Forget the past; the lock is held, and ``_begun`` is now."""

    @abstractmethod
    def _release(self) -> None:
        """End what else belongs to the loop."""

    @abstractmethod
    def _look(self, last: float) -> float:
        """Take the newest picture if there is one after the time ``last``; returns its time, or ``last``."""

    @abstractmethod
    def _step(self, now: float, late: float) -> None:
        """One control step, that began at ``now``, ``late`` after its deadline [s]."""

    # -- its threads --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        last = 0.0
        while not self._ended.is_set():
            before = last
            try:
                last = self._look(last)
            except Exception as error:  # what comes of it is the fallback's matter; the next picture may be well
                self._refuse(f"{type(error).__name__}: {error}")
            if last == before:
                time.sleep(LOOK_S)

    def _drive(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        due = time.monotonic()
        while not self._ended.is_set():
            _wait_until(due)
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

    # -- parts of a control step --------------------------------------------------------------------------------------

    def _tell_begin(self) -> None:
        if self.recorder is not None:
            self.recorder.tell("begin", text=self.text, episode=getattr(self.robot, "episode", None))

    def _obey_file(self) -> None:
        """Stop where the file for stops is there."""
        if self._settings.stop_file is not None and self._settings.stop_file.exists():
            self.stop(f"{self._settings.stop_file} is there")

    def _believed(self, now: float) -> JointReading | None:
        """The joints, if they can be believed and are not old: old ones are no ground for any torque, since a spring or
        a brake would push on, wherever the joint is by now."""
        reading, check = self.robot.joints(), self._joint_check
        why = check.refuses(reading, now)
        if why or reading is None:
            if reading is not None:
                self._refuse(why)
            return None
        if reading.time != self._felt_at:
            self._recent.append(reading)
        self._felt_at = reading.time
        return reading if now - self._felt_at <= self._settings.fallback.joints.hold else None

    def _fallen_back(self, mode: Mode, reading: JointReading | None) -> np.ndarray:
        """The torque where nobody leads."""
        position, velocity = (None, None) if reading is None else (reading.position, reading.velocity)
        return self.fallback.torque(position, velocity, self._joints, max(mode, Mode.HOLD))

    def _sent(self, now: float, wanted: np.ndarray, reading: JointReading | None, led: bool) -> np.ndarray | None:
        """Guard and send a torque; what was sent, or None where the loop has ended.

        Args:
            led: whether it is no fallback's.
        """
        if now - self._sent_at > self._settings.fallback.loop.hold:  # watchdog or driver let the motors go since
            self.guard.reset()
        sent = self._guarded(wanted, reading)
        if self._ended.is_set():
            return None
        if time.monotonic() - now > self._settings.fallback.joints.hold:  # it hung, and this is of joints of long ago
            self.guard.reset()
            sent = np.zeros(self._joints)
        self.robot.send(sent)
        self._sent_at = time.monotonic()
        if led:
            self.fallback.moved(sent)
        return sent

    def _guarded(self, wanted: np.ndarray, reading: JointReading | None) -> np.ndarray:
        """What may be sent; where the joints are not known, no more than was sent on average lately, and after a stop
        nothing, whatever the guard would brake or push back."""
        if self.fallback.mode == Mode.STOP:
            self.guard.reset()
            return np.zeros(self._joints)
        if reading is None:
            allowed = self.guard.unseen(wanted)
        else:
            allowed = self.guard.apply(wanted, reading.position, reading.velocity, reading.temperature)
        if self.guard.refused:
            self._refuse(self.guard.refused)
        return allowed

    def _note(
        self, now: float, late: float, reading: JointReading | None, ages: dict[str, float], **more: Any
    ) -> float:
        """Count and record a control step; how long it took [s]. ``more`` are fields of ``recorder.step_kind``."""
        took = time.monotonic() - now
        self.counts["steps"] += 1
        self.late.add(late)
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
                joints_age=ages["joints"],
                camera_age=ages["camera"],
                **more,
            )
        return took

    def _refuse(self, why: str) -> None:
        self.counts["refused"] += 1
        self.refused_because = why


def _wait_until(due: float) -> None:
    """Sleep, and at the end spin, until ``due`` on the monotonic clock [s]."""
    left = due - time.monotonic()
    if left > SPIN_S:
        time.sleep(left - SPIN_S)
    while time.monotonic() < due:
        pass
