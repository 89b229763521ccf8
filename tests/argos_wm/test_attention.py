"""Laws of attention with rotary positions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from argos_wm.attention import RotaryPositions, attend, visible


def test_the_plain_formula_is_pytorchs_attention() -> None:
    q, k, v = (torch.randn(2, 3, n, 8) for n in (4, 5, 5))
    mask = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    reference = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
    assert torch.allclose(attend(q, k, v, visible(mask)), reference, atol=1e-6)


def test_affinity_depends_on_how_far_apart_not_on_where() -> None:
    rotary = RotaryPositions(32)
    q, k = torch.randn(1, 1, 1, 32), torch.randn(1, 1, 1, 32)

    def affinity(a: list[float], b: list[float]) -> torch.Tensor:
        return (rotary(torch.tensor([[a]]))(q) * rotary(torch.tensor([[b]]))(k)).sum()

    here = affinity([0.8, 1, 2], [0.0, 0, 1])
    assert torch.allclose(here, affinity([1.3, 3, 5], [0.5, 2, 4]), atol=1e-5)
    for elsewhere in ([0.1, 0, 1], [0.0, 1, 1], [0.0, 0, 2]):
        assert not torch.allclose(here, affinity([0.8, 1, 2], elsewhere), atol=1e-3)


def test_a_token_without_a_place_is_not_rotated() -> None:
    x = torch.randn(1, 2, 3, 32)
    assert torch.equal(RotaryPositions(32).nowhere(3)(x), x)


def test_a_head_too_small_for_three_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="head of 4"):
        RotaryPositions(4)
