"""Scripted experts that compute torques: joint-space ramps, gravity compensation and a PD law.

A movement has legs, each a linear segment with parabolic blends (Craig, Introduction to Robotics, ch. 7) between the
joints that inverse kinematics finds for the fingertip's goals: at a steady speed every planner period asks for a
movement of about the same size, where a minimum-jerk path would barely move in the first and the last. Along it,
torque = inertia · q̈_ref + gravity + back-EMF and friction at q̇_ref + PD. Back-EMF is fed forward at the reference's
speed: what the motor then takes off at the true speed damps the error without any delay. All batched over
environments, on the joint states that the engine (or the robot) reports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from argos_sim.actuators import STALL_TORQUE
from argos_sim.configs import ExpertCfg
from argos_sim.kinematics import SerialChain

if TYPE_CHECKING:
    from argos_sim.envs.latent_tracking_env import LatentTrackingEnv


CREEP = 0.05
"""Speed at which dry friction is fed forward to three quarters [rad/s]."""
SHORTEST = 0.1
"""Time that a movement takes at least, however late it is asked for [s]."""


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


@dataclass
class Arm:
    """What an expert must know of a robot: its chain of J joints, what inverse kinematics holds besides the tip, and
    how its joints are driven.

    Attributes:
        limits: (J, 2) joint limits [rad].
        torque_limit: (J,) [N·m].
        constraint: (M, J), see ``SerialChain.inverse_kinematics``.
        stiffness: (J,) feedback [N·m/rad].
        damping: (J,) feedback, beside the motor's own damping [N·m·s/rad].
        back_emf: (J,) what the motor model takes off, fed forward [N·m·s/rad].
        dry_friction: (J,) fed forward in the direction of motion [N·m].
        armature: (J,) of each rotor, added to the links' inertia [kg·m²].
        unit: (J,) what counts as a radian, see ``LatentTrackingEnvCfg.joint_units``.
        computed_torque: whether the feedback goes through the arm's inertia, its gains being 1/s² and 1/s (Craig,
            ch. 10). Where links weigh more than rotors, joints move each other, and gains of single joints would fight.
    """

    chain: SerialChain
    limits: Tensor
    torque_limit: Tensor
    constraint: Tensor
    stiffness: Tensor
    damping: Tensor
    back_emf: Tensor
    dry_friction: Tensor
    armature: Tensor
    unit: Tensor
    computed_torque: bool = False


class TorqueExpert:
    """Moves each environment's fingertip along its legs by torques.

    Args:
        arm: the robot; J joints, M rows of constraint.
        num_envs: N.
        seconds: of a movement at a pace of 1.
        legs: share of a movement's time that each leg takes; they sum to 1.
    """

    def __init__(
        self, arm: Arm, num_envs: int, seconds: float, cfg: ExpertCfg, legs: Sequence[float] = (1.0,), seed: int = 0
    ) -> None:
        if abs(sum(legs) - 1) > 1e-6:
            raise ValueError(f"The legs {tuple(legs)} of a movement sum to {sum(legs):g}; they must sum to 1.")
        self.arm, self.chain, self.cfg, self.seconds = arm, arm.chain, cfg, seconds
        self.torque_limit = arm.torque_limit
        device = arm.limits.device
        self.knots = torch.zeros(num_envs, len(legs) + 1, arm.chain.joints, device=device)
        """Joints at the ends of the legs, the first being the start (N, legs + 1, J) [rad]."""
        self.begun = torch.zeros(num_envs, device=device)
        """When the movement began, and how long it takes (N,) [s]."""
        self.duration = torch.ones(num_envs, device=device)
        self.ik_error = torch.zeros(num_envs, device=device)
        """Largest distance of a leg's end from where the fingertip should be (N,) [m]."""
        self._share = torch.tensor(legs, device=device)
        self._disturbance = torch.zeros(num_envs, arm.chain.joints, device=device)
        self._disturbed = torch.zeros(num_envs, 1, device=device)
        self._generator = torch.Generator(device=device).manual_seed(seed)

    def reseed(self, seed: int) -> None:
        """Draw from here on as a movement of this seed would."""
        self._generator.manual_seed(seed)

    @property
    def goal(self) -> Tensor:
        """Joints at the end of the movement (N, J) [rad]."""
        return self.knots[:, -1]

    def begin(self, ids: Tensor, joints: Tensor, tips: Tensor, values: Tensor, time: Tensor | float = 0.0) -> None:
        """Plan the movements of environments ``ids``, from rest. They end when they would have, had they begun at zero.

        Args:
            joints: (n, J) present positions [rad].
            tips: (n, legs, 3) where the fingertip is at the end of each leg, in the robot's base frame [m].
            values: (n, legs, M) values of the inverse kinematics' constraint there [rad].
            time: now, in the episode (n,) [s].
        """
        legs = len(self._share)
        if tips.shape[1:] != (legs, 3) or values.shape[1:] != (legs, len(self.arm.constraint)):
            raise ValueError(
                f"The waypoints of {legs} legs are {tuple(tips.shape)} tips and {tuple(values.shape)} values; they are "
                f"to be (n, {legs}, 3) and (n, {legs}, {len(self.arm.constraint)})."
            )
        arm, knots, error = self.arm, [joints], torch.zeros(len(ids), device=joints.device)
        for tip, value in zip(tips.unbind(1), values.unbind(1), strict=True):
            # From the last leg's end, so that of several postures the nearest is found.
            end, missed = arm.chain.inverse_kinematics(tip, knots[-1], arm.limits, arm.constraint, value)
            knots.append(end)
            error = torch.maximum(error, missed)
        self.knots[ids], self.ik_error[ids] = torch.stack(knots, 1), error
        low, high = self.cfg.pace
        draw = torch.rand(len(ids), 2, generator=self._generator, device=joints.device)
        self.begun[ids] = torch.as_tensor(time, device=joints.device)
        left = self.seconds * (low + (high - low) * draw[:, 0]) - self.begun[ids]
        self.duration[ids] = left.clamp_min(SHORTEST)
        self._disturbed[ids] = (draw[:, 1:] < self.cfg.noise_share).float()
        self._disturbance[ids] = 0

    def reference(self, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Positions [rad], velocities [rad/s] and accelerations [rad/s²] (N, J) at ``time (N,)`` s into the episode."""
        ends = self._share.cumsum(0)
        phase = (time - self.begun) / self.duration
        leg = (phase[:, None] >= ends[:-1]).sum(1)
        share = self._share[leg]
        s, ds, dds = blended_ramp((phase - (ends[leg] - share)) / share, self.cfg.blend)
        every = torch.arange(len(leg), device=leg.device)
        start = self.knots[every, leg]
        span = self.knots[every, leg + 1] - start
        rate = 1.0 / (self.duration * share)
        return (
            start + s[:, None] * span,
            (ds * rate)[:, None] * span,
            (dds * rate.square())[:, None] * span,
        )

    def torque(self, joints: Tensor, velocity: Tensor, time: Tensor) -> Tensor:
        """Torques (N, J) [N·m] for measured ``joints`` and ``velocity`` (N, J) at ``time (N,)`` s into the episode."""
        position_ref, velocity_ref, acceleration_ref = self.reference(time)
        gravity, inertia = self.chain.gravity_and_inertia(joints)
        arm = self.arm
        inertia = inertia + arm.armature.diag()
        forward = (inertia @ acceleration_ref.unsqueeze(-1)).squeeze(-1) + gravity
        forward = forward + arm.back_emf * velocity_ref
        forward = forward + arm.dry_friction * torch.tanh(velocity_ref / (CREEP * arm.unit))
        feedback = arm.stiffness * (position_ref - joints) + arm.damping * (velocity_ref - velocity)
        if arm.computed_torque:
            feedback = (inertia @ feedback.unsqueeze(-1)).squeeze(-1)
        return (forward + feedback).clamp(-self.torque_limit, self.torque_limit)

    def disturbance(self, control_dt: float) -> Tensor:
        """The next disturbance (N, J) [N·m], an Ornstein–Uhlenbeck process in the disturbed episodes, else zero."""
        decay = 1.0 - control_dt / self.cfg.noise_time_s
        draw = torch.randn(self._disturbance.shape, generator=self._generator, device=self._disturbance.device)
        draw = self.cfg.noise * (1 - decay**2) ** 0.5 * draw * (self.torque_limit / STALL_TORQUE)
        self._disturbance = decay * self._disturbance + draw
        return self._disturbance * self._disturbed


class TaskExpert(ABC):
    """A task's expert: plans at the start of an episode, then computes torques from what the robot senses.

    A task says where the fingertip goes (``waypoints``) and how a movement's time is shared (``LEGS``).
    """

    LEGS: tuple[float, ...] = (1.0,)
    APPROACH: int = 1
    """How many of the legs, from the first, leave everything where it lay."""

    def __init__(self, env: LatentTrackingEnv, arm: Arm, cfg: ExpertCfg, seed: int = 0) -> None:
        self.env, self.arm = env, arm
        seconds = env.cfg.plans_per_episode * env.cfg.rates.planner_period_s
        self.motion = TorqueExpert(arm, env.num_envs, seconds, cfg, self.LEGS, seed)

    @abstractmethod
    def waypoints(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ends of the legs in environments ``ids``: tips (n, legs, 3) [m] in the environment's frame, the table's top
        being at z = 0; values as in ``TorqueExpert.begin``."""

    def begin(self, ids: Tensor) -> None:
        """Plan what the instructions of environments ``ids`` ask for, from where the arm now is."""
        joints = self.env.perception.true_proprio()[ids, : self.arm.chain.joints]
        tips, values = self.waypoints(ids)
        foot = self.env.scene["robot"].data.root_pos_w.torch[ids] - self.env.scene.env_origins[ids]
        time = self.env.episode_length_buf[ids] * self.env.cfg.rates.control_dt
        self.motion.begin(ids, joints, tips - foot[:, None], values, time)

    def approaching(self, share: Tensor) -> Tensor:
        """Joints (N, J) [rad] where a ``share (N,)`` of the approach is done."""
        motion = self.motion
        return motion.reference(motion.begun + share * sum(self.LEGS[: self.APPROACH]) * motion.duration)[0]

    def redirections(self, generator: torch.Generator) -> Tensor:
        """Camera frames (N,) of the episode at which another instruction comes; 0 where none does."""
        cfg, env = self.motion.cfg, self.env
        if cfg.redirected == 0:
            return torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
        draw = torch.rand(2, env.num_envs, generator=generator, device=env.device)
        low, high = cfg.redirected_at
        seconds = (low + (high - low) * draw[1]) * sum(self.LEGS[: self.APPROACH]) * self.motion.seconds
        frame = (seconds * env.cfg.rates.camera_hz).round().long().clamp(min=1)
        return torch.where(draw[0] < cfg.redirected, frame, 0)

    def torque(self) -> Tensor:
        """Torques (N, J) [N·m] from what the robot's own encoders say."""
        joints, velocity = self.env.perception.raw_proprio.chunk(2, -1)
        time = self.env.episode_length_buf * self.env.cfg.rates.control_dt
        return self.motion.torque(joints, velocity, time)
