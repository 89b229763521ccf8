"""The STS3215 servo as a torque source: a DC motor behind a gear, driven by the duty of its PWM.

A voltage, not a current, is what such a servo is given. Its command is therefore stated as the torque that this
voltage would give at standstill (N·m, within ± stall torque), and back-EMF takes from it in proportion to the speed:

    effort = clip(strength * voltage * delayed command - back_emf_scale * b * velocity, ± stall torque),
    b = stall torque / no-load speed = 2.94 N·m / 4.9 rad/s = 0.6 N·m·s/rad (12 V).

``b`` is the damping that was identified on the real arm (0.60 N·m·s/rad), so the joint itself must have no viscous
damping: it would count twice. Dry friction and the rotor's inertia are properties of the joint, which the solver keeps.

What a real servo does beside that is nominally off: a command within the dead band gives nothing; the voltage sags with
what all motors together are asked for; through the gears' play an effort reaches the joint only from the side at which
they touch (rotor and friction stay with the joint, the motor crosses the gap at its free speed); grease damps.

Isaac Lab runs a custom explicit actuator only with ``SimulationCfg(use_newton_actuators=False)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from isaaclab.actuators import ActuatorBase, ActuatorBaseCfg
from isaaclab.utils import DelayBuffer, configclass
from isaaclab.utils.types import ArticulationActions
from torch import Tensor

STALL_TORQUE = 2.94
"""Torque at standstill and full duty [N·m], 12 V version."""

NO_LOAD_SPEED = 4.9
"""Speed at full duty without load [rad/s], 12 V version."""

DRY_FRICTION = 0.052
"""Coulomb friction seen at the joint [N·m], identified."""

ARMATURE = 0.028
"""Rotor inertia seen at the joint, through the gear [kg·m²], identified."""

UNCLIPPED_EFFORT = 1e3
"""Joint effort limit given to the solver [N·m]: out of reach, so that only the motor model clips."""


class STS3215Actuator(ActuatorBase):
    """An explicit Isaac Lab actuator with the torque-speed line, strength and command delay of each environment.

    Randomization writes its tensors in place and calls ``set_delay``. A reset keeps them all.
    """

    cfg: STS3215ActuatorCfg

    def __init__(self, cfg: STS3215ActuatorCfg, *args, stiffness: Any = 0.0, damping: Any = 0.0, **kwargs):
        # Isaac Lab hands the joint's gains to every explicit model; this one has none.
        super().__init__(cfg, *args, **kwargs)
        size = (self._num_envs, self.num_joints)
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

    @property
    def back_emf(self) -> float:
        """Torque lost per speed, b [N·m·s/rad]."""
        return self.cfg.stall_torque / self.cfg.no_load_speed

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

    def compute(self, control_action: ArticulationActions, joint_pos: Tensor, joint_vel: Tensor) -> ArticulationActions:
        """Turn commanded efforts into joint torques (N, J) [N·m]; position and velocity targets are ignored."""
        stall = self.cfg.stall_torque
        assert control_action.joint_efforts is not None, "an explicit actuator is always given efforts"
        command = self._delay.compute(control_action.joint_efforts).clamp(-stall, stall)
        command = command * (command.abs() >= self.dead_band)
        voltage = 1 - self.voltage_sag * command.abs().mean(1, keepdim=True) / stall
        driven = self.strength * voltage * command
        self.computed_effort = driven - self.back_emf_scale * self.back_emf * joint_vel
        effort = self.computed_effort.clamp(-stall, stall)
        self.applied_effort = effort * self._touching(driven, effort, joint_vel) - self.viscous * joint_vel
        control_action.joint_efforts = self.applied_effort
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
class STS3215ActuatorCfg(ActuatorBaseCfg):
    """Settings of ``STS3215Actuator``."""

    class_type: type = STS3215Actuator

    stall_torque: float = STALL_TORQUE
    """Torque at standstill and full duty [N·m]; also the clip of command and effort."""

    no_load_speed: float = NO_LOAD_SPEED
    """Speed at full duty without load [rad/s]."""

    max_delay: int = 16
    """Longest command delay that can be set, in physics steps (80 ms at 200 Hz)."""

    physics_dt: float = 0.005
    """Time between two efforts [s]; the environment sets it from its rates."""

    stiffness: float = 0.0
    """No spring: the servo's own position loop is off."""

    damping: float = 0.0
    """None at the joint: back-EMF is in the motor model."""

    armature: float = ARMATURE
    """Rotor inertia, added to the joint's diagonal of the mass matrix [kg·m²]."""

    friction: float = DRY_FRICTION
    """Torque up to which the joint holds still [N·m]. Coulomb friction in N·m on both engines, measured: the pan joint
    breaks away between 0.045 and 0.060 N·m. PhysX holds it still; Newton's soft constraint creeps by 0.5 mrad/s."""

    dynamic_friction: float = DRY_FRICTION
    """Friction of a moving joint [N·m]: PhysX asks for it apart and defaults to none, Newton uses ``friction``.
    Measured on both, the speed under torque u settles at (u - 0.052) / b."""

    viscous_friction: float = 0.0
    """None at the joint, as for ``damping``."""

    actuator_effort_limit: float = STALL_TORQUE
    """Known to Isaac Lab's own limits and randomizers [N·m]; the motor model clips by ``stall_torque``."""

    actuator_velocity_limit: float = NO_LOAD_SPEED
    """Fastest the motor turns by itself [rad/s]; for Isaac Lab's soft limits, never a clamp in the solver."""

    joint_effort_limit: float = UNCLIPPED_EFFORT
    """The solver would clip the efforts of an explicit actuator a second time [N·m]."""
