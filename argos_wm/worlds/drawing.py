"""Batched pictures of simple shapes: each shape is a signed distance, antialiased over one pixel.

Pictures are float (N, 3, H, W) in [0, 1] with x to the right and y up, over the unit square.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Colour = tuple[float, float, float]


def canvas(count: int, size: int, colour: Colour = (0.0, 0.0, 0.0)) -> Tensor:
    """(count, 3, size, size) of one colour."""
    return torch.tensor(colour)[None, :, None, None].expand(count, 3, size, size).clone()


def pixel_centres(size: int) -> Tensor:
    """(size, size, 2) places (x, y) of pixels, the first row at the top."""
    along = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(along.flip(0), along, indexing="ij")
    return torch.stack([x, y], -1)


def paint(picture: Tensor, distance: Tensor, colour: Sequence[float]) -> Tensor:
    """Lay a shape over pictures.

    Args:
        picture: (N, 3, H, W).
        distance: (N, H, W) signed distance of each pixel's centre to the shape's edge, negative inside [unit square].
        colour: of the shape.
    """
    cover = (0.5 - distance * picture.shape[-1]).clamp(0, 1).unsqueeze(1)
    return torch.lerp(picture, torch.tensor(colour)[None, :, None, None], cover)


def disc_distance(points: Tensor, centre: Tensor, radius: float) -> Tensor:
    """Signed distance of points (H, W, 2) to discs at centre (N, 2), (N, H, W)."""
    return (points - centre[:, None, None]).norm(dim=-1) - radius


def box_distance(points: Tensor, half: Tensor) -> Tensor:
    """Signed distance of points (…, 2) to an axis-aligned box around the origin with half sides (…, 2)."""
    q = points.abs() - half
    return q.clamp_min(0).norm(dim=-1) + q.amax(-1).clamp_max(0)


def to_uint8(picture: Tensor) -> Tensor:
    """Pictures in [0, 1] as uint8."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)
