"""Shifts: what may happen to a robot after it was trained, each a lasting change on top of the ranges that it knew.

A shift is the same in every episode and every environment; what else varies goes on varying as before. Each is outside
what ``train`` draws, and by how much is written here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from argos_sim.randomization.dynamics import ids_of
from argos_sim.randomization.ranges import RandomizationRanges, Range


@dataclass(frozen=True)
class Shift:
    """One lasting change."""

    payload: float = 0.0
    """Mass that the gripper carries, at its own centre of mass [kg]."""
    strength: Mapping[str, float] = field(default_factory=dict)
    """Joint → factor on its motor's strength."""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """Ranges drawn from in the place of those before."""

    @property
    def seen(self) -> bool:
        """Whether it changes what the camera sees of the same scene."""
        return any(name.startswith("camera") for name in self.ranges)

    def applied_to(self, ranges: RandomizationRanges) -> RandomizationRanges:
        """``ranges`` with this shift's own in them."""
        return replace(ranges, **self.ranges)


SHIFTS: dict[str, Shift] = {
    "none": Shift(),
    "payload": Shift(payload=0.25),
    "weak_motor": Shift(strength={"elbow_flex": 0.4}),
    "friction": Shift(ranges={"joint_friction": (0.25, 0.25), "joint_damping": (0.3, 0.3)}),
    "camera": Shift(ranges={"camera_position": (0.03, 0.03)}),
}
"""The shifts by name."""


def set_world(env, ranges: RandomizationRanges, shift: Shift, seed: int) -> None:
    """Put ``env`` into ``ranges`` under ``shift``, bodies and backgrounds drawn from ``seed``; reset it afterwards.

    The same seed draws the same bodies whatever the shift, so that figures with and without it can be paired.
    """
    unknown = set(shift.strength) - set(env.motors.joint_names)
    if unknown:
        raise ValueError(
            f"This shift weakens {', '.join(sorted(unknown))}, and the robot's joints are "
            f"{', '.join(env.motors.joint_names)}. Choose another shift, or name a joint of this robot in shifts.py."
        )
    env.generator.manual_seed(seed)
    env.perception.generator.manual_seed(seed + 1)
    torch.manual_seed(seed + 2)  # Isaac Lab's own events draw masses from there
    env.shift = shift
    env.set_ranges(shift.applied_to(ranges))
    if shift.payload > 0:
        _load(env, shift.payload)


def _load(env, mass: float) -> None:
    """Add ``mass`` [kg] to each robot's gripper."""
    robot = env.scene["robot"]
    body = robot.find_bodies(env.cfg.commands.instruction.tip_body)[0]
    every = torch.arange(env.num_envs, device=env.device, dtype=torch.int32)
    index = torch.tensor(body, device=env.device, dtype=torch.int32)
    masses = robot.data.body_mass.torch[:, body].clone() + mass
    robot.set_masses_index(masses=masses, body_ids=index, env_ids=every)


def weaken_motors(env, env_ids: Tensor | None) -> None:
    """Event at a reset, after the motors are drawn: some are weaker than that."""
    if not env.shift.strength:
        return
    ids, motors = ids_of(env, env_ids), env.motors
    for name, factor in env.shift.strength.items():
        motors.strength[ids, motors.joint_names.index(name)] *= factor
