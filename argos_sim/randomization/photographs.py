"""Backgrounds from a user's own photographs: random cuts of every picture in a folder."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
FAMILY = "photographs:"
"""With a folder behind it, the name of a background family."""
SMALLEST_CUT = 0.3
"""Of the largest cut that fits a photograph."""


def photograph_paths(folder: Path) -> list[Path]:
    """The pictures in ``folder`` and below, in order; ``ValueError`` in one sentence if there is none."""
    if not folder.is_dir():
        raise ValueError(f"There is no folder of photographs {folder}; correct the setting photographs.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"The folder of photographs {folder} holds no picture ({', '.join(SUFFIXES)}).")
    return paths


def photograph_bank(folder: Path, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """``count`` cuts of ``size`` (H, W), uint8 (count, 3, H, W), half of them mirrored.

    Photographs are taken in a random order, as many as there are cuts, or all of them several times. One that cannot
    be read is left out, by name; if none can, that is an error.
    """
    paths = photograph_paths(folder)
    order = torch.randperm(len(paths), generator=generator, device=generator.device).tolist()
    usable, broken = [paths[i] for i in order], []
    cuts: list[Tensor] = []
    while usable and len(cuts) < count:
        each = -(-(count - len(cuts)) // len(usable))
        for path in list(usable):  # one photograph is open at a time, however many and large they are
            try:
                picture = _read(path, size)
            except Exception:  # Pillow's readers of damaged files raise SyntaxError, TypeError, struct.error and more
                broken.append(path.name)
                usable.remove(path)
                continue
            cuts += [_cut(picture, size, generator) for _ in range(min(each, count - len(cuts)))]
            if len(cuts) == count:
                break
    if broken:
        warnings.warn(
            f"{len(broken)} of the photographs in {folder} cannot be read and are left out: {', '.join(broken[:5])}"
            + (" …" if len(broken) > 5 else "."),
            stacklevel=2,
        )
    if not cuts:
        raise ValueError(f"None of the photographs in {folder} can be read.")
    return torch.stack(cuts)


def _read(path: Path, size: tuple[int, int]) -> Image.Image:
    """A photograph the right way up, in colour, and no larger than its smallest cuts need."""
    with Image.open(path) as picture:
        most = round(max(size) / SMALLEST_CUT)
        picture.draft("RGB", (2 * most, 2 * most))  # a JPEG is read at a fraction of its size
        turned = ImageOps.exif_transpose(picture)
        if turned.mode.startswith("I"):  # 16 bits a pixel, which "RGB" would clip
            turned = turned.point(lambda value: value / 256).convert("L")
        if turned.has_transparency_data:
            turned = turned.convert("RGBA")
            turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
        turned = turned.convert("RGB")
        scale = min(1.0, most / min(turned.size))
        return turned.resize((max(1, round(turned.width * scale)), max(1, round(turned.height * scale))))


def _cut(picture: Image.Image, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A random cut (3, H, W) uint8."""
    share, across, down, mirrored = torch.rand(4, generator=generator, device=generator.device).tolist()
    largest = min(picture.height / size[0], picture.width / size[1])
    scale = (SMALLEST_CUT + (1 - SMALLEST_CUT) * share) * largest
    height, width = scale * size[0], scale * size[1]
    left, top = across * (picture.width - width), down * (picture.height - height)
    box = (left, top, left + width, top + height)
    cut = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
    if mirrored < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(cut)).permute(2, 0, 1)
