"""Laws of picture quality, and values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from argos_wm.image_quality import C1, psnr, ssim


def pictures(seed: int, size: int = 24) -> torch.Tensor:
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_equal_pictures_are_as_alike_as_can_be() -> None:
    a = pictures(0)
    assert psnr(a, a).tolist() == pytest.approx([100.0] * 3)
    assert ssim(a, a).tolist() == pytest.approx([1.0] * 3, abs=1e-4)


def test_psnr_of_a_constant_difference() -> None:
    a = 0.5 * pictures(0)
    assert psnr(a, a + 0.1).tolist() == pytest.approx([20.0] * 3, abs=1e-3)


def test_ssim_of_flat_pictures_is_their_light_and_noise_has_no_structure_in_common() -> None:
    a, b = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    assert float(ssim(a, b)) == pytest.approx((2 * 0.12 + C1) / (0.04 + 0.36 + C1), abs=1e-4)
    x, y = pictures(0, 64), pictures(1, 64)
    assert (ssim(x, y).abs() < 0.1).all()
    assert torch.allclose(ssim(x, y), ssim(y, x), atol=1e-6)
    worse = [float(ssim(x, (x + s * (y - 0.5)).clamp(0, 1)).mean()) for s in (0.1, 0.3, 0.9)]
    assert worse == sorted(worse, reverse=True) and worse[0] > 0.9
    assert not math.isnan(sum(worse))


def test_pictures_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="windows of 11 pixels"):
        ssim(pictures(0, 8), pictures(1, 8))
