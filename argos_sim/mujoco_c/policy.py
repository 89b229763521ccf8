"""The exported policy for N arms at once: what ``argos_sim.deploy`` runs for one robot, in batches.

Arrays in, arrays out; all latents are standardised. No weights but those of the ONNX files are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from argos_sim.deploy.manifest import (
    JOINTS,
    PLANNER,
    PROPRIO,
    SENSES,
    VISION,
    DeployError,
    PolicyManifest,
    read_manifest,
)
from argos_sim.deploy.network import Network
from argos_sim.deploy.planner import Computes, Parts, Sampler
from argos_sim.deploy.text import Reads, load_text


class BatchedPolicy:
    """Encoders and planner; the controller is a ``loop.Drive``.

    Attributes:
        manifest: ``policy.yaml``.
        planner: how the planner is asked.
    """

    def __init__(self, manifest: PolicyManifest, networks: Mapping[str, Computes], reads: Reads) -> None:
        """Of ``networks`` by their names in ``manifest.SENSES`` and ``manifest.PLANNER``.

        Raises:
            DeployError: the manifest does not say how the planner is asked.
        """
        if manifest.planner is None:
            raise DeployError("The policy does not say how its planner is asked. Export the whole policy.")
        self.manifest, self.planner = manifest, manifest.planner
        self._networks, self._reads = networks, reads
        context, flow = (networks[name] for name in PLANNER)
        self._sampler = Sampler(context, flow, self.planner)
        self._said: dict[str, Parts] = {}

    @staticmethod
    def load(folder: Path | str) -> BatchedPolicy:
        """Read an export; ``DeployError`` in one sentence if it is not a whole policy."""
        manifest = read_manifest(folder)
        networks = {name: Network(folder, manifest, name) for name in (*SENSES, *PLANNER)}
        return BatchedPolicy(manifest, networks, load_text(folder, manifest))

    def see(self, images: np.ndarray) -> np.ndarray:
        """Latents (N, P, C) of pictures uint8 (N, 3, S, S), RGB, S being ``manifest.image_size``."""
        return self._networks[VISION]({"images": images})[0]

    def feel(self, joints: np.ndarray) -> np.ndarray:
        """Latents (N, D) of joint positions and speeds (N, 2J) [rad, rad/s]."""
        return self._networks[PROPRIO]({"joints": joints.astype(np.float32)})[0]

    def joints(self, latent: np.ndarray) -> np.ndarray:
        """Joint positions and speeds (N, 2J) [rad, rad/s] of latents (N, D)."""
        return self._networks[JOINTS]({"latent": latent})[0]

    def plan(
        self, history: Parts, known: np.ndarray, texts: Sequence[str], horizon: np.ndarray, rng: np.random.Generator
    ) -> Parts:
        """The states wanted after ``horizon`` (N,) [s], vision (N, P, C) and proprio (N, D).

        Args:
            history: (N, S, …) at ``planner.history``, oldest first, the present last; ``known`` (N, S) of them are.
            texts: N instructions; a distinct one is encoded once.
            rng: draws the noise from which the states follow.
        """
        return self._sampler.draw(history, known, self._words(texts), horizon, rng)

    def _words(self, texts: Sequence[str]) -> Parts:
        """Tokens (N, L, dim), and which of them are there (N, L); L is that of the longest."""
        self._said |= {text: self._reads(text) for text in dict.fromkeys(texts) if text not in self._said}
        said = [self._said[text] for text in texts]
        length = max(len(there) for _, there in said)
        tokens = np.zeros((len(said), length, said[0][0].shape[1]), dtype=np.float32)
        known = np.zeros((len(said), length), dtype=bool)
        for row, (words, there) in enumerate(said):
            tokens[row, : len(there)], known[row, : len(there)] = words, there
        return tokens, known
