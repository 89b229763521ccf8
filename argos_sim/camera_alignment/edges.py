"""How far drawn outlines are from those in the pictures: by the distance to a mask, or by an edge's profile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from argos_sim.camera_alignment.foreground import background
from argos_sim.camera_alignment.silhouette import Rim, signed_distance
from argos_sim.deploy.pinhole import Pinhole

INSIDE = (-2.5, -2.0, -1.5)
"""Where the arm's own colour is looked for, from the edge outward [pixels]."""
OUTSIDE = (1.5, 2.0, 2.5)
"""Where that of what is behind the foot is."""
PROFILE = np.arange(-4.0, 4.01, 0.5)
"""Where an edge is looked for [pixels]."""
CONTRAST = 25.0
"""Between arm and background (of 255), below which there is no edge to be seen."""


class Field:
    """Distance to a mask's outline: rough, but from anywhere."""

    def __init__(self, mask: np.ndarray) -> None:
        self._distance = signed_distance(mask)
        self._slope = [ndimage.sobel(self._distance, axis) / 8 for axis in (1, 0)]

    def offsets(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors (M, 2) out of the mask, and how far outside pixels (M, 2) are along them (M,)."""
        slope = np.stack([_at(part, pixels) for part in self._slope], -1)
        size = np.linalg.norm(slope, axis=1, keepdims=True)
        return slope / np.maximum(size, 1e-6), np.where(size[:, 0] > 0.3, _at(self._distance, pixels), np.nan)


class Edges:
    """Where between the arm's colour and the background's a picture is half way, along an outline's normals.

    A pixel that the arm covers in part is a mixture α of its colour and the known background's, whatever the pattern
    of that (matting by a known background, Smith & Blinn 1996); blur leaves α = ½ where it is.
    """

    def __init__(self, pictures: np.ndarray) -> None:
        self._pictures = pictures.astype(np.float32)
        self._background = background(self._pictures)

    def offsets(self, number: int, pixels: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """How far (M,) along its normal the edge in a picture is from each of pixels (M, 2); not a number where there
        is none nearby."""
        return self._offsets(self._pictures[number], self._background, pixels, normals)

    def offsets_of_foot(self, pixels: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Likewise of what never moves: what is behind it is taken to be of one colour."""
        return self._offsets(self._background, None, pixels, normals)

    @staticmethod
    def _offsets(picture: np.ndarray, behind: np.ndarray | None, pixels: np.ndarray, normals: np.ndarray) -> np.ndarray:
        own, beside = (
            np.median([_at(picture, pixels + at * normals) for at in place], axis=0) for place in (INSIDE, OUTSIDE)
        )
        alpha = []
        for at in PROFILE:
            where = pixels + at * normals
            far = beside if behind is None else _at(behind, where)
            contrast = own - far
            size = np.square(contrast).sum(-1)
            mixed = ((_at(picture, where) - far) * contrast).sum(-1) / np.maximum(size, 1e-6)
            alpha.append(np.where(size > CONTRAST**2, mixed, np.nan))
        return _crossing(np.array(alpha))


def _crossing(alpha: np.ndarray) -> np.ndarray:
    """Where on ``PROFILE`` each column of ``alpha`` (P, M) falls through ½, nearest to its middle (M,)."""
    before, after = alpha[:-1], alpha[1:]
    falls = (before >= 0.5) & (after < 0.5)
    step = PROFILE[1] - PROFILE[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        place = PROFILE[:-1, None] + step * (before - 0.5) / (before - after)
    place = np.where(falls, place, np.inf)
    nearest = place[np.abs(place).argmin(0), np.arange(alpha.shape[1])]
    return np.where(np.isfinite(nearest), nearest, np.nan)


def _at(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Values (M,) or (M, C) of an image (H, W) or (H, W, C) at pixels (M, 2), bilinear."""
    where = [pixels[:, 1], pixels[:, 0]]
    if image.ndim == 2:
        return ndimage.map_coordinates(image, where, order=1, mode="nearest")
    return np.stack([ndimage.map_coordinates(image[..., c], where, order=1, mode="nearest") for c in range(3)], -1)


def derivatives(camera: Pinhole, rim: Rim) -> np.ndarray:
    """(M, 2, 11 + J) how the rim's pixels move with the camera's turn, shift, log focal length, k₁, k₂ and principal
    point, and with the joints."""
    step, there = 1e-5, camera.project(rim.points)
    by_point = np.stack([(camera.project(rim.points + step * axis) - there) / step for axis in np.eye(3)], -1)
    arm = rim.points - camera.position
    by_turn = np.stack([-np.cross(axis, arm) for axis in np.eye(3)], -1)
    by_focal = (replace(camera, focal=camera.focal * (1 + step)).project(rim.points) - there) / step
    more = ({"distortion": camera.distortion + 1e-3}, {"distortion_2": camera.distortion_2 + 1e-3})
    by_bend = np.stack([(replace(camera, **bent).project(rim.points) - there) / 1e-3 for bent in more], -1)
    by_middle = np.broadcast_to(np.eye(2), (len(there), 2, 2))
    by_lens = (by_focal[..., None], by_bend, by_middle)
    return np.concatenate((by_point @ by_turn, -by_point, *by_lens, by_point @ rim.by_joint), -1)
