"""The last gate before the motors: torque, its rate, speed and joint range, whatever the network says.

All rules only take torque away, joint by joint, and never reverse it; inside the range, below the speed and torque
limits, and growing slowly enough, a torque passes unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from argos_sim.deploy.manifest import PolicyManifest


@dataclass(frozen=True)
class SafetySettings:
    """How early and how hard the guard acts."""

    soft_zone: float = 0.15
    """Distance from an end of the range in which torque toward it fades to zero [rad]; about 9 degrees, and never more
    than a tenth of the range."""
    speed_fade: float = 0.8
    """Share of the velocity limit beyond which torque that speeds the joint up fades; zero torque at the limit."""
    torque_rate: float | None = None
    """Fastest that torque may grow, in either direction [N·m/s]; toward zero it may fall at once, since less torque is
    never refused. None lets every joint go from rest to its limit in one control step."""


class SafetyGuard:
    """Holds a controller's torques within the limits of its manifest."""

    def __init__(self, manifest: PolicyManifest, settings: SafetySettings | None = None):
        self.settings = settings or SafetySettings()
        self._lower, self._upper = np.asarray(manifest.joint_limits, dtype=np.float64).T
        self._torque_limit = np.asarray(manifest.torque_limits, dtype=np.float64)
        self._velocity_limit = np.asarray(manifest.velocity_limits, dtype=np.float64)
        self._soft_zone = np.minimum(self.settings.soft_zone, 0.1 * (self._upper - self._lower))
        rate = self.settings.torque_rate
        self._max_growth = self._torque_limit if rate is None else rate / manifest.rates["control_hz"]
        self.reset()

    def reset(self) -> None:
        """The motors are at rest: the next torque starts from zero."""
        self._last = np.zeros_like(self._torque_limit)

    def apply(self, torque: np.ndarray, joint_pos: np.ndarray, joint_vel: np.ndarray) -> np.ndarray:
        """The torque that may be sent.

        Args:
            torque: (J,) wanted [N·m].
            joint_pos: (J,) [rad].
            joint_vel: (J,) [rad/s].

        Returns:
            (J,) torque [N·m].

        Raises:
            ValueError: an argument has another shape or is not finite; send zero torque then.
        """
        joints = self._torque_limit.shape
        for name, value in (("torque", torque), ("joint_pos", joint_pos), ("joint_vel", joint_vel)):
            if np.shape(value) != joints or not np.isfinite(value).all():
                raise ValueError(f"{name} {value} should be {joints[0]} finite numbers. Stop the robot and look at it.")
        limited = np.clip(torque, -self._torque_limit, self._torque_limit)
        limited = np.clip(
            limited, np.minimum(self._last, 0.0) - self._max_growth, np.maximum(self._last, 0.0) + self._max_growth
        )
        limited = limited * self._range_factor(limited, joint_pos) * self._speed_factor(limited, joint_vel)
        self._last = limited
        return limited.astype(np.float32)

    def _range_factor(self, torque: np.ndarray, joint_pos: np.ndarray) -> np.ndarray:
        """1 for torque away from the near end of the range, and down to 0 at the end for torque toward it."""
        room = np.where(torque > 0, self._upper - joint_pos, joint_pos - self._lower)
        return np.clip(room / self._soft_zone, 0.0, 1.0)

    def _speed_factor(self, torque: np.ndarray, joint_vel: np.ndarray) -> np.ndarray:
        """1 for torque that brakes, and down to 0 at the velocity limit for torque that speeds the joint up."""
        share = np.abs(joint_vel) / self._velocity_limit
        fade = np.clip((1.0 - share) / (1.0 - self.settings.speed_fade), 0.0, 1.0)
        return np.where(torque * joint_vel > 0, fade, 1.0)
