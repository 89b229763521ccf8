"""An SO-100 or SO-101 by lerobot's bus, calibration files and cameras; torques become duties of the servos' PWM.

In its open loop an STS3215 drives its motor with the duty that it is told, as in ``argos_sim.actuators``: the torque
at standstill is duty × stall torque, and back-EMF takes from it what that model says. The duty is ``Goal_Time``, 0 to
1,000 with its sign in bit 10 (Feetech's own library, ``SMS_STS::WritePwm``).

A thread keeps the bus busy: it reads all positions, then writes the newest torques, and lets the motors go where none
came in time. Speeds are differences of positions: what the servos say of them has no unit that all firmwares share.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from argos_sim.deploy.cameras import CameraSet, camera_places, disconnect_all
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import Frame, JointReading

TICKS = 4096
"""Of a turn."""
FULL_DUTY, SIGN_BIT = 1000, 10
POSITION_MODE, PWM_MODE = 0, 2
CALIBRATE = "Make one with lerobot-calibrate."


@dataclass(frozen=True)
class ServoUnits:
    """An angle is ``sign · (ticks − zero) · 2π / 4096``, a share of the duty ``sign · torque / full``."""

    sign: int
    """1 or −1: whether ticks grow with the joint's angle in the policy's model of the arm."""
    zero: float
    """Ticks at angle zero."""
    full: float
    """Torque at full duty [N·m]."""

    def angle(self, ticks: float) -> float:
        """[rad]."""
        return self.sign * (ticks - self.zero) * 2 * math.pi / TICKS

    def share(self, torque: float) -> float:
        """Of the full duty, for a torque [N·m]."""
        return self.sign * torque / self.full


def units_of(
    calibration: Mapping[str, Mapping[str, Any]], manifest: PolicyManifest, signs: Mapping[str, int] | None = None
) -> dict[str, ServoUnits]:
    """Each joint's units from lerobot's calibration: the middle of the range that was recorded is where ``policy.yaml``
    says. ``signs`` are −1 for joints that count otherwise than it says, and 1 where they are not given.

    Raises:
        DeployError: the calibration lacks a joint, or a range is none.
    """
    units, motors = {}, manifest.motor_units
    for j, name in enumerate(manifest.joint_names):
        known = calibration.get(name)
        if known is None or not {"id", "range_min", "range_max", "homing_offset"} <= set(known):
            raise DeployError(
                f"The calibration lacks {name} or a part of it. Calibrate the arm with lerobot-calibrate."
            )
        sign, middle = (signs or {}).get(name, 1), 0.5 * (known["range_min"] + known["range_max"])
        if sign not in (1, -1) or known["range_min"] >= known["range_max"]:
            raise DeployError(f"The calibration of {name} has the sign {sign} and the range {dict(known)}.")
        sign *= motors.signs[j]
        units[name] = ServoUnits(sign, middle - sign * motors.middles[j] * TICKS / (2 * math.pi), motors.full[j])
    return units


LOST, HANDSHAKES = (ConnectionError, OSError, RuntimeError, IndexError), 3
"""What lerobot and the servos' SDK raise where an answer got lost (the last where it was cut off), and how often the
motors are asked at most whether they are there."""
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
        known = _read_calibration(calibration)
        inverted = sorted(name for name, sign in (signs or {}).items() if sign < 0)
        digest = hashlib.sha256(calibration.read_bytes()).hexdigest()
        self.identity = {"inverted": inverted, "calibration_sha256": digest}
        self._units = list(units_of(known, manifest, signs).values())
        self._bus = _connected(port, known, self.joint_names)
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


def opened_cameras(named: Sequence[str], manifest: PolicyManifest) -> dict[str, Any]:
    """The policy's cameras by their names, connected; ``named`` as ``camera_places`` takes it."""
    places, opened = camera_places(named, tuple(manifest.spec.get("cameras", ("front",)))), dict[str, Any]()
    try:
        for name, place in places.items():
            opened[name] = opened_camera(place, manifest.rates["camera_hz"])
    except BaseException:
        disconnect_all(opened.values())
        raise
    return opened


def opened_camera(index: str, hz: float) -> Any:
    """lerobot's camera on OpenCV, connected; one that gives less than ``hz`` pictures a second is refused by it."""
    try:
        from lerobot.cameras.opencv import OpenCVCamera, OpenCVCameraConfig
    except ImportError as error:
        raise DeployError(f"lerobot's cameras are not installed ({error}): pip install -e '.[robot]'.") from None
    where = int(index) if index.isdecimal() else Path(index)
    try:
        camera = OpenCVCamera(OpenCVCameraConfig(index_or_path=where, fps=max(30, round(hz))))
        camera.connect()
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise DeployError(f"The camera {index} cannot be opened ({' '.join(str(error).split())}).") from None
    return camera


def encoded_duty(share: float) -> int:
    """A share of the full duty, −1 to 1 and beyond it as much, as the servo takes it; what is no number is none."""
    duty = round(FULL_DUTY * min(1.0, max(-1.0, share))) if math.isfinite(share) else 0
    return duty if duty >= 0 else -duty | 1 << SIGN_BIT


def _read_calibration(path: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise DeployError(
            f"The calibration {path} cannot be read ({error}). Make one with lerobot-calibrate."
        ) from None
    if not isinstance(known, dict) or not all(isinstance(value, dict) for value in known.values()):
        raise DeployError(f"{path} is no calibration of lerobot's. {CALIBRATE}")
    return known


def _connected(port: str, known: dict[str, dict[str, Any]], names: tuple[str, ...]) -> Any:
    """lerobot's bus with these motors, limp."""
    try:
        from lerobot.motors import Motor, MotorCalibration, MotorNormMode
        from lerobot.motors.feetech import FeetechMotorsBus
    except ImportError as error:
        raise DeployError(f"lerobot's Feetech bus is not installed ({error}): pip install -e '.[robot]'.") from None
    motors = {name: Motor(int(known[name]["id"]), "sts3215", MotorNormMode.DEGREES) for name in names}
    try:
        calibration = {name: MotorCalibration(**known[name]) for name in names}
        bus = FeetechMotorsBus(port, motors, calibration)
        with closed_on_failure(bus):
            shake_hands(bus)
            if not bus.is_calibrated:
                raise DeployError(
                    f"The motors on {port} hold another calibration than the file. Write it to them with lerobot, or "
                    "give the file that they hold."
                )
            bus.disable_torque()
    except (*LOST, ImportError, TypeError) as error:
        raise DeployError(f"The arm on {port} cannot be reached ({' '.join(str(error).split())}).") from None
    return bus


@contextlib.contextmanager
def closed_on_failure(bus: Any) -> Iterator[None]:
    """Close lerobot's bus, its motors limp where they can be told so, if what is done with it fails."""
    try:
        yield
    except BaseException:
        for limp in (True, False):
            if bus.is_connected:
                with contextlib.suppress(*LOST):
                    bus.disconnect(disable_torque=limp)
        raise


def shake_hands(bus: Any) -> None:
    """Connect, trying again where an answer got lost."""
    for left in reversed(range(HANDSHAKES)):
        try:
            return bus.connect()
        except LOST:
            if bus.is_connected:
                bus.disconnect(disable_torque=False)
            if not left:
                raise
