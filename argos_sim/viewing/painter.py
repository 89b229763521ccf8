"""Standardised vision latents as pictures: by the encoder's decoder, or by principal components if it has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from argos_wm.decoder import LatentDecoder
from argos_wm.latents import LatentSpec

Painter = Callable[[Tensor], Tensor]
"""Latents (…, P, C) to pictures (…, 3, H, W), float in [0, 1]."""
RANGE = 2.0
"""Standard deviations of a component that fill a colour channel."""


def make_painter(encoder_folder: Path, spec: LatentSpec, examples: Tensor) -> Painter:
    """A painter of the latents of the encoder in ``encoder_folder``.

    Args:
        examples: latents (…, P, C) of the episodes to be shown, from which principal components are found.
    """
    if (encoder_folder / "decoder.safetensors").is_file():
        return _batched(LatentDecoder.load(encoder_folder))
    return components_painter(len(spec.cameras) * spec.rows, spec.cols, examples)


def components_painter(rows: int, cols: int, examples: Tensor) -> Painter:
    """Paints the three strongest components over all patches as red, green and blue, as is usual for DINO's."""
    flat = examples.reshape(-1, examples.shape[-1]).float()
    mean = flat.mean(0)
    _, _, basis = torch.pca_lowrank(flat - mean, q=min(3, flat.shape[-1]), center=False)
    scale = ((flat - mean) @ basis).std(0).clamp_min(1e-6)

    def paint(vision: Tensor) -> Tensor:
        colours = ((vision.float() - mean) @ basis / scale / (2 * RANGE) + 0.5).clamp(0, 1)
        return colours.movedim(-1, -2).unflatten(-1, (rows, cols))

    return paint


def _batched(decoder: LatentDecoder, batch: int = 256) -> Painter:
    @torch.no_grad()
    def paint(vision: Tensor) -> Tensor:
        flat = vision.flatten(0, -3)
        return torch.cat([decoder(part) for part in flat.split(batch)]).unflatten(0, vision.shape[:-2])

    return paint
