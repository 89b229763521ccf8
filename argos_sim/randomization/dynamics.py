"""How bodies, motors and the room differ: Isaac Lab events that draw from ``RandomizationRanges``.

Bodies and joints are drawn at the start, since engines take such properties slowly; motors, the bus and the table's
lean at each reset; pushes now and then, by the environment itself. All are batched over environments.
"""

# Isaac Lab's configurations take classes as functions.
# pyright: reportArgumentType=false

from __future__ import annotations

import math
from typing import Any

import isaaclab.envs.mdp as lab_mdp
import torch
from isaaclab.managers import EventTermCfg, SceneEntityCfg
from torch import Tensor

from argos_sim.actuators import ARMATURE, BACK_EMF, DRY_FRICTION, STALL_TORQUE, per_joint
from argos_sim.randomization.ranges import RandomizationRanges

MOTORS = {
    "strength": "motor_strength",
    "back_emf_scale": "back_emf_scale",
    "viscous": "joint_damping",
    "dead_band": "dead_band",
    "voltage_sag": "voltage_sag",
    "backlash": "backlash",
}
"""Tensors of the motor model, each with the range that it is drawn from."""
GRAVITY = 9.81
PUSHED_SHARE = 0.5
"""Share of the draws that push; in between nothing does."""
PUSH_TURN_S = 0.2
"""How often each environment may get another push; with a chance of a half it keeps the one it has."""


def uniform(env, limits: tuple[float, float], *shape: int) -> Tensor:
    """Uniform numbers of the environment's own generator."""
    low, high = limits
    return low + (high - low) * torch.rand(*shape, generator=env.generator, device=env.device)


def ids_of(env, env_ids: Tensor | slice | None) -> Tensor:
    """Isaac Lab's ways to name environments as indices (n,)."""
    every = torch.arange(env.num_envs, device=env.device)
    return every if env_ids is None else every[env_ids]


class RandomMaterial(lab_mdp.randomize_rigid_body_material):
    """Isaac Lab's term, which on PhysX draws its materials when it is made: here, again at each call, since ranges
    change (``LatentTrackingEnv.set_ranges``)."""

    def __call__(
        self,
        env,
        env_ids,
        static_friction_range: tuple[float, float],
        dynamic_friction_range: tuple[float, float],
        restitution_range: tuple[float, float],
        num_buckets: int,
        asset_cfg: SceneEntityCfg,
        make_consistent: bool = False,
    ) -> None:
        """See Isaac Lab's term, whose manager wants every parameter by its name."""
        self.__init__(self.cfg, env)
        ranges = static_friction_range, dynamic_friction_range, restitution_range
        super().__call__(env, env_ids, *ranges, num_buckets, asset_cfg, make_consistent)


MATERIALS = {"num_buckets": 64, "make_consistent": True}
"""Materials drawn for all environments, dynamic friction never above static."""


def object_events(names: tuple[str, ...]) -> dict[str, EventTermCfg]:
    """Events that draw each object's mass (and inertia with it), friction and restitution, by name."""
    events = {}
    for name in names:
        events[f"{name}_mass"] = EventTermCfg(
            func=lab_mdp.randomize_rigid_body_mass,
            mode="startup",
            params={"asset_cfg": SceneEntityCfg(name), "mass_distribution_params": (1.0, 1.0), "operation": "scale"},
        )
        events[f"{name}_contact"] = EventTermCfg(
            func=RandomMaterial,
            mode="startup",
            params={"asset_cfg": SceneEntityCfg(name), **MATERIALS},
        )
    return events


def startup_params(ranges: RandomizationRanges, objects: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Parameters of the events of bodies and joints, by event; ``objects`` are those that instructions name."""
    bounce = {"restitution_range": ranges.restitution}
    params: dict[str, dict[str, Any]] = {
        "mass": {"mass_distribution_params": ranges.mass_scale},
        "inertia": {"scale": ranges.inertia_scale},
        "centre_of_mass": {"com_range": {axis: ranges.com_offset for axis in "xyz"}},
        "contact": _friction(ranges.contact_friction) | bounce,
        "joints": {"ranges": ranges},
    }
    for name in objects:
        params[f"{name}_mass"] = {"mass_distribution_params": ranges.object_mass_scale}
        params[f"{name}_contact"] = _friction(ranges.object_friction) | bounce
    return params


def _friction(limits: tuple[float, float]) -> dict[str, tuple[float, float]]:
    return {"static_friction_range": limits, "dynamic_friction_range": limits}


def randomize_inertia(env, env_ids: Tensor | None, scale: tuple[float, float]) -> None:
    """Multiply each link's inertia by a factor of its own; belongs after the masses, which set it in proportion."""
    if scale == (1.0, 1.0):
        return
    robot, ids = env.scene["robot"], ids_of(env, env_ids)
    inertia = robot.data.body_inertia.torch[ids].clone()
    factor = uniform(env, scale, *inertia.shape[:2])
    robot.set_inertias_index(inertias=inertia * factor[..., None], env_ids=ids.int())


def randomize_joints(env, env_ids: Tensor | None, ranges: RandomizationRanges) -> None:
    """Draw each joint's dry friction [N·m] and armature [kg·m²], in proportion to its motor's.

    Isaac Lab's ``randomize_joint_parameters`` also sets viscous friction to the drawn dry friction, which the motor
    model already has as back-EMF; hence this term.
    """
    robot, ids, motors = env.scene["robot"], ids_of(env, env_ids), env.motors
    own = [per_joint(value, motors.joint_names) for value in (motors.cfg.friction, motors.cfg.armature)]
    frictions, armatures = torch.tensor(own, device=env.device)
    friction = uniform(env, ranges.joint_friction, len(ids), robot.num_joints) * (frictions / DRY_FRICTION)
    armature = uniform(env, ranges.joint_armature, len(ids), robot.num_joints) * (armatures / ARMATURE)
    keywords = {"joint_dynamic_friction_coeff": friction} if hasattr(robot.data, "joint_dynamic_friction_coeff") else {}
    robot.write_joint_friction_coefficient_to_sim_index(joint_friction_coeff=friction, env_ids=ids.int(), **keywords)
    robot.write_joint_armature_to_sim_index(armature=armature, env_ids=ids.int())


def randomize_motors(env, env_ids: Tensor | None) -> None:
    """Draw each motor's properties, and how late and how often lost the commands of each environment are."""
    ids, motors, bus, draws, generator = ids_of(env, env_ids), env.motors, env.bus, env.draws, env.generator
    # Ranges are stated for the STS3215 and for radians; of other motors and joints in proportion.
    units = {
        "viscous": motors.back_emf / BACK_EMF,
        "dead_band": motors.stall_torque / STALL_TORQUE,
        "backlash": env.joint_unit,
    }
    for name, source in MOTORS.items():
        values = getattr(motors, name)
        values[ids] = draws.uniform(source, ids, values.shape[1:], generator) * units.get(name, 1.0)
    bus.delay[ids] = draws.integers("action_delay", ids, generator).int()
    bus.jitter[ids] = draws.integers("action_jitter", ids, generator).int()
    bus.loss[ids] = draws.uniform("action_loss", ids, (), generator)
    motors.set_delay((bus.delay + bus.jitter)[ids], ids)  # refused if the longest has no place in the buffer
    motors.delay[ids] = bus.delay[ids].to(motors.delay)


class Disturbances:
    """Forces on robot and objects that no controller commands: those of a table that leans, and pushes on the robot.

    A lean is what gravity would do on a table turned by that angle, so that it differs between environments on every
    engine (PhysX has one gravity for all).
    """

    def __init__(self, env, names: tuple[str, ...]) -> None:
        """``names`` of all objects in the scene."""
        self.env, self.bodies = env, [env.scene[name] for name in ("robot", *names)]
        self.acceleration = torch.zeros(env.num_envs, 1, 3, device=env.device)
        """Of every body (N, 1, 3), beside gravity [m/s²]."""
        self.pushes = torch.zeros(env.num_envs, self.bodies[0].num_bodies, 3, device=env.device)
        """On the robot's links (N, B, 3), in the world's frame [N]."""
        self._at_origins = type(self.bodies[0]).__module__.startswith("isaaclab_ov.")
        """Whether the engine's writer lets forces act at links' origins: Isaac Lab's OvPhysX does."""
        every = torch.arange(env.num_envs, device=env.device)
        count = max(1, round(PUSH_TURN_S / env.cfg.rates.control_dt))
        self._turns = [every[first::count] for first in range(count)]

    def lean(self, ids: Tensor) -> None:
        """Let the tables of ``ids`` lean, each its own way, and end all pushes."""
        draws, generator = self.env.draws, self.env.generator
        angle = draws.uniform("tilt", ids, (), generator)
        bearing = uniform(self.env, (0.0, math.tau), len(ids))
        side = GRAVITY * angle.sin()
        turned = torch.stack([side * bearing.cos(), side * bearing.sin(), GRAVITY * (1 - angle.cos())], -1)
        self.acceleration[ids, 0] = turned
        self.pushes[ids] = 0
        if draws.may("tilt"):  # what was applied before, Isaac Lab's own reset has cleared
            self._apply(ids)

    def step(self, number: int) -> None:
        """Draw anew the pushes of those whose turn it is in control step ``number``.

        Isaac Lab's events at intervals ask the GPU at every step whose time has come; turns are known without asking.
        """
        ids, draws = self._turns[number % len(self._turns)], self.env.draws
        if draws.may("push_force") and len(ids) > 0:
            self.push(ids)
        if self._at_origins and (draws.may("push_force") or draws.may("tilt")):
            self._apply(torch.arange(self.env.num_envs, device=self.env.device))  # links have turned

    def push(self, ids: Tensor) -> None:
        """Push a link of each robot of ``ids``, or let go of it, or leave it as it was."""
        env = self.env
        direction = torch.nn.functional.normalize(uniform(env, (-1.0, 1.0), len(ids), 3), dim=-1)
        force = env.cfg.push_scale * env.draws.uniform("push_force", ids, (), env.generator)
        force = force * (uniform(env, (0.0, 1.0), len(ids)) < PUSHED_SHARE)
        moving = self.pushes.shape[1] - 1  # all but the foot, which is fixed, and comes first
        link = 1 + (uniform(env, (0.0, 1.0), len(ids)) * moving).long().clamp(max=moving - 1)
        drawn = torch.zeros_like(self.pushes[ids])
        drawn.scatter_(1, link[:, None, None].expand(-1, 1, 3), (force[:, None] * direction)[:, None])
        kept = uniform(env, (0.0, 1.0), len(ids)) < 0.5
        self.pushes[ids] = torch.where(kept[:, None, None], self.pushes[ids], drawn)
        self._apply(ids)

    def _apply(self, ids: Tensor) -> None:
        for i, body in enumerate(self.bodies):
            forces = self.acceleration[ids] * body.data.body_mass.torch[ids].flatten(1)[..., None]
            if i == 0:
                forces = forces + self.pushes[ids]
            # At the centres of mass, which torques see to where forces act elsewhere.
            torques = torch.zeros_like(forces)
            if self._at_origins and i == 0:
                arm = body.data.body_com_pos_w.torch[ids] - body.data.body_link_pos_w.torch[ids]
                torques = torch.linalg.cross(arm, forces)
            body.permanent_wrench_composer.set_forces_and_torques_index(
                forces=forces, torques=torques, env_ids=ids.int(), is_global=True
            )


def raise_table(env, env_ids: Tensor | None) -> None:
    """Draw how high the table's top is above the robot's foot."""
    ids = ids_of(env, env_ids)
    set_table(env, ids, env.draws.uniform("table_height", ids, (), env.generator))


def set_table(env, ids: Tensor, height: Tensor | float) -> None:
    """Put the table's top of environments ``ids`` at ``height (n,)`` above the robot's foot [m]: the scene's table
    stays, its robot sinks."""
    robot = env.scene["robot"]
    pose = robot.data.default_root_pose.torch[ids].clone()
    pose[:, :3] += env.scene.env_origins[ids]
    pose[:, 2] -= height
    robot.write_root_pose_to_sim_index(root_pose=pose, env_ids=ids.int())


def lean(env, env_ids: Tensor | None) -> None:
    """See ``Disturbances.lean``."""
    env.disturbances.lean(ids_of(env, env_ids))
