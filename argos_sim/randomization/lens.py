"""What stands before the sensor: a lens of another focal length that bends lines, and things in its way.

Batched over environments, on finished pictures, so that it is the same with every renderer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from argos_sim.randomization.episode_values import EpisodeValues

INVERSE_STEPS = 6


@dataclass
class Lens(EpisodeValues):
    """Lens and what covers it in N episodes, each (N,): see ``RandomizationRanges`` for the units."""

    focal_length: Tensor
    distortion: Tensor
    occlusion: Tensor
    column: Tensor
    row: Tensor
    aspect: Tensor

    RANGES = ("focal_length", "distortion", "occlusion")
    """Where any of them may differ from the nominal, there is something to apply."""
    ALWAYS = {"column": (0.0, 1.0), "row": (0.0, 1.0), "aspect": (0.4, 2.5)}
    """Centre of what covers the picture, in shares of its width and height, and its width in units of its height."""

    def covered(self, height: int, width: int) -> Tensor:
        """Which pixels (N, H, W) something is before: a rectangle whose area is that of a square of side
        ``occlusion``."""
        device = self.row.device
        rows = (torch.arange(height, device=device) + 0.5) / height
        columns = (torch.arange(width, device=device) + 0.5) / width
        stretch = self.aspect.sqrt()
        down = (rows - self.row[:, None]).abs() < 0.5 * (self.occlusion / stretch)[:, None]
        across = (columns - self.column[:, None]).abs() < 0.5 * (self.occlusion * stretch)[:, None]
        return down[:, :, None] & across[:, None, :]

    def apply(self, images: Tensor, before: Tensor) -> Tensor:
        """Pictures ``(N, 3, H, W)`` uint8 with ``before``, likewise, where they are covered, through these N lenses."""
        covered = self.covered(*images.shape[-2:]).unsqueeze(1)
        return self.warp(torch.where(covered, before, images))

    def warp(self, images: Tensor) -> Tensor:
        """Pictures ``(N, 3, H, W)`` uint8 through these N lenses; beyond the edges they are mirrored.

        Brown's model with one coefficient: what the ideal lens shows at radius r is seen at R = r (1 + k₁ r²), here
        with r = 1 at the middle of the left edge. Its inverse is found by fixed-point steps, which for the k₁ that
        ``RandomizationRanges`` allows end within 0.01 at the corner of a square.
        """
        n, _, height, width = images.shape
        identity = torch.eye(2, 3, device=images.device).expand(n, -1, -1)
        grid = F.affine_grid(identity, [n, 1, height, width], align_corners=False)
        shape = torch.tensor([1.0, height / width], device=images.device)
        seen = grid * shape
        ideal, k1 = seen, self.distortion[:, None, None, None]
        for _ in range(INVERSE_STEPS):
            ideal = seen / (1 + k1 * ideal.square().sum(-1, keepdim=True))
        grid = ideal / shape / self.focal_length[:, None, None, None]
        warped = F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
        return warped.round_().to(torch.uint8)
