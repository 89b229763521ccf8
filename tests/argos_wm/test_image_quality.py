"""Laws of picture quality, and values worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from argos_wm.checkpoint import CheckpointError
from argos_wm.image_quality import C1, LPIPS, psnr, ssim


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


def lpips_file(path: Path) -> dict[str, torch.Tensor]:
    """A file such as the ``lpips`` package's own class gives, with weights that anyone can make again."""
    shapes = {"1.0": (64, 3, 11, 11), "2.3": (192, 64, 5, 5), "3.6": (384, 192, 3, 3), "4.8": (256, 384, 3, 3)}
    shapes["5.10"] = (256, 256, 3, 3)
    names: list[tuple[str, tuple[int, ...]]] = []
    for layer, shape in shapes.items():
        names += [(f"net.slice{layer}.weight", shape), (f"net.slice{layer}.bias", shape[:1])]
    names += [(f"lin{i}.model.1.weight", (1, shape[0], 1, 1)) for i, shape in enumerate(shapes.values())]
    tensors = {}
    for i, (name, shape) in enumerate(names):
        count = math.prod(shape)
        wave = torch.sin(torch.arange(count, dtype=torch.float64) * (0.7 + 0.1 * i)).float().reshape(shape)
        tensors[name] = (wave.abs() if name.startswith("lin") else wave) / max(1, count // shape[0]) ** 0.5
    save_file(tensors, path)
    return tensors


def test_lpips_is_the_published_one(tmp_path: Path) -> None:
    """The expected numbers are those of the ``lpips`` package (0.1.4), given the same weights."""
    lpips_file(tmp_path / "alex.safetensors")
    lpips = LPIPS(tmp_path / "alex.safetensors")
    y, x = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 40), indexing="ij")
    a, b = torch.stack([x, y, x * y]), torch.stack([y, x * x, 1 - x])
    mixed = (a + 0.1 * b).clamp(0, 1)
    distances = lpips(torch.stack([a, a, a]), torch.stack([b, a, mixed]))
    assert distances.tolist() == pytest.approx([0.02431345, 0.0, 0.00018995], rel=1e-3, abs=1e-7)
    with pytest.raises(ValueError, match="31 pixels"):
        lpips(a[None, :, :30, :30], b[None, :, :30, :30])


def test_another_file_is_not_taken_for_lpips(tmp_path: Path) -> None:
    tensors = lpips_file(tmp_path / "alex.safetensors")
    del tensors["lin3.model.1.weight"]
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="does not hold LPIPS"):
        LPIPS(tmp_path / "other.safetensors")
