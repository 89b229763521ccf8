"""Pictures of small worlds as latents that need no training: patches of standardised pixels.

What a planner says in these latents can be drawn exactly, so that its answers are read from the picture, not through a
learned decoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from argos_wm.latents import LatentSpec


@dataclass(frozen=True)
class PixelCodec:
    """Square pictures to ``(image_size / patch)²`` patches of ``3 patch²`` channels, and back."""

    image_size: int
    patch: int
    mean: float = 0.15
    """Of the pixels in [0, 1], roughly, over all worlds; one number for all, so that nothing dark is blown up."""
    std: float = 0.25

    def __post_init__(self) -> None:
        if self.image_size % self.patch:
            raise ValueError(
                f"Pictures of {self.image_size} pixels cannot be cut into patches of {self.patch}; choose a divisor."
            )

    @property
    def rows(self) -> int:
        return self.image_size // self.patch

    def encode(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) to standardised latents (N, P, C)."""
        x = (images.float() / 255 - self.mean) / self.std
        return torch.nn.functional.unfold(x, self.patch, stride=self.patch).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Standardised latents (N, P, C) to pictures (N, 3, H, W), in [0, 1] as far as the latents are."""
        size = (self.image_size, self.image_size)
        x = torch.nn.functional.fold(latents.transpose(1, 2), size, self.patch, stride=self.patch)
        return x * self.std + self.mean

    def spec(self, world: str, proprio: tuple[str, ...]) -> LatentSpec:
        """Whose latents these are; ``proprio`` names what the agent feels."""
        name = f"pixels-{self.image_size}-{self.patch}"
        channels = 3 * self.patch**2
        return LatentSpec(name, world, self.rows, self.rows, channels, max(1, len(proprio)), proprio, f"{self.mean}")
