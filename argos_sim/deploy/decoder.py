"""The exported decoder: latents as a picture, for people who look on. Nothing that moves the arm needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from argos_sim.deploy.manifest import DECODER, PolicyManifest
from argos_sim.deploy.network import Network


class DecoderRuntime:
    """See ``argos_wm.decoder.LatentDecoder``."""

    def __init__(self, folder: Path | str, manifest: PolicyManifest) -> None:
        """Load it; ``DeployError`` in one sentence if the policy was exported without."""
        self._network = Network(folder, manifest, DECODER)
        self._cameras = len(manifest.spec.get("cameras", ("front",)))

    def draw(self, vision: np.ndarray) -> np.ndarray:
        """A picture uint8 (V, H, W, 3) of each camera for standardised latents (P, C)."""
        each = vision.reshape(self._cameras, -1, vision.shape[-1]).astype(np.float32)
        drawn = self._network({"vision": each})[0]
        return np.rint(255 * np.clip(np.nan_to_num(drawn), 0, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
