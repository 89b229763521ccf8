"""What an alignment found: a camera, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rotations import turn_of
from argos_sim.mujoco_c.camera import posed
from argos_sim.mujoco_c.world import World


@dataclass(frozen=True)
class FoundCamera:
    """A camera with half-widths of 95 % intervals, which count what the pictures do not tell as unknown."""

    camera: Pinhole
    position_interval: np.ndarray
    """(3,) [m]."""
    turn_interval: np.ndarray
    """(3,) about each axis of the base's frame [rad]."""
    focal_interval: float
    """Relative."""
    distortion_interval: float
    error: dict[str, float]
    """How well it fits what was seen."""
    used: dict[str, Any]
    """What it was found from."""


def trained_camera(world: World, height: int, width: int) -> Pinhole:
    """The camera of a policy's training, as if it took pictures of this size."""
    return posed(world.camera, world.aperture, height, width)


def apart(one: Pinhole, other: Pinhole) -> tuple[float, float]:
    """Distance [m] and angle [rad] between two cameras."""
    distance = float(np.linalg.norm(one.position - other.position))
    return distance, float(np.linalg.norm(turn_of(one.rotation @ other.rotation.T)))
