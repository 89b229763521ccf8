"""What the controller senses (groups ``proprio``, ``vision``, ``target_vision``) and what only the critic knows.

The order of the flat groups is the order in which ``argos_sim.controller.network`` takes them apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from argos_sim.mdp.latent_target import LatentTargetCommand


def _target(env) -> LatentTargetCommand:
    command = env.target
    # Isaac Lab calls each term once while it is being built, to learn its shape; there is nothing to plan for then.
    if hasattr(env, "observation_manager"):
        command.ensure_ready()
    return command


def proprio_history(env) -> Tensor:
    """The current proprioceptive latent and its K predecessors, oldest first (N, (K + 1) D)."""
    _target(env)
    return env.perception.recent_proprio.flatten(1)


def target_proprio(env) -> Tensor:
    """The target's proprioceptive latent (N, D)."""
    return _target(env).target_proprio


def last_action(env) -> Tensor:
    """The previous action, in shares of the torque limits (N, J)."""
    return env.action_manager.action


def time_to_go(env) -> Tensor:
    """Time until the target is due (N, 1) [s]."""
    return _target(env).time_to_go[:, None]


def vision(env) -> Tensor:
    """The current vision latent (N, P C)."""
    _target(env)
    return env.perception.vision.flatten(1)


def target_vision(env) -> Tensor:
    """The target's vision latent (N, P C)."""
    return _target(env).target_vision.flatten(1)


def privileged(env) -> Tensor:
    """True state, target and dynamics, for the critic only (N, …)."""
    target, instruction = _target(env), env.instruction
    actuator = env.motors
    true = env.perception.true_proprio()
    position = instruction.object_positions()
    parts = [
        true,
        target.target_raw,
        target.target_raw - true,
        target.path_error() * 10.0,
        (position - env.scene.env_origins[:, None]).flatten(1) * 5.0,
        instruction.named_position() * 5.0,
        instruction.tip_distance() * 10.0,
        instruction.command,
        # What is done is rewarded as often as a target is judged while it lasts, and in `reach` that something else was
        # touched first ends the hope of it: neither shows in the present state.
        instruction.success[:, None].float(),
        torch.nn.functional.one_hot(instruction.first_touched + 1, len(instruction.objects) + 1).float(),
        target.time_to_go[:, None],
        target.vision_error()[:, None],
        target.given_vision_error[:, None],
        torch.stack(list(target.just.values()), -1),
        actuator.strength,
        actuator.back_emf_scale,
        actuator.viscous * 10.0,
        actuator.dead_band * 25.0,
        actuator.voltage_sag * 5.0,
        actuator.backlash / env.joint_unit * 100.0,
        actuator.delay[:, None].float() / 4.0,
        env.perception.delay_steps[:, None] / 4.0,
        env.perception.encoder_bias / env.joint_unit * 50.0,
        env.disturbances.acceleration.flatten(1),
        env.disturbances.pushes.sum(1),
        env.action_manager.action,
    ]
    return torch.cat(parts, -1)
