"""What an alignment found: a camera, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rotations import turn_of
from argos_sim.mujoco_c.camera import posed
from argos_sim.mujoco_c.world import World

SURE = 1e-4
"""No lens is known better than this."""


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
    middle_interval: np.ndarray
    """(2,) of the principal point, to the right and down [pixels]."""
    distortion_interval: tuple[float, float]
    """Of k₁ and k₂."""
    error: dict[str, float]
    """How well it fits what was seen."""
    used: dict[str, Any]
    """What it was found from."""
    bounded: tuple[str, ...] = ()
    """What would have gone on beyond where it may be, and whose interval is not to be believed."""

    @property
    def lens(self) -> KnownLens:
        """For another alignment of it."""
        return KnownLens.within(self.camera, self.focal_interval, self.middle_interval, self.distortion_interval)


@dataclass(frozen=True)
class KnownLens:
    """A lens that was found before, and standard deviations of what is known of it."""

    camera: Pinhole
    """Of which the place and direction do not count."""
    focal: float
    """Relative."""
    middle: float
    """[pixels]."""
    distortion: tuple[float, float]
    """Of k₁ and k₂."""

    @staticmethod
    def within(camera: Pinhole, focal: float, middle: Any, distortion: Any) -> KnownLens:
        """Of half-widths of 95 % intervals, as ``FoundCamera`` has them."""
        relative, pixels = (max(float(np.max(interval)) / 1.96, SURE) for interval in (focal, middle))
        k1, k2 = (max(float(width) / 1.96, SURE) for width in np.broadcast_to(distortion, 2))
        return KnownLens(camera, relative, pixels, (k1, k2))

    def beside(self, trained: Pinhole, sigmas: tuple[float, float]) -> KnownLens:
        """With what is known of any lens, too: k₁ and k₂ to ``sigmas`` about ``trained``'s. A board that was seen in
        the middle alone tells of k₂ next to nothing, and a wild number."""
        own, other = (np.array([lens.distortion, lens.distortion_2]) for lens in (self.camera, trained))
        known, before = np.square(self.distortion), np.square(sigmas)
        share = before / (before + known)
        k1, k2 = (other + share * (own - other)).tolist()
        sure, sure_2 = np.sqrt(share * known).tolist()
        camera = replace(self.camera, distortion=k1, distortion_2=k2)
        return replace(self, camera=camera, distortion=(sure, sure_2))

    def of(self, trained: Pinhole) -> Pinhole:
        """``trained`` with this lens.

        Raises:
            ValueError: it is of pictures of another size.
        """
        lens, size = self.camera, (trained.height, trained.width)
        if (lens.height, lens.width) != size:
            raise ValueError(
                f"The lens is of pictures of {lens.width} × {lens.height} pixels, and these have {size[1]} × {size[0]}."
            )
        own = {name: getattr(lens, name) for name in ("focal", "offset", "distortion", "distortion_2")}
        return replace(trained, **own)


def trained_camera(world: World, height: int, width: int) -> Pinhole:
    """The camera of a policy's training, as if it took pictures of this size."""
    return posed(world.camera, world.aperture, height, width)


def apart(one: Pinhole, other: Pinhole) -> tuple[float, float]:
    """Distance [m] and angle [rad] between two cameras."""
    distance = float(np.linalg.norm(one.position - other.position))
    return distance, float(np.linalg.norm(turn_of(one.rotation @ other.rotation.T)))
