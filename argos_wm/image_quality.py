"""How alike two pictures are: PSNR and SSIM, on pictures (B, 3, H, W) in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

WINDOW, SIGMA = 11, 1.5
"""Of SSIM's Gaussian window, as in the paper."""
C1, C2 = 0.01**2, 0.03**2


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each pair [dB], (B,); equal pictures have 100."""
    return -10 * (a - b).square().flatten(1).mean(1).clamp_min(1e-10).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each pair (B,), averaged over colours (Wang et al. 2004, IEEE TIP 13(4))."""
    if min(a.shape[-2:]) < WINDOW:
        raise ValueError(
            f"SSIM looks through windows of {WINDOW} pixels; pictures of {tuple(a.shape[-2:])} are smaller."
        )
    moments = torch.cat([a, b, a * a, b * b, a * b], 1)
    edge = WINDOW // 2  # windows that reach beyond the picture are left out
    local = gaussian_blur(moments, [WINDOW, WINDOW], [SIGMA, SIGMA])[..., edge : -edge or None, edge : -edge or None]
    mean_a, mean_b, square_a, square_b, product = local.chunk(5, 1)
    var_a, var_b, both = square_a - mean_a**2, square_b - mean_b**2, product - mean_a * mean_b
    light = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    structure = (2 * both + C2) / (var_a + var_b + C2)
    return (light * structure).flatten(1).mean(1)
