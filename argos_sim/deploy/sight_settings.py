"""What ``policy.yaml`` says of the network that tells joints from latents, see ``sight``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

KNOWN = 0.2
"""Of a joint's variance, the share that may stay unexplained of one that is judged by."""


@dataclass(frozen=True)
class SightSettings:
    """Of J joints, in the order of the torques."""

    centre: tuple[float, ...]
    """Mean of the angles that the network was fitted to [rad]."""
    spread: tuple[float, ...]
    """Their standard deviation [rad]."""
    error: tuple[float, ...]
    """RMS error of the network in episodes that it was not fitted to [rad]."""

    def known(self) -> np.ndarray:
        """Which joints (J,) the network knows well enough to judge by."""
        return np.square(self.error) <= KNOWN * np.square(self.spread)

    def problems(self, joints: int) -> list[str]:
        """What cannot be right of it."""
        found = []
        for name, values in vars(self).items():
            if len(values) != joints:
                found.append(f"sight.{name} has {len(values)} entries for {joints} joints")
            elif not all(math.isfinite(value) and (value > 0 or name == "centre") for value in values):
                found.append(f"sight.{name} {values} should be finite, and above zero but for the centre")
        return found
