"""What a joint's angle and torque are in its motor's units, as ``policy.yaml`` says it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STALL_TORQUE = 2.94
"""Of an STS3215 at full duty, 12 V version [N·m]: what exports before format 4, which do not say it, were made for."""
LEAST_FULL = 0.9
"""Share of its torque limit that a motor must give at full duty: data sheets and motors may differ by a tenth."""


@dataclass(frozen=True)
class MotorUnits:
    """Of J joints, in the order of the torques.

    An angle is ``middle + sign · turned``, ``turned`` being the motor's angle [rad; m] from the middle of the range
    that its calibration recorded; a torque is the share ``sign · torque / full`` of the motor's duty.
    """

    signs: tuple[int, ...]
    """1, or −1 where the motor counts down while the joint's angle grows. Mounting, and nothing of one arm's own."""
    middles: tuple[float, ...]
    """Angle in the middle of the calibrated range [rad; m where one slides]."""
    full: tuple[float, ...]
    """Torque at standstill and full duty [N·m; N]."""

    @classmethod
    def of_servos(cls, joint_limits: Sequence[tuple[float, float]]) -> MotorUnits:
        """STS3215 servos that count as the joints do, the middle of whose ranges is that of the limits."""
        count = len(joint_limits)
        middles = tuple(0.5 * (low + high) for low, high in joint_limits)
        return cls((1,) * count, middles, (STALL_TORQUE,) * count)

    def problems(self, joint_limits: Sequence[tuple[float, float]], torque_limits: Sequence[float]) -> list[str]:
        """What cannot be right of it, for joints with these limits [rad; m] and torques [N·m; N]."""
        found = [
            f"motors.{name} has {len(values)} entries for {len(joint_limits)} joints"
            for name, values in vars(self).items()
            if len(values) != len(joint_limits)
        ]
        if found:
            return found
        if any(sign not in (1, -1) for sign in self.signs):
            found.append(f"motors.signs {self.signs} should each be 1 or -1")
        if not all(low <= middle <= high for middle, (low, high) in zip(self.middles, joint_limits, strict=True)):
            found.append(f"motors.middles {self.middles} should be within the joints' limits")
        if not all(math.isfinite(full) and full > 0 for full in self.full):
            found.append(f"motors.full {self.full} should be finite and above zero")
        elif any(full < LEAST_FULL * limit for full, limit in zip(self.full, torque_limits, strict=True)):
            found.append(
                f"motors.full {self.full} is less than the torque limits {tuple(round(x, 4) for x in torque_limits)}, "
                "which such motors cannot give; one of them may be in other units than N·m"
            )
        return found
