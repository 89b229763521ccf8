"""What a robot must offer to be run by a controller.

A driver is a class with these members in a module of its own beside this one; it imports its hardware library (lerobot
for an SO-100) inside that module only. An SO-100's servos are driven by position or by PWM duty, so its driver turns
torque into duty through the motor model of ``argos_sim.actuators``: duty = torque / stall torque.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class RobotReading:
    """What a robot senses at one time."""

    joint_pos: np.ndarray
    """(J,) [rad]."""
    joint_vel: np.ndarray
    """(J,) [rad/s]."""
    image: np.ndarray
    """uint8 (H, W, 3) RGB, the newest picture; the same array until the next one."""
    time: float
    """Of the joint read-out, on a monotonic clock [s]."""


class Robot(Protocol):
    """An arm with a camera, driven by torques. Joints are in the order of ``joint_names``."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """J names."""
        ...

    def read(self) -> RobotReading:
        """The newest read-out; returns at once."""
        ...

    def send(self, torque: np.ndarray) -> None:
        """Command ``torque`` (J,) [N·m] until the next call; a driver stops the motors if none comes in time."""
        ...

    def close(self) -> None:
        """Release the motors, then the devices."""
        ...
