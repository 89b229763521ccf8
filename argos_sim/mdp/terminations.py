"""When an episode ends early: only when its physics broke."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_JOINT_SPEED = 60.0
"""rad/s; ten times what the motors reach without load."""
MAX_DISTANCE = 2.0
"""Along each axis, of an object from its environment's origin [m]: far off the table, or fallen from it."""


def physics_broke(env) -> Tensor:
    """True where a joint or an object is nowhere (not a finite number), a joint impossibly fast, or an object gone."""
    data = env.scene["robot"].data
    slow = (data.joint_vel.torch.abs() <= MAX_JOINT_SPEED).all(-1)  # what is not a number is not slow
    # A sum is finite only where all that it sums is: one look instead of one at each number.
    placed = torch.isfinite(data.joint_pos.torch.sum(-1))
    offset = env.instruction.object_positions() - env.scene.env_origins[:, None]
    return ~(slow & placed & (offset.abs() <= MAX_DISTANCE).flatten(1).all(1))
