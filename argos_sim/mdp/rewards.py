"""Rewards of latent tracking, in standardised units, and small costs on effort."""

from __future__ import annotations

import torch
from torch import Tensor

from argos_sim.mdp.latent_target import LatentTargetCommand


def _urgency(target: LatentTargetCommand, time_scale: float) -> Tensor:
    """Weight (N,) in (0, 1]: a target matters most when it is due, since it says where to be then, not before."""
    return torch.exp(-(target.time_to_go / time_scale))


def proprio_closeness(env, scale: float, time_scale: float) -> Tensor:
    """exp(−(error / scale)²) between current and target proprioception, weighted by urgency."""
    env.perception.sense(env.common_step_counter)
    target = env.target
    return torch.exp(-(target.proprio_error() / scale).square()) * _urgency(target, time_scale)


def joint_closeness(env, scale: float, time_scale: float) -> Tensor:
    """1 / (1 + (joint error / scale)²), which still has a slope far away, weighted by urgency."""
    target = env.target
    return 1.0 / (1.0 + (target.joint_error() / scale).square()) * _urgency(target, time_scale)


def vision_closeness(env, scale: float, time_scale: float) -> Tensor:
    """exp(−error / scale) between the held vision latent and the target's, weighted by urgency."""
    target = env.target
    return torch.exp(-target.vision_error() / scale) * _urgency(target, time_scale)


def target_reached(env) -> Tensor:
    """1 in the control step after a target was judged reached."""
    return env.target.just_reached


def torque_cost(env) -> Tensor:
    """Mean square of the action (N,), in shares of the torque limits."""
    return env.action_manager.action.square().mean(-1)


def torque_rate_cost(env) -> Tensor:
    """Mean square of the action's change in one control step (N,)."""
    return (env.action_manager.action - env.action_manager.prev_action).square().mean(-1)


def joint_limit_cost(env, margin: float) -> Tensor:
    """How far, in rad summed over joints, positions are within ``margin`` [rad] of a limit."""
    data = env.scene["robot"].data
    position, limits = data.joint_pos.torch, data.joint_pos_limits.torch
    low, high = limits[..., 0] + margin, limits[..., 1] - margin
    return ((low - position).clamp_min(0) + (position - high).clamp_min(0)).sum(-1)
