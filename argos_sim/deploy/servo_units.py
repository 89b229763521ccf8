"""Angles and torques in a servo's own units: ticks by lerobot's calibration files, and duties.

In its open loop an STS3215 drives its motor with the duty that it is told, as in ``argos_sim.actuators``: the torque
at standstill is duty × stall torque, and back-EMF takes from it what that model says. The duty is ``Goal_Time``, 0 to
1,000 with its sign in bit 10 (Feetech's own library, ``SMS_STS::WritePwm``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argos_sim.deploy.manifest import DeployError, PolicyManifest

TICKS = 4096
"""Of a turn."""
FULL_DUTY, SIGN_BIT = 1000, 10
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


def encoded_duty(share: float) -> int:
    """A share of the full duty, −1 to 1 and beyond it as much, as the servo takes it; what is no number is none."""
    duty = round(FULL_DUTY * min(1.0, max(-1.0, share))) if math.isfinite(share) else 0
    return duty if duty >= 0 else -duty | 1 << SIGN_BIT


def read_calibration(path: Path) -> dict[str, dict[str, Any]]:
    """lerobot's file of an arm: what it says of each motor by its joint's name.

    Raises:
        DeployError: it is missing or none.
    """
    try:
        known = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise DeployError(f"The calibration {path} cannot be read ({error}). {CALIBRATE}") from None
    if not isinstance(known, dict) or not all(isinstance(value, dict) for value in known.values()):
        raise DeployError(f"{path} is no calibration of lerobot's. {CALIBRATE}")
    return known
