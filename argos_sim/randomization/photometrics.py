"""Photometric randomization: what light, focus, sensor and compression do to a picture, batched over environments.

Exposure and white balance scale the channels, up to where the sensor clips. Further colour changes are linear: hue
turns the chroma plane of YIQ, saturation scales it, contrast scales about mid-grey and brightness shifts. They merge
into one 3×4 matrix per episode, so a frame costs one small matrix product a pixel. Then come a blur, noise, and a
compression. Parameters belong to an episode; only the noise is drawn anew for each frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from argos_sim.randomization.episode_values import EpisodeValues

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in YIQ's Y."""
RGB_TO_YIQ = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
BLUR_RADIUS = 2
"""Half-width of the blur kernel at 64×64 [pixels]; it holds 95 % of a Gaussian of sigma 1."""
SHAKE_RADIUS = 5
"""Likewise of a shake; 2.0 pixels, which is the most, and a blur of 1.5 together have a deviation of 2.5."""
REFERENCE_SIZE = 64
"""Blur is given in pixels of a picture of this size."""
ACROSS = 0.4
"""Least standard deviation across a motion of one pixel or more [pixels]."""
WARMTH = (1.0, 0.0, -1.0)
"""How much each channel grows with the white balance."""
BLOCK = 8
QUANTISATION = (
    (16.0, 11.0, 10.0, 16.0, 24.0, 40.0, 51.0, 61.0),
    (12.0, 12.0, 14.0, 19.0, 26.0, 58.0, 60.0, 55.0),
    (14.0, 13.0, 16.0, 24.0, 40.0, 57.0, 69.0, 56.0),
    (14.0, 17.0, 22.0, 29.0, 51.0, 87.0, 80.0, 62.0),
    (18.0, 22.0, 37.0, 56.0, 68.0, 109.0, 103.0, 77.0),
    (24.0, 35.0, 55.0, 64.0, 81.0, 104.0, 113.0, 92.0),
    (49.0, 64.0, 78.0, 87.0, 103.0, 121.0, 120.0, 101.0),
    (72.0, 92.0, 95.0, 98.0, 112.0, 100.0, 103.0, 99.0),
)
"""ITU-T T.81, table K.1: steps by which the cosine transform of luminance is rounded, in grey levels of 0 to 255."""


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
class PhotometricState(EpisodeValues):
    """Photometric parameters of N episodes, each (N,): see ``RandomizationRanges`` for their units."""

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    noise_std: Tensor
    blur_sigma: Tensor
    exposure: Tensor
    white_balance: Tensor
    motion_blur: Tensor
    motion_angle: Tensor
    compression: Tensor

    ALWAYS = {"motion_angle": (0.0, math.pi)}
    """Direction of the shake in the picture [rad]."""

    def apply(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Change ``images (N, 3, H, W)`` by these N states; uint8 stays uint8, float stays float in [0, 1].

        Args:
            generator: source of the sensor noise; None leaves the noise out.
        """
        integer = images.dtype == torch.uint8
        x = images.float() / 255.0 if integer else images
        matrix, offset = colour_matrix(self.hue, self.saturation, self.contrast, self.brightness)
        if bool((self.exposure != 1).any()) or bool((self.white_balance != 0).any()):
            light = self.exposure[:, None] * (1 + self.white_balance[:, None] * torch.tensor(WARMTH, device=x.device))
            x = (x * light[:, :, None, None]).clamp_(0.0, 1.0)  # burnt out is burnt out, whatever comes after
        x = torch.baddbmm(offset, matrix, x.flatten(2)).unflatten(2, images.shape[2:])
        scale = images.shape[-1] / REFERENCE_SIZE
        x = blur(x, self.blur_sigma * scale, self.motion_blur * scale, self.motion_angle)
        if generator is not None and bool((self.noise_std > 0).any()):
            draw = torch.randn(x.shape, generator=generator, device=generator.device).to(x.device)
            x = torch.addcmul(x, draw, self.noise_std[:, None, None, None])
        x = compress(x.clamp_(0.0, 1.0), self.compression)
        return (x * 255.0).round_().to(torch.uint8) if integer else x


def blur(images: Tensor, sigma: Tensor, motion: Tensor | None = None, angle: Tensor | None = None) -> Tensor:
    """Blur ``images (N, 3, H, W)`` by Gaussians; edges repeat, 0 is the identity.

    Args:
        sigma: (N,) standard deviation in all directions [pixels].
        motion, angle: (N,) further standard deviation along one direction [pixels], and that direction [rad].
    """
    if motion is not None and angle is not None and bool((motion > 0).any()):
        shaken = motion > 0
        result = torch.empty_like(images)
        result[~shaken] = blur(images[~shaken], sigma[~shaken])
        result[shaken] = _shake(images[shaken], sigma[shaken], motion[shaken], angle[shaken])
        return result
    if not bool((sigma > 0).any()):
        return images
    padded, steps = _padded(images, BLUR_RADIUS)
    kernel = torch.exp(-0.5 * (steps / sigma.clamp_min(1e-3)[:, None]).square())
    n, channels = images.shape[:2]
    weight = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None, None]
    across = F.conv2d(padded, weight, groups=n * channels)  # the same along both axes, one after the other
    return F.conv2d(across, weight.transpose(2, 3), groups=n * channels).reshape(images.shape)


def _padded(images: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Pictures (1, N 3, H + 2r, W + 2r) with repeated edges, and a kernel's steps (2r + 1,); ``radius`` at 64×64."""
    r = max(1, radius * images.shape[-1] // REFERENCE_SIZE)
    padded = F.pad(images, (r, r, r, r), mode="replicate").flatten(0, 1)[None]
    return padded, torch.arange(-r, r + 1, device=images.device)


def _shake(images: Tensor, sigma: Tensor, motion: Tensor, angle: Tensor) -> Tensor:
    """See ``blur``; all of these shake."""
    padded, steps = _padded(images, SHAKE_RADIUS)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    along = x * angle.cos()[:, None, None] + y * angle.sin()[:, None, None]
    across = x.square() + y.square() - along.square()
    # Across the motion at least so wide that a line between pixels is not lost.
    narrow = torch.maximum(sigma, ACROSS * motion.clamp(max=1.0)).square()[:, None, None]
    wide = (sigma.square() + motion.square())[:, None, None]
    kernel = torch.exp(-0.5 * (across / narrow + along.square() / wide))
    n, channels = images.shape[:2]
    weight = (kernel / kernel.sum((1, 2), keepdim=True)).repeat_interleave(channels, 0)[:, None]
    return F.conv2d(padded, weight, groups=n * channels).reshape(images.shape)


def compress(images: Tensor, coarseness: Tensor) -> Tensor:
    """Quantise ``images (N, 3, H, W)`` in [0, 1] as JPEG does: the cosine transform of blocks of 8 × 8 pixels, rounded.

    Args:
        coarseness: (N,) of the rounding, in units of the standard's luminance table (ITU-T T.81, table K.1, which is
            that of quality 50), used for every channel; 0 is the identity.
    """
    if not bool((coarseness > 0).any()):
        return images
    height, width = images.shape[-2:]
    transform = _cosines(images.device)
    whole = F.pad(images, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
    blocks = whole.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4) * 255.0
    step = coarseness.clamp_min(1e-3)[:, None, None, None, None, None] * torch.tensor(
        QUANTISATION, device=images.device
    )
    coefficients = transform @ blocks @ transform.T
    seen = transform.T @ ((coefficients / step).round_() * step) @ transform
    return (seen.transpose(3, 4).flatten(4, 5).flatten(2, 3) / 255.0)[..., :height, :width].clamp_(0.0, 1.0)


def _cosines(device: torch.device) -> Tensor:
    """The orthonormal cosine transform (8, 8), a frequency a row."""
    index = torch.arange(BLOCK, dtype=torch.float32, device=device)
    rows = torch.cos(math.pi / BLOCK * (index + 0.5) * index[:, None]) * (2 / BLOCK) ** 0.5
    return rows * torch.where(index == 0, 0.5**0.5, 1.0)[:, None]
