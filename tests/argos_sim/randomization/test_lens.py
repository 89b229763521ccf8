"""Laws of lens and occlusion."""

from __future__ import annotations

import pytest
import torch

from argos_sim.randomization.lens import Lens
from argos_sim.randomization.ranges import get_ranges

SIZE = 64


def dots(*radii: float) -> torch.Tensor:
    """A picture with a bright dot right of the centre at each radius, in half widths (1, 3, H, W)."""
    image = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)
    for radius in radii:
        column = round(SIZE / 2 * (1 + radius) - 0.5)
        image[:, :, SIZE // 2 - 1 : SIZE // 2 + 1, column - 1 : column + 2] = 255
    return image


def found(image: torch.Tensor) -> float:
    """Where along the middle row the light is, in half widths."""
    row = image[0, 0, SIZE // 2].float()
    place = (torch.arange(SIZE) + 0.5) / (SIZE / 2) - 1
    return float((row * place).sum() / row.sum())


def test_the_nominal_lens_changes_nothing_and_covers_nothing() -> None:
    images = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8)
    lens = Lens.sample(3, get_ranges("nominal"), torch.Generator().manual_seed(0))
    assert torch.equal(lens.warp(images), images)
    assert not lens.covered(SIZE, SIZE).any()


@pytest.mark.parametrize("radius", [0.3, 0.6])
def test_a_longer_lens_moves_things_outward_in_proportion(radius: float) -> None:
    lens = Lens.nominal(1)
    lens.focal_length[:] = 1.25
    assert found(lens.warp(dots(radius))) == pytest.approx(1.25 * found(dots(radius)), abs=0.02)


@pytest.mark.parametrize("k1", [0.1, -0.1])
def test_distortion_moves_things_by_brown_s_law(k1: float) -> None:
    lens = Lens.nominal(1)
    lens.distortion[:] = k1
    ideal = found(dots(0.7))
    assert found(lens.warp(dots(0.7))) == pytest.approx(ideal * (1 + k1 * ideal**2), abs=0.02)


def test_what_covers_the_picture_has_its_area_and_its_place() -> None:
    lens = Lens.nominal(2)
    lens.occlusion[:], lens.column[:], lens.row[:] = 0.25, 0.5, 0.5
    lens.aspect[:] = torch.tensor([1.0, 2.0])
    covered = lens.covered(SIZE, SIZE)
    assert covered.float().mean((1, 2)).tolist() == pytest.approx([1 / 16] * 2, rel=0.1)
    assert covered[:, SIZE // 2, SIZE // 2].all() and not covered[:, 0, 0].any()
    assert covered[1].any(0).sum() > covered[1].any(1).sum(), "wider than high"
