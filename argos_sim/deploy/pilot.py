"""The policy at work on a robot: a control thread with absolute deadlines, a camera thread, and a planner beside them.

The control thread reads the joints, asks the controller, guards its torque and sends it, at the policy's control rate.
The camera thread encodes pictures as they come, remembers them, and asks the planner once a planner period; the planner
answers from a process of its own. Nobody waits for another: each takes the newest value that there is, by its time
stamp. A target that comes after most of its time is over is not used. What is late or missing is ``fallback``'s matter.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from argos_sim.deploy.control import COUNTED, ControlLoop, LoopSettings
from argos_sim.deploy.encoders import EncoderRuntime
from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.manifest import SIGHT, read_manifest
from argos_sim.deploy.planning import PlanningProcess, encoded_text
from argos_sim.deploy.recorder import Recorder
from argos_sim.deploy.rectification import Rectification, first_frame, read_rectification
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.deploy.sight import SightCheck
from argos_sim.deploy.telemetry import Telemetry
from argos_sim.deploy.times import Times


@dataclass(frozen=True)
class PilotSettings(LoopSettings):
    """How a policy is run."""

    least_time_to_go: float = 0.1
    """A target that is due sooner than this when it comes is not used [s]."""
    camera_file: Path | None = None
    """``camera.yaml`` of the camera, whose pictures are turned into those of training's."""
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


class Pilot(ControlLoop):
    """Runs an exported policy on a robot, until it is closed. Until the first target is there the arm is held.

    Attributes:
        encoded, planned: how long a picture took to encode, and a target from its picture on.
    """

    timed = ("late", "took", "encoded", "planned")

    def __init__(
        self, folder: Path | str, robot: Robot, settings: PilotSettings | None = None, recorder: Recorder | None = None
    ) -> None:
        """Load everything; ``DeployError`` in one sentence if the policy or the robot does not fit."""
        self.settings, self.folder = settings or PilotSettings(), Path(folder)
        super().__init__(read_manifest(folder), robot, self.settings, recorder)
        self.telemetry = Telemetry(self.manifest)
        self.controller = ControllerRuntime(folder)
        self.encoders = EncoderRuntime(folder, self.manifest)
        limit, known = self.settings.senses.sight, SIGHT in self.manifest.networks
        self._sight = SightCheck(folder, self.manifest, limit) if known and limit is not None else None
        self.rectification = self._rectification()
        self.planning = PlanningProcess(folder, self.manifest, self.settings.seed)
        rates = self.manifest.rates
        self.period, self.frame_s = rates["planner_period_s"], 1 / rates["camera_hz"]
        self.encoded, self.planned = Times(COUNTED), Times(COUNTED)
        self.counts |= {"targets": 0, "targets_too_late": 0}
        self._led = False
        """Whether the policy moves the arm in this step."""
        self.begin("")

    def begin(self, text: str) -> None:
        """See ``ControlLoop``; a text that is too long is a ``ValueError``."""
        encoded_text(text)
        super().begin(text)

    def ask(self, text: str) -> None:
        """Do ``text`` from the next picture on; until its first target is there, what was asked before goes on."""
        if not text or self._target is None:
            self.begin(text)
            return
        encoded_text(text)
        with self._lock:
            self.text, self._next_plan = text, time.monotonic()
        self._tell_begin()

    def _forget(self) -> None:
        self._refusing_since: float | None = None
        self._seen: _Seen | None = None
        self._target: Target | None = None
        self._memory: deque[tuple[float, np.ndarray, np.ndarray]] = deque(maxlen=256)
        if self._sight is not None:
            self._sight.reset()
        self._next_plan = self._begun
        self._heard = self.planning.targets.count

    def _release(self) -> None:
        self.planning.close()

    def _rectification(self) -> Rectification | None:
        """What turns pictures into those of training's camera; ``DeployError`` if it fits neither policy nor robot."""
        path = self.settings.camera_file
        if path is None:
            return None
        found = read_rectification(path, self.folder, self.manifest)
        found.require(path, first_frame(self.robot))
        return found

    def _rectified(self, pictures: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return pictures if self.rectification is None else tuple(map(self.rectification, pictures))

    # -- the camera's thread ------------------------------------------------------------------------------------------

    def _look(self, last: float) -> float:
        """Encode the newest picture; see ``ControlLoop``."""
        frame = self.robot.frame()
        if frame is None or frame.time == last:
            return last
        self.telemetry.saw(frame)
        begin = time.perf_counter()
        recent = [reading for reading in list(self._recent) if reading.time >= self._begun]
        if frame.time < self._begun or not recent:
            return frame.time
        reading = min(recent, key=lambda each: abs(each.time - frame.time))  # as the picture, not as now
        why = self._frame_check.refuses(frame, reading.position, time.monotonic())
        if why:
            self._refuse(why)
            return frame.time
        try:
            vision = self.encoders.see(*self._rectified(frame.pictures))
            proprio = self.encoders.feel(np.concatenate([reading.position, reading.velocity]))
        except ValueError as error:
            self._refuse(str(error))
            return frame.time
        why = "" if self._sight is None else self._sight.refuses(vision, reading.position)
        if why:
            self._refuse(why)
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

    def _step(self, now: float, late: float) -> None:
        reading, mode = self._believed(now), self.fallback.mode
        self._take_target(now)
        with self._lock:
            seen, target, begun, fresh = self._seen, self._target, self._begun, self._fresh
            self._fresh = False
        self._obey_file()
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
        sent = self._sent(now, wanted, reading, self._led)
        if sent is None:
            return
        took = self._note(
            now,
            late,
            reading,
            ages,
            wanted=wanted,
            sent=sent,
            target=np.nan if target is None else target.joints,
            time_to_go=0.0 if target is None else target.due - now,
            plan=0 if target is None else target.number,
        )
        self.telemetry.step(self, now, (late, took), ages, reading, (wanted, sent), target)

    def _take_target(self, now: float) -> None:
        newest = self.planning.target(self._heard)
        if newest is None:
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
        return self._fallen_back(mode, reading)
