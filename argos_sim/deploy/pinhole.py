"""A camera with a lens that bends lines: points to pixels, and pixels to rays; in numpy.

Frames are those of ``argos_sim.envs.camera``: the arm's base, z up, and the camera's own as in ROS, x right, y down, z
forward. Pixel (0, 0) is the middle of the upper left one. What a policy sees is the picture's central square.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from argos_sim.deploy.rotations import turned

INVERSE_STEPS, HALVINGS, CONVERGED, FLAT, MOST = 12, 48, 1e-7, 0.05, 3.0
"""How the lens is inverted: Newton's steps, at most; halvings of what these do not find; a change in a step at which it
is; the least slope of R over r, below which a lens folds; and the most of r / R. Pixels beyond what a lens shows, to
which no ray leads, look where its last ray does."""


@dataclass(frozen=True)
class Pinhole:
    """Brown's model with two radial coefficients: the ideal radius r is seen at R = r (1 + k₁ r² + k₂ r⁴).

    Here r = 1 at half the side of the central square, as in ``argos_sim.randomization.lens``, which has k₁ alone; in
    OpenCV's it is 1 at the focal length, see ``opencv_distortion``.
    """

    position: np.ndarray
    """(3,) of the camera in the base's frame [m]."""
    rotation: np.ndarray
    """(3, 3) from the camera's frame to the base's."""
    focal: float
    """Focal length [pixels]."""
    height: int
    width: int
    distortion: float = 0.0
    """k₁."""
    offset: tuple[float, float] = (0.0, 0.0)
    """Of the principal point from the picture's middle, to the right and down [pixels]."""
    distortion_2: float = 0.0
    """k₂."""

    @property
    def half(self) -> float:
        """Half the side of the central square [pixels]."""
        return 0.5 * min(self.height, self.width)

    @property
    def middle(self) -> np.ndarray:
        """(2,) the principal point [pixels]."""
        return np.array([0.5 * (self.width - 1), 0.5 * (self.height - 1)]) + self.offset

    @property
    def aimed(self) -> np.ndarray:
        """(3, 3) like ``rotation``, of a camera whose axis leads where this one's picture has its middle."""
        middle = np.array([0.5 * (self.width - 1), 0.5 * (self.height - 1)])
        x, y, z = self.directions(middle)
        aside = float(np.hypot(x, y))
        return self.rotation @ turned(np.array([-y, x, 0.0]) * (np.arctan2(aside, z) / max(aside, 1e-12)))

    @property
    def opencv_distortion(self) -> tuple[float, float]:
        """k₁ and k₂ as OpenCV counts them."""
        scale = (self.focal / self.half) ** 2
        return self.distortion * scale, self.distortion_2 * scale**2

    def with_opencv_distortion(self, k1: float, k2: float) -> Pinhole:
        """A camera like this one, bent by coefficients as OpenCV counts them."""
        scale = (self.half / self.focal) ** 2
        return replace(self, distortion=k1 * scale, distortion_2=k2 * scale**2)

    @property
    def folds(self) -> bool:
        """Whether R does not rise with r up to the picture's corners: things are seen twice there, or never."""
        radius = self._rising(FLAT)
        if not np.isfinite(radius):
            return False
        right, down = np.abs(self.offset)
        corner = np.hypot(0.5 * self.width + right, 0.5 * self.height + down)  # the farthest from the principal point
        return bool(self.half * radius * self._bent(np.array([radius, 0.0]))[0] < corner)

    def _rising(self, least: float) -> float:
        """The ideal radius up to which the slope of R over r is above ``least``; infinite where it always is."""
        ends = np.roots([5 * self.distortion_2, 3 * self.distortion, 1 - least])  # r²
        return float(np.sqrt(ends.real[(np.abs(ends.imag) < 1e-9) & (ends.real > 0)].min(initial=np.inf)))

    def _bent(self, ideal: np.ndarray) -> np.ndarray:
        """R / r (…, 1) of ideal points (…, 2)."""
        square = ideal[..., :1] ** 2 + ideal[..., 1:] ** 2
        return 1 + square * (self.distortion + square * self.distortion_2)

    def _straight(self, seen: np.ndarray) -> np.ndarray:
        """r / R (…, 1) of seen radii R (…, 1), by Newton's steps: a fixed point's leave where a lens bends much. Where
        these go round in circles, by halving what r lies within."""
        ideal, most = seen, np.minimum(MOST * seen, self._rising(0.0))
        for _ in range(INVERSE_STEPS):
            square = ideal**2
            slope = 1 + square * (3 * self.distortion + 5 * square * self.distortion_2)
            excess = ideal * (1 + square * (self.distortion + square * self.distortion_2)) - seen
            before, ideal = ideal, np.clip(ideal - excess / np.maximum(slope, FLAT), 0.0, most)
            astray = np.abs(ideal - before) >= CONVERGED
            if not astray.any():
                break
        else:
            ideal[astray] = self._halved(seen[astray], most[astray])
        return np.divide(ideal, seen, out=np.ones_like(seen), where=seen > 0)

    def _halved(self, seen: np.ndarray, most: np.ndarray) -> np.ndarray:
        """r (M,) of R (M,), which rises with it from 0 to ``most`` (M,)."""
        low, high = np.zeros_like(seen), most
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            square = middle**2
            beyond = middle * (1 + square * (self.distortion + square * self.distortion_2)) > seen
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        return 0.5 * (low + high)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (…, 2), column and row, of points (…, 3) [m] in the base's frame."""
        seen = (points - self.position) @ self.rotation
        ideal = seen[..., :2] / np.maximum(seen[..., 2:], 1e-6) * (self.focal / self.half)
        return self.middle + self.half * ideal * self._bent(ideal)

    def rays(self) -> np.ndarray:
        """Unit directions (H · W, 3) in the base's frame along which the pixels look, row after row."""
        return self.directions(self.pixels()) @ self.rotation.T

    def pixels(self) -> np.ndarray:
        """(H · W, 2) column and row of each pixel, row after row."""
        column, row = np.meshgrid(np.arange(self.width), np.arange(self.height))
        return np.stack([column.ravel(), row.ravel()], -1).astype(float)

    def directions(self, pixels: np.ndarray) -> np.ndarray:
        """Unit directions (…, 3) in the camera's frame of pixels (…, 2): the inverse of ``project``."""
        seen = (pixels - self.middle) / self.half
        if self.distortion or self.distortion_2:
            seen = seen * self._straight(np.sqrt((seen**2).sum(-1, keepdims=True)))
        flat = seen * (self.half / self.focal)
        length = np.sqrt(1 + flat[..., :1] ** 2 + flat[..., 1:] ** 2)
        return np.concatenate([flat / length, 1 / length], -1)
