"""What matching the arm looks for: the camera's pose and lens, and the joints' errors; and what a step in them does.

A lens that folds within the picture is none: from there outward things would be seen twice, or never. So k₁ has no
bound of its own, and k₂ is at least what keeps the lens from folding, unless it is known beforehand that it does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rotations import turned

FOCAL, DISTORTION, MIDDLE, JOINTS = 6, 7, 9, 11
"""Unknowns: turn about each axis [rad], shift along each [m], log of the focal length, k₁ and k₂, the principal point's
offset [pixels], joints' errors [rad]."""
HALVINGS = 30
"""Until it is known how small k₂ may be."""


@dataclass(frozen=True)
class State:
    """The unknowns at one time."""

    camera: Pinhole
    bias: np.ndarray
    """(J,) to be added to the read-outs [rad]."""
    bounded: bool = False
    """Whether k₂ would be smaller if the lens might fold."""

    def moved(self, step: np.ndarray) -> State:
        """With ``step`` (11 + J,) added."""
        old = self.camera
        camera = replace(
            old,
            rotation=turned(step[0:3]) @ old.rotation,
            position=old.position + step[3:6],
            focal=old.focal * float(np.exp(np.clip(step[FOCAL], -0.3, 0.3))),
            offset=(old.offset[0] + float(step[MIDDLE]), old.offset[1] + float(step[MIDDLE + 1])),
            distortion=old.distortion + float(step[DISTORTION]),
            distortion_2=old.distortion_2 + float(step[DISTORTION + 1]),
        )
        bounded = camera.folds and not old.folds  # a lens that is known to fold, in a corner that nobody saw, may
        return State(_unfolded(camera) if bounded else camera, self.bias + step[JOINTS:], bounded)


def _unfolded(camera: Pinhole) -> Pinhole:
    """A camera that folds, with as much k₂ as keeps it from that."""
    folded, least = camera.distortion_2, max(0.0, 0.5 * camera.distortion**2)  # which never folds
    for _ in range(HALVINGS):
        middle = 0.5 * (folded + least)
        folded, least = (middle, least) if replace(camera, distortion_2=middle).folds else (folded, middle)
    return replace(camera, distortion_2=least)
