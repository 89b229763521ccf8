"""Latents back to pixels, for people: a small convolutional network that doubles the grid until it is a picture.

It is trained on latents with noise (RAE, FACTS), so that it draws a planner's latents as well as an encoder's. It
draws the canonical scene: what the latents hold of the background and the light is nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from argos_wm.checkpoint import CheckpointError, load_into, load_json, load_tensors, save_json, save_tensors

CLASSES = ("background", "robot", "red", "green", "blue")
"""What a pixel of the canonical picture shows."""


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the decoder; the defaults turn 4×4×16 latents into 64×64 pictures with 0.2 M parameters."""

    rows: int = 4
    cols: int = 4
    channels: int = 16
    image_size: int = 64
    width: int = 64
    """Channels at the grid's own size; they shrink as the picture grows."""

    @property
    def doublings(self) -> int:
        doublings = round(math.log2(self.image_size / self.rows))
        if self.rows * 2**doublings != self.image_size:
            raise ValueError(
                f"The decoder doubles a grid of {self.rows} rows and cannot reach {self.image_size} pixels; "
                f"choose {self.rows * 2**doublings}."
            )
        return doublings


class LatentDecoder(nn.Module):
    """Standardised vision latents (B, P, C) to float pictures (B, 3, H, W) in [0, 1] and classes of pixels."""

    def __init__(self, cfg: DecoderConfig | None = None) -> None:
        super().__init__()
        self.cfg = cfg = cfg or DecoderConfig()
        patches = cfg.rows * cfg.cols
        # Every place of the grid may ask every latent: what a block looks like is not kept where it lies.
        self.gather = nn.Linear(patches * cfg.channels, patches * 16)
        self.enter = nn.Conv2d(cfg.channels + 16, cfg.width, 3, padding=1)
        widths = [max(16, round(cfg.width * 0.75**i) // 8 * 8) for i in range(cfg.doublings)]
        self.grow = nn.Sequential(*(_double(a, b) for a, b in pairwise(widths)))
        self.leave = nn.Sequential(nn.Conv2d(widths[-1], 4 * (3 + len(CLASSES)), 3, padding=1), nn.PixelShuffle(2))
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def draw(self, vision: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (B, 3, H, W) in [0, 1], and logits of ``CLASSES`` (B, 5, H, W)."""
        gathered = self.gather(vision.flatten(1)).unflatten(1, (vision.shape[1], 16))
        grid = torch.cat([vision, gathered.to(vision.dtype)], -1).transpose(1, 2)
        x = torch.relu(self.enter(grid.unflatten(2, (self.cfg.rows, self.cfg.cols))))
        out = self.leave(self.grow(x)).float()
        return out[:, :3].sigmoid(), out[:, 3:]

    def forward(self, vision: Tensor) -> Tensor:
        return self.draw(vision)[0]

    def save(self, folder: str | Path) -> None:
        """Write ``decoder.safetensors`` and ``decoder.json`` into the encoder's folder."""
        save_tensors(Path(folder) / "decoder.safetensors", self.state_dict())
        save_json(Path(folder) / "decoder.json", asdict(self.cfg))

    @staticmethod
    def load(folder: str | Path, device: torch.device | str = "cpu") -> LatentDecoder:
        """Read the decoder beside an encoder."""
        path = Path(folder) / "decoder.safetensors"
        try:
            decoder = LatentDecoder(DecoderConfig(**load_json(Path(folder) / "decoder.json")))
        except TypeError as error:
            raise CheckpointError(f"{Path(folder) / 'decoder.json'} does not describe a decoder ({error}).") from None
        load_into(decoder, load_tensors(path), path)
        return decoder.requires_grad_(False).eval().to(device)


def _double(inputs: int, outputs: int) -> nn.Sequential:
    """Convolve, then double height and width by a pixel shuffle; cheap, since the convolution is done small."""
    return nn.Sequential(
        nn.Conv2d(inputs, 4 * outputs, 3, padding=1), nn.PixelShuffle(2), nn.BatchNorm2d(outputs), nn.ReLU()
    )
