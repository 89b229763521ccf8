"""Laws of written pictures: what is read again is what was written."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from argos_sim.deploy.view.png import png


@pytest.mark.parametrize("shape", [(1, 1), (48, 64), (240, 240)])
def test_another_reader_finds_the_same_pixels(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(png(picture)))
    image.load()  # compares checksums
    assert image.format == "PNG" and image.mode == "RGB" and np.array_equal(np.asarray(image), picture)
