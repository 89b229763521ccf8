"""What a robot sees and feels as standardised latents, and joints back from latents: the exported encoders."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from argos_sim.deploy.manifest import JOINTS, PROPRIO, VISION, PolicyManifest
from argos_sim.deploy.network import Network
from argos_sim.deploy.runtime import require_array


class EncoderRuntime:
    """The frozen encoders; see ``argos_wm.encoders.state.StateEncoder``."""

    def __init__(self, folder: Path | str, manifest: PolicyManifest) -> None:
        """Load them; ``DeployError`` in one sentence if the policy was exported without."""
        self._networks = {name: Network(folder, manifest, name) for name in (VISION, PROPRIO, JOINTS)}
        self._size, self._dim = manifest.image_size, int(manifest.spec["proprio_dim"])
        self._state, self._cameras = 2 * len(manifest.joint_names), len(manifest.spec.get("cameras", ("front",)))

    def see(self, *pictures: np.ndarray) -> np.ndarray:
        """Latents (P, C) of a picture uint8 (H, W, 3), RGB, of each camera; the encoder looks at its central square.

        Raises:
            ValueError: it is no such picture, or there are more or fewer than cameras.
        """
        if len(pictures) != self._cameras:
            raise ValueError(f"{len(pictures)} picture(s) were given, and the policy has {self._cameras} camera(s).")
        for picture in pictures:
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape) == 0:
                raise ValueError(f"A picture is uint8 (H, W, 3), and this one {picture.dtype} {picture.shape}.")
        seen = np.stack([squared(picture, self._size).transpose(2, 0, 1) for picture in pictures])
        images = seen if self._cameras == 1 else seen[None]
        return self._networks[VISION]({"images": np.ascontiguousarray(images)})[0][0]

    def feel(self, joints: np.ndarray) -> np.ndarray:
        """Latent (D,) of joint positions and speeds (2J,) [rad, rad/s]."""
        raw = require_array("joints", joints, (self._state,))
        return self._networks[PROPRIO]({"joints": raw[None]})[0][0]

    def joints(self, latent: np.ndarray) -> np.ndarray:
        """Joint positions and speeds (2J,) [rad, rad/s] of a latent (D,)."""
        return self._networks[JOINTS]({"latent": require_array("latent", latent, (self._dim,))[None]})[0][0]


def squared(picture: np.ndarray, size: int) -> np.ndarray:
    """The central square of a picture uint8 (H, W, 3), made ``size`` pixels wide; as it is where it has that size.

    Bilinear and antialiased as by ``torch.nn.functional.interpolate(antialias=True)``.
    """
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    if side == size:
        return square
    weights = triangles(side, size)
    smaller = np.einsum("ah,hwc,bw->abc", weights, square.astype(np.float32), weights, optimize=True)
    return np.clip(np.rint(smaller), 0, 255).astype(np.uint8)


@cache
def triangles(inputs: int, outputs: int) -> np.ndarray:
    """Weights (outputs, inputs) of a resampling with triangles that are as wide as the coarser of the two grids."""
    scale = inputs / outputs
    support = max(scale, 1.0)
    centre = (np.arange(outputs) + 0.5) * scale
    distance = np.abs(np.arange(inputs)[None] + 0.5 - centre[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
