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


@pytest.mark.parametrize("k1", [0.15, -0.07])
def test_distortion_moves_things_by_brown_s_law_out_to_the_corner(k1: float) -> None:
    side = torch.linspace(0, 1, SIZE)
    ramp = torch.stack([side.expand(SIZE, SIZE), side[:, None].expand(SIZE, SIZE), torch.zeros(SIZE, SIZE)])
    lens = Lens.nominal(1)
    lens.distortion[:] = k1
    seen = lens.warp((ramp * 255).round().to(torch.uint8)[None])[0].float() / 255
    place = (torch.arange(SIZE) + 0.5) / (SIZE / 2) - 1
    ideal = (seen[:2] - 0.5) * 2 * (1 - 1 / SIZE)  # the ramp tells where the light came from
    here = torch.stack([place.expand(SIZE, SIZE), place[:, None].expand(SIZE, SIZE)])
    expected = ideal * (1 + k1 * ideal.square().sum(0))
    # A lens that bends lines inward shows more than there was, and mirrors it.
    inside = (ideal.abs() < 0.97).all(0) & (here.abs() < (1.0 if k1 > 0 else 0.85)).all(0)
    assert inside.float().mean() > 0.7 and (inside[1, 1] or k1 < 0)
    assert (expected - here)[:, inside].abs().max() < 0.03


def test_a_lens_is_round_in_a_wide_picture() -> None:
    lens = Lens.nominal(1)
    lens.distortion[:] = 0.15
    wide = lens.warp(dots(0.6)[:, :, SIZE // 4 : 3 * SIZE // 4])
    square = lens.warp(dots(0.6))
    assert (wide.float() - square[:, :, SIZE // 4 : 3 * SIZE // 4].float()).abs().max() <= 1


def test_what_covers_the_picture_has_its_area_and_its_place() -> None:
    lens = Lens.nominal(2)
    lens.occlusion[:], lens.column[:], lens.row[:] = 0.25, 0.5, 0.5
    lens.aspect[:] = torch.tensor([1.0, 2.0])
    covered = lens.covered(SIZE, SIZE)
    assert covered.float().mean((1, 2)).tolist() == pytest.approx([1 / 16] * 2, rel=0.1)
    assert covered[:, SIZE // 2, SIZE // 2].all() and not covered[:, 0, 0].any()
    assert covered[1].any(0).sum() > covered[1].any(1).sum(), "wider than high"
