"""The policy at work on a robot: a control thread with absolute deadlines, a camera thread, and a planner beside them.

The control thread reads the joints, asks the controller, guards its torque and sends it, at the policy's control rate.
The camera thread encodes pictures as they come, remembers them, and asks the planner once a planner period; the planner
answers from a process of its own. Nobody waits for another: each takes the newest value that there is, by its time
stamp. A target that comes after most of its time is over is not used. What is late or missing is ``fallback``'s matter.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from argos_sim.deploy.encoders import EncoderRuntime
from argos_sim.deploy.fallback import Fallback, FallbackSettings, Mode
from argos_sim.deploy.manifest import DeployError, read_manifest
from argos_sim.deploy.planning import PlanningProcess, encoded_text
from argos_sim.deploy.recorder import Recorder
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.deploy.safety import SafetyGuard, SafetySettings
from argos_sim.deploy.senses import FrameCheck, JointCheck, SenseSettings
from argos_sim.deploy.telemetry import Telemetry
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
class PilotSettings:
    """How a policy is run."""

    fallback: FallbackSettings = field(default_factory=FallbackSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    senses: SenseSettings = field(default_factory=SenseSettings)
    least_time_to_go: float = 0.1
    """A target that is due sooner than this when it comes is not used [s]."""
    stop_file: Path | None = None
    """The arm stops as soon as this file exists."""
    seed: int = 0


@dataclass(frozen=True)
class _Seen:
    vision: np.ndarray
    time: float


@dataclass(frozen=True)
class Target:
    """What the planner wants: latents, joints [rad] and when it is due."""

    vision: np.ndarray
    proprio: np.ndarray
    joints: np.ndarray
    due: float
    number: int


class Pilot:
    """Runs an exported policy on a robot, until it is closed."""

    def __init__(
        self,
        folder: Path | str,
        robot: Robot,
        settings: PilotSettings | None = None,
        recorder: Recorder | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        """Load everything; ``DeployError`` in one sentence if the policy or the robot does not fit."""
        self.settings, self.robot, self.recorder = settings or PilotSettings(), robot, recorder
        self.telemetry = telemetry
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        if tuple(robot.joint_names) != self.manifest.joint_names:
            raise DeployError(f"The robot's joints are {robot.joint_names}, the policy's {self.manifest.joint_names}.")
        self.controller = ControllerRuntime(folder)
        self.encoders = EncoderRuntime(folder, self.manifest)
        self.guard = SafetyGuard(self.manifest, self.settings.safety)
        self.planning = PlanningProcess(folder, self.manifest, self.settings.seed)
        rates = self.manifest.rates
        self.control_dt, self.period = 1 / rates["control_hz"], rates["planner_period_s"]
        self.frame_s = 1 / rates["camera_hz"]
        self.fallback = Fallback(self.settings.fallback, rates["control_hz"])
        self.text = ""
        self._joints = len(self.manifest.joint_names)
        self.watchdog = Watchdog(robot, self._joints, self.control_dt, self.settings.fallback.loop, self.stop)
        self._lock = threading.Lock()  # of what begins anew together; neither thread holds it while it computes
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.late, self.took, self.encoded, self.planned = (Times(COUNTED) for _ in range(4))
        self.counts = {"steps": 0, "missed": 0, "frames": 0, "targets": 0, "targets_too_late": 0, "refused": 0}
        self.refused_because = ""
        self._recent: deque[JointReading] = deque(maxlen=round(RECENT_S / self.control_dt) + 1)
        self._led = False
        """Whether the policy moves the arm in this step."""
        self._refusing_since: float | None = None
        self.begin("")

    # -- what an operator does ----------------------------------------------------------------------------------------

    def begin(self, text: str) -> None:
        """Forget the past, and do ``text`` from now on; an empty one holds the arm. One that is too long is a
        ``ValueError``."""
        encoded_text(text)
        with self._lock:
            self.text, self._begun = text, time.monotonic()
            self._felt_at, self._refusing_since = self._begun, None
            limits = self.manifest.joint_limits, self.manifest.velocity_limits
            self._joint_check = JointCheck(*limits, self._begun, self.settings.senses)
            cameras = self.manifest.spec.get("cameras", ("front",))
            self._frame_check = FrameCheck(self.settings.senses, cameras)
            self._seen: _Seen | None = None
            self._target: Target | None = None
            self._memory: deque[tuple[float, np.ndarray, np.ndarray]] = deque(maxlen=256)
            self._next_plan = self._begun
            newest = self.planning.target()
            self._heard = 0 if newest is None else newest[0]
            self._fresh = True
        self.fallback.forget()
        if self.recorder is not None:
            self.recorder.tell("begin", text=text, episode=getattr(self.robot, "episode", None))

    def start(self) -> None:
        """Begin to move; until the first target is there the arm is held."""
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
        """Release the robot, and end the planner and the recording."""
        self._ended.set()
        self.watchdog.close()
        self.watchdog.let_go()
        for thread in self._threads:
            thread.join(2.0)
        try:
            self.watchdog.let_go()
            self.robot.close()  # the motors first, whatever becomes of the rest
        finally:
            self.planning.close()
            if self.recorder is not None:
                self.recorder.close()

    def figures(self) -> dict[str, float]:
        """Counts, and medians and 99th percentiles of times [ms]: ``late`` after a deadline, ``took`` from the begin
        of a control step to its command, ``encoded`` a picture, ``planned`` from a picture to its target."""
        found: dict[str, float] = dict(self.counts)
        for name in ("late", "took", "encoded", "planned"):
            values = 1e3 * getattr(self, name).kept()
            if len(values):
                found |= {
                    f"{name}_ms_p50": float(np.median(values)),
                    f"{name}_ms_p99": float(np.percentile(values, 99)),
                }
        return found

    # -- the camera's thread ------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        last = 0.0
        while not self._ended.is_set():
            try:
                last = self._look(last)
            except Exception as error:  # what comes of it is the fallback's matter; the next picture may be well
                self._refuse(f"{type(error).__name__}: {error}")
                time.sleep(LOOK_S)

    def _look(self, last: float) -> float:
        """Encode the newest picture if there is one after the time ``last``; returns its time."""
        frame = self.robot.frame()
        if frame is None or frame.time == last:
            time.sleep(LOOK_S)
            return last
        if self.telemetry is not None:
            self.telemetry.saw(frame)
        begin = time.perf_counter()
        recent = [reading for reading in list(self._recent) if reading.time >= self._begun]
        if frame.time < self._begun or not recent:
            time.sleep(LOOK_S)
            return frame.time
        reading = min(recent, key=lambda each: abs(each.time - frame.time))  # as the picture, not as now
        why = self._frame_check.refuses(frame, reading.position, time.monotonic())
        if why:
            self._refuse(why)
            return frame.time
        try:
            vision = self.encoders.see(*frame.pictures)
            proprio = self.encoders.feel(np.concatenate([reading.position, reading.velocity]))
        except ValueError as error:
            self._refuse(str(error))
            return frame.time
        self.encoded.add(time.perf_counter() - begin)
        self.counts["frames"] += 1
        if self.recorder is not None:
            self.recorder.see(frame)
        with self._lock:
            if frame.time >= self._begun:
                self._seen = _Seen(vision, frame.time)
                self._memory.append((frame.time, vision, proprio))
                self._plan(frame.time)
        return frame.time

    def _plan(self, now: float) -> None:
        """Ask the planner, if it is time; ``now`` is the time of the newest picture."""
        if not self.text or now < self._next_plan - self.frame_s / 2:
            return
        self._next_plan = max(self._next_plan + self.period, now + self.period / 2)
        settings = self.manifest.planner
        assert settings is not None, "a policy without planner is refused"
        wanted = [now + offset for offset in settings.history]
        nearest = [min(self._memory, key=lambda item, at=at: abs(item[0] - at)) for at in wanted]
        known = [abs(item[0] - at) <= self.frame_s / 2 for item, at in zip(nearest, wanted, strict=True)]
        vision, proprio = (np.stack([item[i] for item in nearest]) for i in (1, 2))
        self.planning.ask(vision, proprio, np.array(known), self.text, self.period, now)

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
        reading, mode = self._believed(now), self.fallback.mode
        self._take_target(now)
        with self._lock:
            seen, target, begun, fresh = self._seen, self._target, self._begun, self._fresh
            self._fresh = False
        if self.settings.stop_file is not None and self.settings.stop_file.exists():
            self.stop(f"{self.settings.stop_file} is there")
        ages = {
            "loop": now - self.watchdog.in_time_at,
            "joints": now - self._felt_at,
            "camera": now - (begun if seen is None else seen.time),
            "plan": 0.0 if not self.text else now - (begun + self.period if target is None else target.due),
        }
        if self._refusing_since is not None:  # a controller that gives no torque is no better than no plan
            ages["plan"] = max(ages["plan"], now - self._refusing_since)
        decided = self.fallback.decide(**ages)
        if fresh or (decided == Mode.RUN and mode != Mode.RUN):
            self.controller.reset()
            self.guard.reset()
        wanted = self._wanted(decided, reading, seen, target, now)
        sent = self._guarded(wanted, reading)
        if self._ended.is_set():
            return
        if time.monotonic() - now > self.settings.fallback.joints.hold:  # it hung, and this is of joints of long ago
            sent = np.zeros(self._joints)
        self.robot.send(sent)
        if self._led:
            self.fallback.moved(sent)
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
                wanted=wanted,
                sent=sent,
                target=np.nan if target is None else target.joints,
                joints_age=ages["joints"],
                camera_age=ages["camera"],
                time_to_go=0.0 if target is None else target.due - now,
                plan=0 if target is None else target.number,
            )
        if self.telemetry is not None:
            self.telemetry.step(self, now, (late, took), ages, reading, (wanted, sent), target)

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
        return reading if now - self._felt_at <= self.settings.fallback.joints.hold else None

    def _take_target(self, now: float) -> None:
        newest = self.planning.target()
        if newest is None or newest[0] == self._heard:
            return
        number, value = newest
        self._heard = number
        if value["due"] - now < self.settings.least_time_to_go:
            self.counts["targets_too_late"] += 1
            return
        if not (np.isfinite(value["vision"]).all() and np.isfinite(value["proprio"]).all()):
            self._refuse("a target that is not finite came")
            return
        if not value["due"] - now <= 2 * self.period:
            self._refuse(f"a target came that is due in {value['due'] - now:.2f} s")
            return
        joints = self.encoders.joints(value["proprio"])[: self._joints]
        with self._lock:
            if value["asked"] < self._begun:  # of before the present beginning
                return
            self._target = Target(value["vision"], value["proprio"], joints, float(value["due"]), number)
        self.counts["targets"] += 1
        self.planned.add(float(value["made"] - value["asked"]))

    def _wanted(
        self, mode: Mode, reading: JointReading | None, seen: _Seen | None, target: Target | None, now: float
    ) -> np.ndarray:
        """The torque of this step, before it is guarded."""
        self._led = False
        if mode == Mode.RUN and reading is not None and seen is not None and target is not None:
            try:
                felt = self.encoders.feel(np.concatenate([reading.position, reading.velocity]))
                to_go = max(target.due - now, self.control_dt)
                torque = self.controller.step(seen.vision, felt, target.vision, target.proprio, to_go)
                self._led, self._refusing_since = True, None
                return torque
            except ValueError as error:
                self._refuse(str(error))
                self._refusing_since = now if self._refusing_since is None else self._refusing_since
        held = max(mode, Mode.HOLD)
        position, velocity = (None, None) if reading is None else (reading.position, reading.velocity)
        return self.fallback.torque(position, velocity, self._joints, held)

    def _guarded(self, wanted: np.ndarray, reading: JointReading | None) -> np.ndarray:
        """What may be sent; where the joints are not known, no more than was sent on average lately, and after a stop
        nothing, whatever the guard would brake or push back."""
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


def wait_until(due: float) -> None:
    """Sleep, and at the end spin, until ``due`` on the monotonic clock [s]."""
    left = due - time.monotonic()
    if left > SPIN_S:
        time.sleep(left - SPIN_S)
    while time.monotonic() < due:
        pass
