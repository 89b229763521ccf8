"""Photometric randomization: what light, lens and sensor do to a picture, batched over environments.

Colour changes are linear: hue turns the chroma plane of YIQ, saturation scales it, contrast scales about mid-grey and
brightness shifts. They merge into one 3×4 matrix per episode, so a frame costs one small matrix product a pixel. Then
comes a separable blur, then noise. Parameters belong to an episode; only the noise is drawn anew for each frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from argos_sim.randomization.ranges import RandomizationRanges

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in YIQ's Y."""
RGB_TO_YIQ = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
BLUR_RADIUS = 2
"""Half-width of the blur kernel at 64×64 [pixels]; it holds 95 % of a Gaussian of sigma 1."""
REFERENCE_SIZE = 64
"""Blur is given in pixels of a picture of this size."""


def colour_matrix(hue: Tensor, saturation: Tensor, contrast: Tensor, brightness: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix (N, 3, 3) and offset (N, 3, 1) that apply all four to colours in [0, 1]; every argument is (N,).

    Args:
        hue: [turns]; 0 and 1 are the identity.
        saturation, contrast: factors; 1 is the identity.
        brightness: added.
    """
    to_yiq = torch.tensor(RGB_TO_YIQ, dtype=torch.float64, device=hue.device)
    angle = math.tau * hue.double()
    turn = torch.zeros(len(hue), 3, 3, dtype=torch.float64, device=hue.device)
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 2, 1] = saturation * angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    matrix = torch.linalg.inv(to_yiq) @ turn @ to_yiq * contrast[:, None, None]
    offset = (0.5 - 0.5 * contrast + brightness)[:, None, None].expand(-1, 3, 1)
    return matrix.float(), offset.float()


@dataclass
class PhotometricState:
    """Photometric parameters of N episodes, each (N,): see ``RandomizationRanges`` for their units.

    ``PhotometricState.nominal(n)`` leaves pictures as they are; ``resample`` draws new parameters for the episodes
    that begin; indexing with ids gives the state of some environments, for cameras that do not all tick at once.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    noise_std: Tensor
    blur_sigma: Tensor

    @staticmethod
    def nominal(count: int, device: torch.device | str = "cpu") -> PhotometricState:
        """The identity for ``count`` environments."""
        zeros, ones = torch.zeros(count, device=device), torch.ones(count, device=device)
        return PhotometricState(zeros.clone(), ones.clone(), ones.clone(), zeros.clone(), zeros.clone(), zeros.clone())

    @staticmethod
    def sample(
        count: int, ranges: RandomizationRanges, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> PhotometricState:
        """Parameters of ``count`` new episodes."""
        state = PhotometricState.nominal(count, device)
        state.resample(torch.arange(count, device=device), ranges, generator)
        return state

    def __len__(self) -> int:
        return self.hue.shape[0]

    def __getitem__(self, ids: Tensor) -> PhotometricState:
        return PhotometricState(*(getattr(self, f.name)[ids] for f in fields(self)))

    def resample(self, ids: Tensor, ranges: RandomizationRanges, generator: torch.Generator) -> None:
        """Draw new parameters for the environments ``ids``, in place."""
        for f in fields(self):
            low, high = getattr(ranges, f.name)
            draw = torch.rand(len(ids), generator=generator, device=generator.device).to(self.hue.device)
            getattr(self, f.name)[ids] = low + (high - low) * draw

    def apply(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Change ``images (N, 3, H, W)`` by these N states; uint8 stays uint8, float stays float in [0, 1].

        Args:
            generator: source of the sensor noise; None leaves the noise out.
        """
        integer = images.dtype == torch.uint8
        x = images.float() / 255.0 if integer else images
        matrix, offset = colour_matrix(self.hue, self.saturation, self.contrast, self.brightness)
        x = torch.baddbmm(offset, matrix, x.flatten(2)).unflatten(2, images.shape[2:])
        x = blur(x, self.blur_sigma * (images.shape[-1] / REFERENCE_SIZE))
        if generator is not None and bool((self.noise_std > 0).any()):
            draw = torch.randn(x.shape, generator=generator, device=generator.device).to(x.device)
            x = torch.addcmul(x, draw, self.noise_std[:, None, None, None])
        x = x.clamp_(0.0, 1.0)
        return (x * 255.0).round_().to(torch.uint8) if integer else x


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur ``images (N, 3, H, W)`` by Gaussians of ``sigma (N,)`` pixels; edges repeat, sigma 0 is the identity."""
    if not bool((sigma > 0).any()):
        return images
    radius = max(1, BLUR_RADIUS * images.shape[-1] // REFERENCE_SIZE)
    steps = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (steps / sigma.clamp_min(1e-3).unsqueeze(1)).square())
    kernel = kernel / kernel.sum(1, keepdim=True)
    n, channels, height, _ = images.shape
    weight = kernel.repeat_interleave(channels, 0)[:, None, None]
    padded = F.pad(images, (radius, radius, radius, radius), mode="replicate").reshape(
        1, n * channels, height + 2 * radius, -1
    )
    across = F.conv2d(padded, weight, groups=n * channels)
    return F.conv2d(across, weight.transpose(2, 3), groups=n * channels).reshape(images.shape)
