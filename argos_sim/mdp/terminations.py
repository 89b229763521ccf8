"""When an episode ends early: only when its physics broke."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_JOINT_SPEED = 60.0
"""rad/s; ten times what the motors reach without load."""


def physics_broke(env) -> Tensor:
    """True where a joint or an object is nowhere (not a finite number), or a joint impossibly fast."""
    data = env.scene["robot"].data
    state = torch.cat([data.joint_pos.torch, data.joint_vel.torch], -1)
    objects = env.instruction.object_poses()[0].flatten(1)
    return ~torch.isfinite(torch.cat([state, objects], -1)).all(-1) | (
        data.joint_vel.torch.abs() > MAX_JOINT_SPEED
    ).any(-1)
