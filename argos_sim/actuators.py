"""Motors as torque sources: a command in, a torque out that falls with speed; and the STS3215 servo as one of them.

A command is stated as the torque that it would give at standstill (N·m, within ± stall torque; N for a joint that
slides), and what is lost to speed takes from it, a constant b of each joint:

    effort = clip(strength * voltage * delayed command - back_emf_scale * b * velocity, ± stall torque).

A servo's DC motor behind a gear is driven by the duty of its PWM: a voltage, not a current, is what it is given, and
that loss is back-EMF, b = stall torque / no-load speed = 2.94 N·m / 4.9 rad/s = 0.6 N·m·s/rad for the STS3215 (12 V).
It is the damping that was identified on the real arm (0.60 N·m·s/rad), so the joint itself must have no viscous damping
(it would count twice). Where a motor's current is controlled, b is the joint's viscous friction alone. Dry friction and
the rotor's inertia are properties of the joint, which the solver keeps.

What a real motor does beside that is nominally off: a command within the dead band gives nothing; the voltage sags with
what all motors together are asked for; through the gears' play an effort reaches the joint only from the side at which
they touch (rotor and friction stay with the joint, the motor crosses the gap at its free speed); grease damps.

Isaac Lab runs a custom explicit actuator only with ``SimulationCfg(use_newton_actuators=False)``.
"""

# Isaac Lab's configurations are filled in later (MISSING).
# pyright: reportAssignmentType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING
from typing import Any

import torch
from isaaclab.actuators import ActuatorBase, ActuatorBaseCfg
from isaaclab.utils import DelayBuffer, configclass
from isaaclab.utils.types import ArticulationActions
from torch import Tensor

STALL_TORQUE = 2.94
"""Torque of the STS3215 at standstill and full duty [N·m], 12 V version."""

NO_LOAD_SPEED = 4.9
"""Speed at full duty without load [rad/s], 12 V version."""

BACK_EMF = STALL_TORQUE / NO_LOAD_SPEED
"""Torque lost per speed [N·m·s/rad]: 0.6."""

DRY_FRICTION = 0.052
"""Coulomb friction seen at the joint [N·m], identified."""

ARMATURE = 0.028
"""Rotor inertia seen at the joint, through the gear [kg·m²], identified."""

UNCLIPPED_EFFORT = 1e3
"""Joint effort limit given to the solver [N·m]: out of reach, so that only the motor model clips."""

PARTS = ("dead_band", "voltage_sag", "backlash", "viscous")
"""Tensors of the motor model that are nominally zero, and whose parts of it then cost nothing."""

PerJoint = float | dict[str, float]
"""One number for all joints, or one for each by its name."""


def per_joint(value: PerJoint, names: Sequence[str]) -> list[float]:
    """``value`` of each joint in ``names``."""
    return [float(value[name] if isinstance(value, dict) else value) for name in names]


class MotorActuator(ActuatorBase):
    """An explicit Isaac Lab actuator with the torque-speed line, strength and command delay of each environment.

    Randomization writes its tensors in place and calls ``set_delay``. A reset keeps them all. Whoever writes one of
    ``PARTS`` need not say so: it acts from the next effort on.

    Attributes:
        stall_torque: (J,) [N·m].
        back_emf: (J,) torque lost per speed, b [N·m·s/rad].
    """

    cfg: MotorActuatorCfg

    def __init__(self, cfg: MotorActuatorCfg, *args, stiffness: Any = 0.0, damping: Any = 0.0, **kwargs):
        # Isaac Lab hands the joint's gains to every explicit model; this one has none.
        super().__init__(cfg, *args, **kwargs)
        size = (self._num_envs, self.num_joints)
        self.stall_torque, self.back_emf = (
            torch.tensor(per_joint(value, self.joint_names), device=self._device)
            for value in (cfg.stall_torque, cfg.back_emf)
        )
        self._mean_stall = sum(per_joint(cfg.stall_torque, self.joint_names)) / self.num_joints
        self.strength = torch.ones(size, device=self._device)
        """Share of the nominal torque that a command gives (N, J): supply voltage, wear."""
        self.back_emf_scale = torch.ones(size, device=self._device)
        """Share of the nominal back-EMF (N, J)."""
        self.viscous = torch.zeros(size, device=self._device)
        """Damping of the joint beside the motor's (N, J) [N·m·s/rad]."""
        self.dead_band = torch.zeros(size, device=self._device)
        """Command below which a motor gives nothing (N, J) [N·m]."""
        self.voltage_sag = torch.zeros(self._num_envs, 1, device=self._device)
        """Share of the voltage lost when all motors are asked for their most (N, 1)."""
        self.backlash = torch.zeros(size, device=self._device)
        """Half of the gears' play (N, J) [rad]."""
        self._play = torch.zeros(size, device=self._device)  # of the motor before the joint, within ± backlash [rad]
        self._delay = DelayBuffer(cfg.max_delay, self._num_envs, device=self._device)
        self._known_writes: list[tuple[int, int]] = []  # by which `in_force` was found
        self._in_force: frozenset[str] = frozenset()

    @property
    def delay(self) -> Tensor:
        """Age of the command in force, in physics steps (N,)."""
        return self._delay.time_lags

    def set_delay(self, steps: Tensor | int, env_ids: Sequence[int] | Tensor | None = None) -> None:
        """Set how many physics steps old a command is when it acts: one number, or ``(len(env_ids),)`` integers."""
        self._delay.set_time_lag(steps, env_ids)  # pyright: ignore[reportArgumentType]

    def reset(self, env_ids: Sequence[int] | None) -> None:
        """Forget the commands under way: the first new command acts at once, until younger ones have come of age."""
        self._delay.reset(env_ids)
        self._play[slice(None) if env_ids is None else env_ids] = 0

    @property
    def in_force(self) -> frozenset[str]:
        """Those of ``PARTS`` that any motor has.

        By what the tensors hold, not by the ranges that they were drawn from, which a shift need not ask. They are
        looked at again only when one was written (torch counts that), so a GPU is waited for once a reset at most.
        """
        tensors = [getattr(self, name) for name in PARTS]
        writes = [(id(values), values._version) for values in tensors]
        if writes != self._known_writes:
            some = torch.stack([values.any() for values in tensors]).tolist()
            self._known_writes, self._in_force = writes, frozenset(n for n, has in zip(PARTS, some, strict=True) if has)
            if "backlash" not in self._in_force:
                self._play.zero_()
        return self._in_force

    def compute(self, control_action: ArticulationActions, joint_pos: Tensor, joint_vel: Tensor) -> ArticulationActions:
        """Turn commanded efforts into joint torques (N, J) [N·m]; position and velocity targets are ignored."""
        stall, parts, strength = self.stall_torque, self.in_force, self.strength
        least = -stall
        assert control_action.joint_efforts is not None, "an explicit actuator is always given efforts"
        command = self._delay.compute(control_action.joint_efforts).clamp(least, stall)
        if "dead_band" in parts:
            command = command * (command.abs() >= self.dead_band)
        if "voltage_sag" in parts:
            strength = strength * (1 - self.voltage_sag * command.abs().mean(1, keepdim=True) / self._mean_stall)
        driven = strength * command
        self.computed_effort = driven - self.back_emf_scale * self.back_emf * joint_vel
        effort = self.computed_effort.clamp(least, stall)
        if "backlash" in parts:
            effort = effort * self._touching(driven, effort, joint_vel)
        if "viscous" in parts:
            effort = effort - self.viscous * joint_vel
        self.applied_effort = effort
        control_action.joint_efforts = effort
        control_action.joint_positions = None
        control_action.joint_velocities = None
        return control_action

    def _touching(self, driven: Tensor, effort: Tensor, joint_vel: Tensor) -> Tensor:
        """Whether (N, J) the gears touch on the side to which ``effort`` pushes, after the motor's next step."""
        free_speed = driven / (self.back_emf_scale * self.back_emf)
        step = (free_speed - joint_vel) * self.cfg.physics_dt
        self._play = torch.clamp(self._play + step, -self.backlash, self.backlash)
        return torch.where(effort > 0, self._play >= self.backlash, self._play <= -self.backlash)


@configclass
class MotorActuatorCfg(ActuatorBaseCfg):
    """Settings of ``MotorActuator``."""

    class_type: type = MotorActuator

    stall_torque: PerJoint = MISSING
    """Torque at standstill and full command [N·m]; also the clip of command and effort."""

    back_emf: PerJoint = MISSING
    """Torque lost per speed, b [N·m·s/rad]."""

    max_delay: int = 16
    """Longest command delay that can be set, in physics steps (80 ms at 200 Hz)."""

    physics_dt: float = 0.005
    """Time between two efforts [s]; the environment sets it from its rates."""

    stiffness: float = 0.0
    """No spring: a servo's own position loop is off."""

    damping: float = 0.0
    """None at the joint: back-EMF is in the motor model."""

    armature: PerJoint = MISSING
    """Rotor inertia, added to the joint's diagonal of the mass matrix [kg·m²]."""

    friction: PerJoint = MISSING
    """Torque up to which the joint holds still [N·m]. Coulomb friction in N·m on both engines, measured with the
    STS3215's: the pan joint breaks away between 0.045 and 0.060 N·m. PhysX holds it still; Newton's soft constraint
    creeps by 0.5 mrad/s."""

    dynamic_friction: PerJoint = MISSING
    """Friction of a moving joint [N·m]: PhysX asks for it apart and defaults to none, Newton uses ``friction``.
    Measured on both, the speed under torque u settles at (u - friction) / b."""

    viscous_friction: float = 0.0
    """None at the joint, as for ``damping``."""

    actuator_effort_limit: PerJoint = MISSING
    """Known to Isaac Lab's own limits and randomizers [N·m]; the motor model clips by ``stall_torque``."""

    actuator_velocity_limit: PerJoint = MISSING
    """Fastest that a joint may turn [rad/s]; for Isaac Lab's soft limits and exports, never a clamp in the solver."""

    joint_effort_limit: float = UNCLIPPED_EFFORT
    """The solver would clip the efforts of an explicit actuator a second time [N·m]."""


@configclass
class STS3215ActuatorCfg(MotorActuatorCfg):
    """The STS3215 servo (12 V)."""

    stall_torque: PerJoint = STALL_TORQUE
    back_emf: PerJoint = BACK_EMF
    armature: PerJoint = ARMATURE
    friction: PerJoint = DRY_FRICTION
    dynamic_friction: PerJoint = DRY_FRICTION
    actuator_effort_limit: PerJoint = STALL_TORQUE
    actuator_velocity_limit: PerJoint = NO_LOAD_SPEED
