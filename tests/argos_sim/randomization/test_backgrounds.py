"""Laws of the procedural backgrounds and of compositing."""

from __future__ import annotations

import pytest
import torch

from argos_sim.randomization.backgrounds import (
    FAMILIES,
    VIVID_CHROMA,
    Grid,
    canonical_background,
    composite,
    make_background_bank,
    random_colours,
)
from argos_sim.randomization.ranges import TRAIN_FAMILIES, UNSEEN_FAMILIES


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_compositing_never_touches_the_foreground(dtype: torch.dtype) -> None:
    images = (torch.rand(4, 3, 16, 16, generator=seeded()) * 200).to(dtype)
    backgrounds = images + 40
    foreground = torch.rand(4, 16, 16, generator=seeded(1)) > 0.5
    result = composite(images, foreground, backgrounds)
    inside = foreground.unsqueeze(1).expand_as(images)
    assert result.dtype == dtype
    assert torch.equal(result[inside], images[inside])
    assert torch.equal(result[~inside], backgrounds[~inside])


def test_every_family_is_known_and_varies_between_episodes() -> None:
    for name in TRAIN_FAMILIES + UNSEEN_FAMILIES:
        bank = make_background_bank([name], 8, (24, 32), seeded())
        assert bank.shape == (8, 3, 24, 32) and bank.dtype == torch.uint8
        assert bank.flatten(1).unique(dim=0).shape[0] == 8, name


def test_a_family_scales_with_the_resolution() -> None:
    small = make_background_bank(["stripes", "gradient"], 4, 32, seeded()).float()
    large = make_background_bank(["stripes", "gradient"], 4, 128, seeded()).float()
    assert (torch.nn.functional.avg_pool2d(large, 4) - small).abs().mean() < 12.0


def test_a_bank_is_made_of_its_families_in_turn_and_by_its_seed() -> None:
    bank = make_background_bank(["plain", "checker"], 7, 16, seeded(3))
    assert torch.equal(bank, make_background_bank(["plain", "checker"], 7, 16, seeded(3)))
    spread = bank.float().flatten(2).std(-1).sum(-1)
    assert (spread[0::2] == 0).all() and (spread[1::2] > 0).all()


def test_fewer_backgrounds_than_families_are_of_the_first_ones() -> None:
    families = ["plain", "checker", "voronoi", "photographs:nowhere"]
    few, more = (make_background_bank(families, count, 16, seeded()) for count in (1, 2))
    assert len(few) == 1 and len(more) == 2 and torch.equal(more[:1], few)


def test_no_background_colour_is_as_vivid_as_a_block() -> None:
    colours = random_colours(Grid.make(2000, (1, 1), "cpu"), 2, seeded())
    chroma = colours.amax(-1) - colours.amin(-1)
    assert colours.min() >= 0 and colours.max() <= 1
    assert 0.45 < chroma.max() <= VIVID_CHROMA + 1e-6


def test_the_canonical_family_is_the_canonical_background() -> None:
    assert torch.equal(make_background_bank(["canonical"], 1, 8, seeded()), canonical_background(8))


def test_an_unknown_family_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="lava.*plain"):
        make_background_bank(["plain", "lava"], 4, 16, seeded())
    assert "plain" in FAMILIES
