"""An SO-100 or SO-101 by lerobot's bus, calibration files and cameras; torques become duties of the servos' PWM.

A thread keeps the bus busy: it reads all positions, then writes the newest torques, and lets the motors go where none
came in time. Speeds are differences of positions: what the servos say of them has no unit that all firmwares share.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from argos_sim.deploy.cameras import CameraSet
from argos_sim.deploy.lerobot_bus import LOST, connected_bus
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.deploy.servo_units import encoded_duty, read_calibration, units_of

POSITION_MODE, PWM_MODE = 0, 2
IMPOSSIBLE, JUMP = 3.0, 0.05
"""A step between two read-outs of more than so many times the largest speed, and so many radians, is none."""


@dataclass(frozen=True)
class LeRobotArmSettings:
    """How the bus is kept busy."""

    rate_hz: float = 200.0
    """Rounds of reading and writing, at most."""
    speed_time_s: float = 0.02
    """Time constant of the low-pass on speeds."""
    watchdog_s: float = 0.1
    """The motors let go where no torque came, or nothing could be read, for so long."""
    temperature_s: float = 0.5
    """Between two motors whose temperature is asked for, in turn."""
    camera_delay_s: float = 0.0
    """See ``CameraSet``."""


class LeRobotArm:
    """See ``robots.Robot``.

    Attributes:
        problem: what the bus last failed with; empty while it answers.
        identity: what angles mean on this arm, for recordings.
    """

    def __init__(
        self,
        port: str,
        calibration: Path,
        cameras: Mapping[str, Any],
        manifest: PolicyManifest,
        signs: Mapping[str, int] | None = None,
        settings: LeRobotArmSettings | None = None,
    ) -> None:
        """Connect; the motors stay limp until the first ``send``.

        Args:
            port: of the bus, such as ``/dev/ttyACM0``.
            calibration: lerobot's file of this arm.
            cameras: lerobot's cameras by the policy's names, connected.
            signs: see ``units_of``.

        Raises:
            DeployError: a file, a camera, the port or a motor is missing, in one sentence.
        """
        self.settings, self.joint_names = settings or LeRobotArmSettings(), manifest.joint_names
        wanted = tuple(manifest.spec.get("cameras", ("front",)))
        if set(cameras) != set(wanted):
            raise DeployError(f"The policy has the cameras {', '.join(wanted)}, and {', '.join(cameras)} were given.")
        self._cameras = CameraSet([cameras[name] for name in wanted], self.settings.camera_delay_s)
        known = read_calibration(calibration)
        inverted = sorted(name for name, sign in (signs or {}).items() if sign < 0)
        digest = hashlib.sha256(calibration.read_bytes()).hexdigest()
        self.identity = {"inverted": inverted, "calibration_sha256": digest}
        self._units = list(units_of(known, manifest, signs).values())
        self._bus = connected_bus(port, known, self.joint_names)
        self.problem = ""
        self._torque, self._sent_at = np.zeros(len(self.joint_names)), -math.inf
        self._reading: JointReading | None = None
        self._hot = np.full(len(self.joint_names), np.nan)
        self._asked, self._hot_due = 0, 0.0
        self._fastest = np.asarray(manifest.velocity_limits)
        self._ended = threading.Event()
        self._limp = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def joints(self) -> JointReading | None:
        """See ``Robot``."""
        return self._reading

    def frame(self) -> Frame | None:
        """See ``Robot``: lerobot's newest pictures, see ``CameraSet``."""
        return self._cameras.frame()

    def send(self, torque: np.ndarray) -> None:
        """See ``Robot``."""
        self._torque, self._sent_at = np.array(torque, dtype=float), time.monotonic()

    def close(self) -> None:
        """Motors first: no duty, no torque, back to lerobot's own mode; then the bus and the cameras."""
        self._ended.set()
        self._thread.join(2.0)
        for work in (lambda: self._command(np.zeros(len(self.joint_names))), lambda: self._set_mode(POSITION_MODE)):
            try:
                work()
            except LOST as error:
                self.problem = str(error)
        try:
            self._bus.disconnect(disable_torque=True)  # which tries again where the bus did not answer
        except LOST as error:
            self.problem = str(error)
            with contextlib.suppress(*LOST):
                self._bus.disconnect(disable_torque=False)
        finally:
            self._cameras.close()

    def _serve(self) -> None:
        """Read and write, round after round; where one of them fails the others go on, above all with letting go."""
        due = time.monotonic()
        while not self._ended.is_set():
            problem = ""
            for work in (self._read, self._write, self._take_temperature):
                try:
                    work()
                except Exception as error:
                    problem = problem or " ".join(str(error).split()) or type(error).__name__
            self.problem = problem
            due = max(due + 1 / self.settings.rate_hz, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _read(self) -> None:
        before = time.monotonic()
        ticks = self._bus.sync_read("Present_Position", normalize=False)
        now = 0.5 * (before + time.monotonic())
        angles = [unit.angle(ticks[name]) for unit, name in zip(self._units, self.joint_names, strict=True)]
        position, last = np.array(angles), self._reading
        speed = np.zeros(len(position))
        if last is not None and now > last.time:
            passed = now - last.time
            share = passed / (passed + self.settings.speed_time_s)
            step = position - last.position
            speed = last.velocity + share * (step / passed - last.velocity)
            # A read-out that cannot be, and the next one that can, are no movement.
            speed = np.where(np.abs(step) > IMPOSSIBLE * self._fastest * passed + JUMP, last.velocity, speed)
        hot = None if np.isnan(self._hot).any() else self._hot.copy()
        self._reading = JointReading(position, speed, now, hot)

    def _write(self) -> None:
        if self._sent_at == -math.inf:
            return
        if self._limp:
            self._set_mode(PWM_MODE)
            self._command(np.zeros(len(self.joint_names)))
            self._bus.enable_torque()
            self._limp = False
        now, patience = time.monotonic(), self.settings.watchdog_s
        blind = self._reading is None or now - self._reading.time > patience
        stale = blind or now - self._sent_at > patience
        self._command(np.zeros(len(self.joint_names)) if stale else self._torque)

    def _command(self, torque: np.ndarray) -> None:
        duties = {
            name: encoded_duty(unit.share(float(value)))
            for name, unit, value in zip(self.joint_names, self._units, torque, strict=True)
        }
        self._bus.sync_write("Goal_Time", duties, normalize=False)

    def _set_mode(self, mode: int) -> None:
        """The mode lies in memory that is locked while there is torque."""
        self._bus.disable_torque()
        for name in self.joint_names:
            self._bus.write("Operating_Mode", name, mode, normalize=False)

    def _take_temperature(self) -> None:
        if time.monotonic() < self._hot_due:
            return
        self._hot_due = time.monotonic() + self.settings.temperature_s
        name = self.joint_names[self._asked % len(self.joint_names)]
        self._hot[self._asked % len(self.joint_names)] = self._bus.read("Present_Temperature", name, normalize=False)
        self._asked += 1
