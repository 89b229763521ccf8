"""Whoever moves a leader arm by hand moves the robot: an SO-100 or SO-101 leader by lerobot's own teleoperator class.

lerobot says degrees from the middle of each joint's calibrated range, and for the gripper a share of its range. As in
``servo_units``, the middle of the leader's range is the angle that ``policy.yaml`` states; the gripper's share is
one of the policy's range.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from argos_sim.deploy.lerobot_arm import IMPOSSIBLE, JUMP
from argos_sim.deploy.lerobot_bus import LOST, answered, closed_on_failure, shake_hands
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.motion import Wanted

RATE_HZ = 100.0
"""How often the leader is read, at most."""
SPEED_TIME_S = 0.03
"""Time constant of the low-pass on its speeds [s]."""
GRIPPER = "gripper"


class Leader:
    """A ``MotionSource`` that reads a connected teleoperator in a thread of its own.

    Attributes:
        problem: why the last reading failed; empty while all goes well.
    """

    def __init__(self, teleoperator: Any, manifest: PolicyManifest, signs: Mapping[str, int] | None = None) -> None:
        """``teleoperator`` is lerobot's, connected; ``signs`` is −1 for joints that count otherwise than stated."""
        self._device, self._names = teleoperator, manifest.joint_names
        known = set(teleoperator.action_features)
        missing = [name for name in self._names if f"{name}.pos" not in known]
        if missing:
            raise DeployError(f"The leader has no joint {missing[0]!r}; it has {', '.join(sorted(known))}.")
        self._low, self._high = np.asarray(manifest.joint_limits, float).T
        self._fastest = np.asarray(manifest.velocity_limits, float)
        motors = manifest.motor_units
        self._middles = np.asarray(motors.middles, float)
        self._signs = np.array([(signs or {}).get(name, 1) for name in self._names], float) * motors.signs
        self._grips = np.array([name == GRIPPER for name in self._names])
        self._newest: Wanted | None = None
        self.problem = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def begin(self, position: np.ndarray, now: float) -> None:
        """See ``MotionSource``: whoever leads need not begin where the robot is; see ``FollowerSettings.catch_up``."""

    def wanted(self, now: float) -> Wanted | None:
        """See ``MotionSource``."""
        return self._newest

    def close(self) -> None:
        """See ``MotionSource``."""
        self._ended.set()
        self._thread.join(2.0)
        self._device.disconnect()

    def _serve(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            try:
                self._read()
                self.problem = ""
            except Exception as error:  # a reading that fails makes the newest one old, which the follower looks after
                self.problem = " ".join(str(error).split()) or type(error).__name__
            due = max(due + 1 / RATE_HZ, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _read(self) -> None:
        action, now = self._device.get_action(), time.monotonic()
        said = np.array([float(action[f"{name}.pos"]) for name in self._names])
        if not np.isfinite(said).all():
            raise ValueError("the leader said something that is no number")
        half = 0.5 * (self._high - self._low)
        turned = np.where(self._grips, half * (said / 50.0 - 1.0), np.radians(said))
        position = np.clip(self._middles + self._signs * turned, self._low, self._high)
        last, speed = self._newest, np.zeros(len(position))
        if last is not None and now > last.time:
            passed = now - last.time
            if (np.abs(position - last.position) > IMPOSSIBLE * self._fastest * passed + JUMP).any():
                raise ValueError("a joint of the leader jumped")
            share = passed / (passed + SPEED_TIME_S)
            speed = last.velocity + share * ((position - last.position) / passed - last.velocity)
            speed = np.clip(speed, -self._fastest, self._fastest)
        self._newest = Wanted(position, speed, now)


def require_calibration(path: Path) -> None:
    """``DeployError`` unless the leader's calibration file is there."""
    if not path.is_file():
        raise DeployError(f"The leader's calibration {path} is missing. Make one with lerobot-calibrate.")


def connected_leader(port: str, calibration: Path) -> Any:
    """lerobot's SO-100 leader, limp, with its own calibration file.

    Raises:
        DeployError: in one sentence, the file or the arm is not there, or the motors hold another calibration.
    """
    require_calibration(calibration)
    try:
        from lerobot.teleoperators.so_leader import SO100Leader, SO100LeaderConfig
    except ImportError as error:
        raise DeployError(f"lerobot's leader is not installed ({error}): pip install -e '.[robot]'.") from None
    try:
        leader = SO100Leader(SO100LeaderConfig(port=port, id=calibration.stem, calibration_dir=calibration.parent))
        with closed_on_failure(leader.bus):
            shake_hands(leader.bus)
            if not answered(lambda: leader.is_calibrated):
                raise DeployError(f"The leader on {port} holds another calibration than {calibration}.")
            answered(leader.configure)
    except (*LOST, ImportError, TypeError) as error:
        raise DeployError(f"The leader on {port} cannot be reached ({' '.join(str(error).split())}).") from None
    return leader
