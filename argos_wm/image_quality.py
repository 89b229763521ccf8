"""How alike two pictures are: PSNR, SSIM and LPIPS, on pictures (B, 3, H, W) in [0, 1]."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import alexnet
from torchvision.transforms.functional import gaussian_blur

from argos_wm.checkpoint import CheckpointError, load_tensors

WINDOW, SIGMA = 11, 1.5
"""Of SSIM's Gaussian window, as in the paper."""
C1, C2 = 0.01**2, 0.03**2
IMAGENET = ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450))
"""What LPIPS subtracts from pictures in [-1, 1], and divides them by."""


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


class LPIPS(nn.Module):
    """Learned perceptual distance in its AlexNet form (Zhang et al. 2018, arXiv 1801.03924, version 0.1).

    The weights are not part of ARGOS. Where the ``lpips`` package is installed, this makes them a file::

        safetensors.torch.save_model(lpips.LPIPS(net="alex"), "lpips_alex.safetensors")
    """

    SMALLEST = 31
    """Pixels of a side below which nothing reaches the last layers."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        tensors = load_tensors(path)
        # Trunk entries are called net.slice<n>.<layer>.weight, the layers counted as in torchvision's own AlexNet.
        trunk = {re.sub(r"^net\.slice\d\.", "", k): v for k, v in tensors.items() if k.startswith("net.")}
        weights = [tensors.get(f"lin{i}.model.1.weight") for i in range(5)]
        self.trunk = alexnet(weights=None).features[:12]
        own = {k: v.shape for k, v in self.trunk.state_dict().items()}
        if {k: v.shape for k, v in trunk.items()} != own or any(w is None for w in weights):
            raise CheckpointError(
                f"{path} does not hold LPIPS's AlexNet weights; see LPIPS in argos_wm/image_quality.py."
            )
        self.trunk.load_state_dict(trunk)
        self.weights: list[Tensor] = [w.flatten() for w in weights if w is not None]
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance of each pair (B,); 0 for equal pictures."""
        if min(a.shape[-2:]) < self.SMALLEST:
            raise ValueError(
                f"LPIPS needs pictures of {self.SMALLEST} pixels or more; these are {tuple(a.shape[-2:])}."
            )
        shift, scale = a.new_tensor(IMAGENET)[..., None, None]
        x = (2 * torch.cat([a, b]) - 1 - shift) / scale
        distance, taps = x.new_zeros(len(a)), iter(self.weights)
        for layer in self.trunk.children():
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                one, other = F.normalize(x, dim=1, eps=1e-10).chunk(2)
                distance += torch.einsum("bchw,c->bhw", (one - other).square(), next(taps)).mean((1, 2))
        return distance
