"""Backgrounds from a user's own photographs: random cuts of every picture in a folder."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
FAMILY = "photographs:"
"""With a folder behind it, the name of a background family."""
SMALLEST_CUT = 0.3
"""Of the largest cut that fits a photograph."""
MOST_PIXELS = 1024
"""Of a photograph's longer side; larger ones are reduced when they are read, so that thousands fit in memory."""


def photograph_paths(folder: Path) -> list[Path]:
    """The pictures in ``folder`` and below, in order; ``ValueError`` in one sentence if there is none."""
    if not folder.is_dir():
        raise ValueError(f"There is no folder of photographs {folder}; correct the setting photographs.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"The folder of photographs {folder} holds no picture ({', '.join(SUFFIXES)}).")
    return paths


def photograph_bank(folder: Path, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """``count`` cuts of ``size`` (H, W), uint8 (count, 3, H, W), of all photographs in turn, half of them mirrored.

    A picture that cannot be read is left out, by name; if none can, that is an error.
    """
    cuts, broken = [], []
    pictures: list[Image.Image] = []
    for path in photograph_paths(folder)[:count]:
        try:
            with Image.open(path) as picture:
                picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
                pictures.append(picture.convert("RGB"))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            broken.append(path.name)
    if broken:
        warnings.warn(
            f"{len(broken)} of the photographs in {folder} cannot be read and are left out: {', '.join(broken[:5])}"
            + (" …" if len(broken) > 5 else "."),
            stacklevel=2,
        )
    if not pictures:
        raise ValueError(f"None of the photographs in {folder} can be read.")
    draws = torch.rand(count, 4, generator=generator, device=generator.device).tolist()
    for i, (share, across, down, mirrored) in enumerate(draws):
        picture = pictures[i % len(pictures)]
        largest = min(picture.height / size[0], picture.width / size[1])
        scale = (SMALLEST_CUT + (1 - SMALLEST_CUT) * share) * largest
        height, width = scale * size[0], scale * size[1]
        left, top = across * (picture.width - width), down * (picture.height - height)
        box = (left, top, left + width, top + height)
        cut = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
        if mirrored < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        cuts.append(torch.from_numpy(np.array(cut)).permute(2, 0, 1))
    return torch.stack(cuts)
