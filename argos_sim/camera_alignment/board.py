"""The ChArUco board: printed at true scale, and found in pictures (Garrido-Jurado 2014, OpenCV's ``aruco``).

Coordinates on the board are its own: x to the right, y down from corner A, which is the printed pattern's upper left; B
is upper right, C lower right, D lower left. The fingertip is brought to these four.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

PAGE_MM, DOTS_MM = (297.0, 210.0), 12
"""A4, and how finely it is printed [dots/mm]; 252 × 168 mm fit on US letter, too."""
LEAST = 6
"""Corners of the pattern that must be seen."""


@dataclass(frozen=True)
class Board:
    """Squares and markers, by default those that are printed."""

    columns: int = 6
    rows: int = 4
    square: float = 0.042
    """Side [m]."""
    marker: float = 0.031
    """Side of the markers within [m]."""

    @property
    def pattern(self) -> cv2.aruco.CharucoBoard:
        """OpenCV's."""
        dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, dictionary)

    @property
    def corners(self) -> dict[str, np.ndarray]:
        """A to D (3,) on the board [m]."""
        right, down = self.columns * self.square, self.rows * self.square
        places = {"A": (0, 0), "B": (right, 0), "C": (right, down), "D": (0, down)}
        return {name: np.array([x, y, 0.0]) for name, (x, y) in places.items()}

    def image(self, dots_mm: int = DOTS_MM) -> np.ndarray:
        """(rows, columns) uint8 of the pattern alone, ``dots_mm`` pixels a millimetre."""
        side = round(1e3 * self.square * dots_mm)
        return self.pattern.generateImage((side * self.columns, side * self.rows), marginSize=0)

    def write(self, path: Path) -> None:
        """Print a page to ``path``, a PDF or a PNG, at true scale, with its sizes and a ruler to check them by.

        Raises:
            ValueError: the name ends in something else.
        """
        kind = path.suffix.lower()
        if kind not in (".pdf", ".png"):
            raise ValueError(f"A board is printed to a .pdf or a .png, not to {path.name}.")
        page = Image.new("L", (round(PAGE_MM[0] * DOTS_MM), round(PAGE_MM[1] * DOTS_MM)), 255)
        pattern, draw = Image.fromarray(self.image()), ImageDraw.Draw(page)
        left, top = (page.width - pattern.width) // 2, (page.height - pattern.height) // 2 - 3 * DOTS_MM
        page.paste(pattern, (left, top))
        size = 5 * DOTS_MM
        for name, place in self.corners.items():
            x, y = left + 1e3 * place[0] * DOTS_MM, top + 1e3 * place[1] * DOTS_MM
            out, away = (-1 if name in "AD" else 1), (-1 if name in "AB" else 1)
            for end in ((x + out * size, y), (x, y + away * size)):  # B and D are corners of white squares
                draw.line((x, y, *end), fill=0, width=3)
            aside = -11 * DOTS_MM if name in "AD" else 7 * DOTS_MM
            draw.text((x + aside, y - size // 2), name, fill=0, font_size=size)
        below = top + pattern.height + 8 * DOTS_MM
        draw.line((left, below, left + 100 * DOTS_MM, below), fill=0, width=3)
        sizes = f"line: 100 mm   squares: {1e3 * self.square:g} mm   markers: {1e3 * self.marker:g} mm   print at 100 %"
        draw.text((left + 104 * DOTS_MM, below - size // 3), sizes, fill=0, font_size=4 * DOTS_MM)
        part = path.with_name(f"{path.name}.part")
        inch = 25.4 * DOTS_MM
        if kind == ".pdf":
            page.save(part, format="PDF", resolution=inch)
        else:
            page.save(part, format="PNG", dpi=(inch, inch))
        os.replace(part, path)

    def find(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners of squares in a picture (H, W, 3): places on the board (M, 3) [m] and pixels (M, 2); none (0, …)
        where fewer than six are seen."""
        detector = cv2.aruco.CharucoDetector(self.pattern)
        pixels, numbers, _, _ = detector.detectBoard(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        if numbers is None or len(numbers) < LEAST:
            return np.zeros((0, 3)), np.zeros((0, 2))
        every: np.ndarray = np.array(self.pattern.getChessboardCorners(), dtype=float)
        places = every[np.array(numbers, dtype=int).ravel()]
        return places, pixels.reshape(-1, 2).astype(float)
