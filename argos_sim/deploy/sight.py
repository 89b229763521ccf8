"""Whether cameras show the arm where its joints are read: not so where two were swapped, or one shows another place.

A network of the policy, ``sight``, tells angles from latents; it was fitted to what the policy meets in training. Of
joints that it knows well, what it says is compared with what was read. How far the two are apart, in units of how far
these joints are from their mean, is next to nothing before training's camera; for a picture that has nothing to do with
the arm it is 1 and more, as if the mean had been guessed.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np

from argos_sim.deploy.manifest import SIGHT, DeployError, PolicyManifest
from argos_sim.deploy.network import Network

PICTURES = 10
"""Over which the distance is averaged: an arm that crosses its mean is near to any guess for a moment."""
MOST = 9.0
"""A squared distance counts as at most so much, so that one picture does not decide."""
ELSEWHERE = 3.0
"""A posture in which a joint is further from its mean than so many standard deviations adds nothing: no angles like
these were learned, and what was seen before goes on to count."""


class SightCheck:
    """Believes latents that show the arm as it is read; keeps the last pictures' distances."""

    def __init__(self, folder: Path | str, manifest: PolicyManifest, limit: float) -> None:
        """``limit`` is the mean squared distance above which pictures are not believed, in units of the joints'
        variance; ``DeployError`` in one sentence if the policy was exported without its ``sight``."""
        if manifest.sight is None:
            raise DeployError(f"The policy at {folder} does not say what its {SIGHT} knows. Export the policy again.")
        self._network, self._limit = Network(folder, manifest, SIGHT), limit
        known = manifest.sight.known()
        self._joints = np.flatnonzero(known)
        self._centre = np.asarray(manifest.sight.centre)[known]
        self._spread = np.asarray(manifest.sight.spread)[known]
        self.reset()

    def reset(self) -> None:
        """Pictures from now on are of another beginning."""
        self._distances: deque[float] = deque(maxlen=PICTURES)  # a new one: another thread may be at the last

    def refuses(self, vision: np.ndarray, position: np.ndarray) -> str:
        """Why latents (P, C), seen with the joints at ``position`` (J,) [rad], are not believed; an empty text where
        they are."""
        distances, read = self._distances, position[self._joints]
        if len(read) and (np.abs(read - self._centre) <= ELSEWHERE * self._spread).all():
            seen = self._network({"vision": vision[None]})[0][0][self._joints]
            square = np.minimum(((seen - read) / self._spread) ** 2, MOST)
            distances.append(float(square.mean()))
        if len(distances) < PICTURES or np.mean(distances) <= self._limit:
            return ""
        return "the pictures do not show the arm where its joints are read"
