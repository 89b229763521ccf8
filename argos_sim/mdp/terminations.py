"""When an episode ends early: only when its physics broke."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_JOINT_SPEED = 60.0
"""rad/s; ten times what the motors reach without load."""


def physics_broke(env) -> Tensor:
    """True where a joint or an object is nowhere (not a finite number), or a joint impossibly fast."""
    data = env.scene["robot"].data
    slow = (data.joint_vel.torch.abs() <= MAX_JOINT_SPEED).all(-1)  # what is not a number is not slow
    # A sum is finite only where all that it sums is: one look instead of one at each number.
    places = data.joint_pos.torch.sum(-1) + env.instruction.object_positions().sum((1, 2))
    return ~(slow & torch.isfinite(places))
