"""What every picture shares: fonts, colours, labels, enlarged pixels, and a line chart cheap enough for video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Point = tuple[float, float]
Colour = tuple[int, int, int]

PAPER, INK, MUTED, RULE = (252, 252, 250), (28, 31, 36), (110, 116, 126), (222, 223, 221)
BLUE, TEAL, GREEN, RED, GREY = (36, 94, 190), (14, 124, 123), (34, 139, 74), (196, 48, 43), (150, 153, 158)
OBJECT_COLOURS: dict[str, Colour] = {"red": (204, 36, 32), "green": (30, 150, 52), "blue": (32, 62, 204)}
"""Chips beside an instruction; an object with another name gets grey."""
SUPERSAMPLE = 2
"""Charts are drawn this much larger and reduced, since PIL's lines have no smooth edges."""


@lru_cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, as matplotlib carries it, so that pictures look the same on every machine."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)


def enlarged(picture: Tensor, size: int) -> Image.Image:
    """A picture (3, H, W), uint8 or float in [0, 1], at ``size`` × ``size`` with its own pixels visible."""
    if picture.is_floating_point():
        picture = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    array = picture.permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(array)).resize((size, size), Image.Resampling.NEAREST)


def framed(canvas: Image.Image, picture: Image.Image, corner: tuple[int, int]) -> None:
    """Paste a picture with a hair line around it."""
    canvas.paste(picture, corner)
    x, y = corner
    ImageDraw.Draw(canvas).rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=RULE)


def instruction_label(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, named: str, size: int) -> None:
    """The instruction after a chip in the colour of the object that it names; ``corner`` is its middle left."""
    x, y = corner
    half = round(0.42 * size)
    draw.rounded_rectangle((x, y - half, x + 2 * half, y + half), 3, fill=OBJECT_COLOURS.get(named, GREY))
    draw.text((x + 2 * half + round(0.5 * size), y), f"“{text}”", INK, font(size, bold=True), anchor="lm")


@dataclass(frozen=True)
class Chart:
    """A line chart of time: a fixed background with axes and limits, and curves drawn onto a copy of it.

    Args:
        size: pixels.
        seconds: end of the horizontal axis.
        top: end of the vertical axis, which begins at 0.
        title: quantity and unit.
        limit: a value to stay below, drawn as a dashed line.
        limit_label: what that value means.
        due: times at which targets are due [s], drawn as thin vertical lines.
    """

    size: tuple[int, int]
    seconds: float
    top: float
    title: str
    limit: float
    limit_label: str
    due: tuple[float, ...]

    @property
    def _box(self) -> tuple[int, int, int, int]:
        """The plotting area in supersampled pixels."""
        s = SUPERSAMPLE
        return 38 * s, 26 * s, self.size[0] * s - 18 * s, self.size[1] * s - 22 * s

    def place(self, time: float, value: float) -> Point:
        """Supersampled pixel of a point; values above the axis stay on its edge."""
        left, upper, right, lower = self._box
        share = min(max(value, 0.0), self.top) / self.top
        return left + (right - left) * time / self.seconds, lower - (lower - upper) * share

    @lru_cache(maxsize=8)  # noqa: B019  a handful of charts live as long as the process
    def background(self) -> Image.Image:
        """Axes, limits and labels."""
        s = SUPERSAMPLE
        left, upper, right, lower = self._box
        image = Image.new("RGB", (self.size[0] * s, self.size[1] * s), PAPER)
        draw = ImageDraw.Draw(image)
        small = font(11 * s)
        draw.text((left, 4 * s), self.title, INK, font(12 * s, bold=True), anchor="lt")
        for value in ticks(self.top):
            y = self.place(0, value)[1]
            draw.line((left, y, right, y), fill=RULE, width=s // 2)
            draw.text((left - 6 * s, y), f"{value:g}", MUTED, small, anchor="rm")
        for second in self.due:
            x = self.place(second, 0)[0]
            draw.line((x, upper, x, lower), fill=RULE, width=s)
            draw.text((x, lower + 5 * s), f"{second:g} s", MUTED, small, anchor="mt")
        y = self.place(0, self.limit)[1]
        for x in range(left, right, 8 * s):
            draw.line((x, y, min(x + 4 * s, right), y), fill=MUTED, width=s)
        width = draw.textlength(self.limit_label, small)
        draw.rectangle((right - width - 4 * s, y - 17 * s, right, y - 3 * s), fill=PAPER)
        draw.text((right - 2 * s, y - 4 * s), self.limit_label, MUTED, small, anchor="rb")
        return image

    def draw(
        self, curves: Sequence[Sequence[Point]], dots: Sequence[tuple[float, float, bool]], colour: Colour
    ) -> Image.Image:
        """The chart with ``curves`` of (time, value) and ``dots`` (time, value, whether the target was reached)."""
        s = SUPERSAMPLE
        image = self.background().copy()
        draw = ImageDraw.Draw(image)
        for curve in curves:
            if len(curve) > 1:
                draw.line([self.place(*point) for point in curve], fill=colour, width=2 * s, joint="curve")
        for time, value, reached in dots:
            x, y = self.place(time, value)
            radius = 4.5 * s
            fill, outline = (GREEN, GREEN) if reached else (PAPER, RED)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill, outline, width=2 * s)
        if curves and curves[-1] and not (dots and dots[-1][0] == curves[-1][-1][0]):
            x, y = self.place(*curves[-1][-1])
            draw.ellipse((x - 2.5 * s, y - 2.5 * s, x + 2.5 * s, y + 2.5 * s), colour)
        return image.reduce(SUPERSAMPLE)


def ticks(top: float) -> list[float]:
    """Three to six round values from 0 to ``top``."""
    step = next(x for x in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0) if top / x <= 5)
    return [round(i * step, 6) for i in range(int(top / step + 1e-6) + 1)]
