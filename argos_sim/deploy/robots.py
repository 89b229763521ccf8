"""What a robot must offer to be run by a policy.

A driver is a class with these members in a module of its own beside this one, as ``lerobot_arm`` is; it imports its
hardware library inside that module only.

Times are ``time.monotonic()``'s, in seconds, of when a thing was sensed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class JointReading:
    """The joints at one time."""

    position: np.ndarray
    """(J,) [rad]."""
    velocity: np.ndarray
    """(J,) [rad/s]."""
    time: float
    temperature: np.ndarray | None = None
    """(J,) of the motors [°C], where it is read."""


@dataclass(frozen=True)
class Frame:
    """A picture of each camera."""

    pictures: tuple[np.ndarray, ...]
    """uint8 (H, W, 3) RGB, in the order of the policy's cameras; each of them is another than in the frame before."""
    time: float
    """Of the picture that was taken first."""


class Robot(Protocol):
    """An arm with a camera, driven by torques. Joints are in the order of ``joint_names``.

    Two threads ask it: one for joints, to which it sends torques, and one for pictures.
    """

    @property
    def joint_names(self) -> tuple[str, ...]:
        """J names."""
        ...

    def joints(self) -> JointReading | None:
        """The newest read-out, or None where there is none yet; returns at once."""
        ...

    def frame(self) -> Frame | None:
        """The newest picture, or None where there is none yet; returns at once."""
        ...

    def send(self, torque: np.ndarray) -> None:
        """Command ``torque`` (J,) [N·m] until the next call; a driver stops the motors if none comes in time."""
        ...

    def close(self) -> None:
        """Release the motors, then the devices."""
        ...
