"""Springs, as torques, that pull joints to where they are to be, and learn what gravity asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SpringSettings:
    """How stiff they are."""

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


class Springs:
    """Of J joints, asked once a control step of ``dt`` [s]."""

    def __init__(self, settings: SpringSettings, joints: int, dt: float) -> None:
        self.settings, self._joints, self._dt = settings, joints, dt
        self.reset()

    def reset(self) -> None:
        """Forget what gravity asked for."""
        self._held = np.zeros(self._joints)

    def torque(self, place: np.ndarray, speed: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """(J,) [N·m] toward ``place`` [rad], which moves at ``speed`` [rad/s], from ``position`` and ``velocity``."""
        cfg, off = self.settings, place - position
        self._held = np.clip(self._held + cfg.integral * self._dt * off, -cfg.most_integral, cfg.most_integral)
        return cfg.stiffness * off + cfg.damping * (speed - velocity) + cfg.feedforward * speed + self._held
