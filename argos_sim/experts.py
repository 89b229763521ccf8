"""A scripted expert that computes torques: a joint-space ramp, gravity compensation and a PD law.

The path is a linear segment with parabolic blends (Craig, Introduction to Robotics, ch. 7) between the present joints
and those that inverse kinematics finds for the fingertip's goal: at a steady speed every planner period asks for a
movement of about the same size, where a minimum-jerk path would barely move in the first and the last. Along it,
torque = inertia · q̈_ref + gravity + back-EMF and friction at q̇_ref + PD. Back-EMF is fed forward at the reference's
speed: what the motor then takes off at the true speed damps the error without any delay. All batched over
environments, on the joint states that the engine (or the robot) reports.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from argos_sim.kinematics import SerialChain


@dataclass(frozen=True)
class ExpertCfg:
    """Gains and timing."""

    duration_s: tuple[float, float] = (2.3, 2.4)
    """Uniform range of the time from start to goal [s]."""
    blend: float = 0.15
    """Share of that time spent speeding up, and again slowing down."""
    stiffness: tuple[float, ...] = (12.0, 12.0, 12.0, 6.0, 4.0, 4.0)
    """N·m/rad of each joint; stable with 40 ms of total delay."""
    damping: tuple[float, ...] = (0.4, 0.4, 0.4, 0.15, 0.1, 0.1)
    """N·m·s/rad of each joint, beside the motor's own."""
    back_emf: float = 0.6
    """N·m·s/rad that the motor model takes off, fed forward."""
    dry_friction: float = 0.05
    """N·m, fed forward in the direction of motion."""
    armature: float = 0.028
    """kg·m² of each rotor, added to the links' inertia."""
    noise: float = 0.0
    """Standard deviation of a slowly varying torque disturbance [N·m], executed but not recorded as the expert's
    label: the demonstrations then show how to come back (DART, Laskey 2017)."""
    noise_time_s: float = 0.15
    """Correlation time of that disturbance [s]."""
    noise_share: float = field(default=0.5)
    """Share of the episodes that are disturbed."""


def blended_ramp(phase: Tensor, blend: float) -> tuple[Tensor, Tensor, Tensor]:
    """Position, velocity and acceleration of a unit ramp at ``phase`` in [0, 1], per unit of phase.

    Args:
        phase: any shape; beyond its ends the ramp rests.
        blend: share of the phase spent speeding up, and again slowing down, at most a half.
    """
    p = phase.clamp(0.0, 1.0)
    speed = 1.0 / (1.0 - blend)
    rising, falling = p < blend, p > 1.0 - blend
    position = speed * (p - 0.5 * blend)
    position = torch.where(rising, 0.5 * speed * p**2 / blend, position)
    position = torch.where(falling, 1.0 - 0.5 * speed * (1.0 - p) ** 2 / blend, position)
    velocity = speed * torch.minimum(p, 1.0 - p).div(blend).clamp(max=1.0)
    moving = (phase > 0) & (phase < 1)
    acceleration = speed / blend * (rising.to(p) - falling.to(p)) * moving
    return position, velocity, acceleration


class TorqueExpert:
    """Moves each environment's fingertip to its goal by torques.

    Args:
        chain: the arm.
        limits: (J, 2) joint limits [rad].
        constraint, torque_limit: see ``SerialChain.inverse_kinematics``; (J,) [N·m].
        num_envs: N.
    """

    def __init__(
        self,
        chain: SerialChain,
        limits: Tensor,
        constraint: Tensor,
        torque_limit: Tensor,
        num_envs: int,
        cfg: ExpertCfg,
        seed: int = 0,
    ) -> None:
        self.chain, self.limits, self.constraint, self.cfg = chain, limits, constraint, cfg
        self.torque_limit = torque_limit
        device = limits.device
        self.start = torch.zeros(num_envs, chain.joints, device=device)
        self.goal = torch.zeros_like(self.start)
        self.duration = torch.ones(num_envs, device=device)
        self.ik_error = torch.zeros(num_envs, device=device)
        self._disturbance = torch.zeros_like(self.start)
        self._disturbed = torch.zeros(num_envs, 1, device=device)
        self._stiffness = torch.tensor(cfg.stiffness, device=device)
        self._damping = torch.tensor(cfg.damping, device=device)
        self._generator = torch.Generator(device=device).manual_seed(seed)

    def begin(self, ids: Tensor, joints: Tensor, tip_goal: Tensor, constraint_value: Tensor) -> None:
        """Plan the movements of environments ``ids``.

        Args:
            joints: (n, J) present positions [rad].
            tip_goal: (n, 3) in the base frame [m].
            constraint_value: (n, M) value of the IK's extra rows [rad].
        """
        goal, error = self.chain.inverse_kinematics(tip_goal, joints, self.limits, self.constraint, constraint_value)
        self.start[ids], self.goal[ids], self.ik_error[ids] = joints, goal, error
        low, high = self.cfg.duration_s
        draw = torch.rand(len(ids), 2, generator=self._generator, device=joints.device)
        self.duration[ids] = low + (high - low) * draw[:, 0]
        self._disturbed[ids] = (draw[:, 1:] < self.cfg.noise_share).float()
        self._disturbance[ids] = 0

    def reference(self, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Positions [rad], velocities [rad/s] and accelerations [rad/s²] (N, J) at ``time (N,)`` s into the episode."""
        s, ds, dds = blended_ramp(time / self.duration, self.cfg.blend)
        span = self.goal - self.start
        rate = 1.0 / self.duration
        return (
            self.start + s[:, None] * span,
            (ds * rate)[:, None] * span,
            (dds * rate.square())[:, None] * span,
        )

    def torque(self, joints: Tensor, velocity: Tensor, time: Tensor) -> Tensor:
        """Torques (N, J) [N·m] for measured ``joints`` and ``velocity`` (N, J) at ``time (N,)`` s into the episode."""
        position_ref, velocity_ref, acceleration_ref = self.reference(time)
        gravity, inertia = self.chain.gravity_and_inertia(joints)
        inertia = inertia + self.cfg.armature * torch.eye(self.chain.joints, device=joints.device)
        forward = (inertia @ acceleration_ref.unsqueeze(-1)).squeeze(-1) + gravity
        forward = forward + self.cfg.back_emf * velocity_ref + self.cfg.dry_friction * torch.tanh(velocity_ref / 0.05)
        feedback = self._stiffness * (position_ref - joints) + self._damping * (velocity_ref - velocity)
        return (forward + feedback).clamp(-self.torque_limit, self.torque_limit)

    def disturbance(self, control_dt: float) -> Tensor:
        """The next disturbance (N, J) [N·m], an Ornstein–Uhlenbeck process in the disturbed episodes, else zero."""
        decay = 1.0 - control_dt / self.cfg.noise_time_s
        draw = torch.randn(self._disturbance.shape, generator=self._generator, device=self._disturbance.device)
        self._disturbance = decay * self._disturbance + self.cfg.noise * (1 - decay**2) ** 0.5 * draw
        return self._disturbance * self._disturbed
