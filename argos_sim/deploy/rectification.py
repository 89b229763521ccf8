"""Pictures of a camera as another would have taken them that stands there, too, but looks elsewhere by another lens.

Turn, focal length, principal point and distortion are taken away exactly; another place cannot be. Which pixel shows
what is worked out once; a picture is then averaged to about twice the resolution that the policy sees, and sampled,
bilinearly, in numpy.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from argos_sim.deploy.camera_file import TRAINED, camera_of, read_camera_file, require_same_training
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.robots import Frame, Robot

FINER = 2
"""Pixels of the sampled picture to one that the policy sees, along each side, at least."""
PATIENCE_S = 2.0
"""For a first picture."""
SIDES = ("left", "right", "top", "bottom")


class Rectification:
    """From pictures (H, W, 3) of ``found`` to the central squares of ``trained``'s.

    Attributes:
        lost: share of that square that the pictures do not show; their edge is repeated there.
        lost_at: at which of its sides.
    """

    def __init__(self, found: Pinhole, trained: Pinhole, size: int, doubt: str = "") -> None:
        """``size`` is the side of what the policy sees [pixels]; ``doubt`` is told with what is not seen."""
        self._doubt = doubt
        self.shape = (found.height, found.width, 3)
        side = min(trained.height, trained.width)
        self._every = max(1, side // (FINER * size))
        self._side, rows, columns = side // self._every, found.height // self._every, found.width // self._every
        self._cut = (rows * self._every, columns * self._every)
        left, top = (trained.width - side) / 2, (trained.height - side) / 2
        place = (np.arange(self._side) + 0.5) * side / self._side - 0.5
        column, row = np.meshgrid(left + place, top + place)
        rays = trained.directions(np.stack([column, row], -1)) @ trained.rotation.T
        ahead = (rays @ found.rotation)[..., 2] > 0.1
        seen = found.project(found.position + rays)
        outside = ~ahead | (seen < -0.5).any(-1) | (seen > [found.width - 0.5, found.height - 0.5]).any(-1)
        self.lost = float(outside.mean())
        edges = (outside[:, 0], outside[:, -1], outside[0], outside[-1])
        self.lost_at = tuple(name for name, edge in zip(SIDES, edges, strict=True) if edge.any())
        self._index, self._weight = _bilinear((seen.reshape(-1, 2) + 0.5) / self._every - 0.5, rows, columns)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The square (S, S, 3) uint8 of a picture uint8 (H, W, 3).

        Raises:
            ValueError: it has another size than the camera's.
        """
        if picture.shape != self.shape or picture.dtype != np.uint8:
            raise ValueError(f"The camera file is of pictures {self.shape}, and this one is {picture.shape}.")
        height, width = self._cut
        every = self._every
        if every > 1:
            parts = (picture[i:height:every, j:width:every] for i in range(every) for j in range(every))
            total = np.zeros((height // every, width // every, 3), np.uint16 if every < 16 else np.uint32)
            for part in parts:
                total += part
            flat = total.reshape(-1, 3)
        else:
            flat = picture.reshape(-1, 3)
        sampled = np.einsum("km,kmc->mc", self._weight, flat[self._index].astype(np.float32))
        out = np.rint(sampled / every**2).astype(np.uint8)
        return out.reshape(self._side, self._side, 3)

    def require(self, path: Path, frame: Frame | None) -> None:
        """Raise ``DeployError`` unless a frame, where there is one, is of pictures as the file at ``path`` has them."""
        if frame is not None and frame.pictures[0].shape != self.shape:
            (height, width), own = frame.pictures[0].shape[:2], self.shape
            raise DeployError(
                f"{path} is of pictures of {own[1]} × {own[0]} pixels, and the camera gives {width} × {height}."
            )

    def told(self) -> str:
        """What of training's picture is not seen, and what of the camera is in doubt, in a sentence or two."""
        seen = "all of its view is seen."
        if self.lost_at:
            where = ", ".join(self.lost_at)
            seen = f"{100 * self.lost:.1f} % of its view is not seen ({where}), and the edge is repeated there."
        return f"Pictures are turned into those of training's camera; {seen} {self._doubt}".rstrip()


def read_rectification(path: Path, folder: Path, manifest: PolicyManifest) -> Rectification:
    """From ``align_camera.py``'s file at ``path`` to the camera that the policy at ``folder`` was trained with.

    Raises:
        DeployError: it is no such file, of another policy, or the policy has several cameras.
    """
    file = read_camera_file(path)
    if len(cameras := manifest.spec.get("cameras", ("front",))) > 1:
        raise DeployError(f"{path} is of one camera, and the policy has {', '.join(cameras)}.")
    if manifest.homography:
        raise DeployError(f"{path} would put pictures right twice: the policy at {folder} adapted to a moved camera.")
    require_same_training(file, path, folder)
    if not manifest.image_size:
        raise DeployError(f"The policy at {folder} was exported without its vision. Export the whole policy.")
    return Rectification(file.found, file.trained, manifest.image_size, file.doubt)


def recorded_rectification(header: dict[str, Any], size: int) -> Rectification:
    """Of the camera file that a recording's header describes, for pictures of ``size`` pixels; ValueError, TypeError or
    KeyError where it describes none."""
    return Rectification(camera_of(header["found"]), camera_of(header[TRAINED]), size)


def first_frame(robot: Robot) -> Frame | None:
    """The first that comes; None where none comes soon."""
    end = time.monotonic() + PATIENCE_S
    while (frame := robot.frame()) is None and time.monotonic() < end:
        time.sleep(0.01)
    return frame


def _bilinear(pixels: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Of pixels (M, 2), column and row, four neighbours' numbers (4, M), row after row, and weights (4, M); what lies
    outside is moved to the edge."""
    x, y = pixels[:, 0].clip(0, columns - 1), pixels[:, 1].clip(0, rows - 1)
    left, top = (np.minimum(np.floor(at).astype(int), last) for at, last in ((x, columns - 2), (y, rows - 2)))
    right, down = x - left, y - top
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    index = np.stack([(top + i) * columns + left + j for i, j in corners])
    weight = np.stack([(down if i else 1 - down) * (right if j else 1 - right) for i, j in corners])
    return index, weight.astype(np.float32)
