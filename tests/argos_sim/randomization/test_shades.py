"""Laws of the shades of links and objects; what they do to pictures is in ``test_every_axis``."""

from __future__ import annotations

from types import SimpleNamespace

import newton
import pytest
import torch

from argos_sim.randomization.shades import Paint

COLOURS = ((0.2, 0.4, 0.8), (0.1, 0.1, 0.1), (0.9, 0.3, 0.3))
"""Two shapes of one body, and one of another."""
WORLDS = 3


@pytest.fixture
def paint() -> Paint:
    """Three environments of two bodies, a table in each, and the ground that they share."""
    one = newton.ModelBuilder()
    one.add_shape_box(-1, color=(0.7, 0.7, 0.7))
    for body, colours in ((one.add_body(), COLOURS[:2]), (one.add_body(), COLOURS[2:])):
        for colour in colours:
            one.add_shape_sphere(body, color=colour)
    builder = newton.ModelBuilder()
    builder.add_ground_plane()
    builder.replicate(one, WORLDS)
    model = builder.finalize(device="cpu")
    return Paint(SimpleNamespace(_renderer=SimpleNamespace(backend=SimpleNamespace(model=model))))


def test_every_link_and_object_has_its_own_colours_and_table_and_ground_none(paint: Paint) -> None:
    assert paint.parts == 2 and paint.part.tolist() == [0, 0, 1]
    assert torch.allclose(paint.own, torch.tensor(COLOURS).expand(WORLDS, -1, -1))
    before = paint.colours.clone()
    paint.apply(torch.full((WORLDS, 2), 0.5), torch.arange(WORLDS))
    changed = (paint.colours != before).any(-1)
    assert sorted(changed.nonzero().flatten().tolist()) == sorted(paint.shapes.flatten().tolist())


def test_shades_are_of_the_named_environments_and_of_the_colours_as_modelled(paint: Paint) -> None:
    before = paint.colours.clone()
    for _ in range(2):  # the second time they are not darker still
        paint.apply(torch.tensor([[0.5, 0.9], [0.7, 0.6]]), torch.tensor([2, 0]))
    got = paint.colours[paint.shapes] / paint.own
    factors = torch.tensor([[0.7, 0.7, 0.6], [1.0, 1.0, 1.0], [0.5, 0.5, 0.9]])
    assert torch.allclose(got, factors[..., None].expand_as(got), atol=1e-6)
    paint.apply(torch.ones(WORLDS, 2), torch.arange(WORLDS))
    assert torch.equal(paint.colours, before), "to the bit"


def test_a_light_shade_ends_where_the_hue_would_change(paint: Paint) -> None:
    paint.apply(torch.full((WORLDS, 2), 2.0), torch.arange(WORLDS))
    lit = paint.colours[paint.shapes]
    assert lit.max() <= 1.0
    got = lit / paint.own
    assert torch.allclose(got, got[..., :1].expand_as(got)), "all channels by the same factor"
    assert got[0, :, 0].tolist() == pytest.approx([1 / 0.8, 2.0, 1 / 0.9])
