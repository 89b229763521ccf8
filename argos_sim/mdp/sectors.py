"""Places around the arm's shoulder by bearing and distance: the convention of all tasks' layouts and outcomes.

Bearings are about z, zero along −y, where the arm reaches, and grow toward +x, the camera's right.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_polar(position: Tensor, centre: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Bearing [rad] and distance [m] (…) of positions (…, 2 or 3) about ``centre`` [m], both in one frame."""
    x, y = position[..., 0] - centre[0], position[..., 1] - centre[1]
    return torch.atan2(x, -y), torch.hypot(x, y)


def from_polar(bearing: Tensor, distance: Tensor, centre: tuple[float, float]) -> Tensor:
    """Positions (…, 2) [m] at ``bearing`` [rad] and ``distance`` [m] (…): the inverse of ``to_polar``."""
    return torch.stack([centre[0] + distance * bearing.sin(), centre[1] - distance * bearing.cos()], -1)
