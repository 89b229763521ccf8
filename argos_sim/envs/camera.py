"""The fixed camera over the workspace: its pose, and small changes of it from episode to episode.

Frames: the base of the arm is the origin of each environment, z up, the arm reaching toward −y. The camera stands
ahead of the arm and looks back and down at it. Quaternions are x, y, z, w; the camera's frame is ROS's (z forward, y
down).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class CameraPose:
    """Where the camera stands. The defaults frame arm and blocks so that a 3 cm block covers 5 to 6 of 64 pixels."""

    position: tuple[float, float, float] = (0.0, -0.62, 0.55)
    """In the environment's frame [m]."""
    pitch: float = math.radians(48.0)
    """Below the horizon [rad], looking along +y."""
    focal_length: float = 31.0
    """mm, on the aperture of 20.955 mm."""

    @property
    def quaternion(self) -> tuple[float, float, float, float]:
        """Rotation from the camera's ROS frame to the environment's, x, y, z, w: a turn about x."""
        half = 0.5 * math.atan2(-math.cos(self.pitch), -math.sin(self.pitch))
        return (math.sin(half), 0.0, 0.0, math.cos(half))


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product of quaternions (…, 4), x, y, z, w: turn by ``b``, then by ``a``."""
    av, aw, bv, bw = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    vector = aw * bv + bw * av + torch.linalg.cross(av, bv)
    return torch.cat([vector, aw * bw - (av * bv).sum(-1, keepdim=True)], -1)


def moved_poses(pose: CameraPose, origins: Tensor, shift: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """World positions (N, 3) and quaternions (N, 4) of cameras moved a little.

    Args:
        origins: (N, 3) environment origins [m].
        shift, turn: (N, 3) offset along [m], and small rotation about [rad], each axis.
    """
    position = origins + torch.tensor(pose.position, device=origins.device) + shift
    base = torch.tensor(pose.quaternion, device=origins.device).expand(len(origins), 4)
    # For angles this small, a rotation vector's half is the quaternion's vector part.
    small = torch.nn.functional.normalize(torch.cat([0.5 * turn, torch.ones_like(base[:, :1])], -1), dim=-1)
    return position, multiply(small, base)
