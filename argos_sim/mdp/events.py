"""What happens at the start and at each reset: dynamics are drawn, the arm and the objects are placed."""

from __future__ import annotations

import math

import torch
from isaaclab.utils.math import quat_from_euler_xyz
from torch import Tensor

from argos_sim.mdp.sectors import from_polar
from argos_sim.randomization.ranges import RandomizationRanges


def _uniform(env, limits: tuple[float, float], *shape: int) -> Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(*shape, generator=env.generator, device=env.device)


def _ids(env, env_ids: Tensor | slice | None) -> Tensor:
    every = torch.arange(env.num_envs, device=env.device)
    return every if env_ids is None else every[env_ids]


def randomization_params(ranges: RandomizationRanges) -> dict[str, dict[str, dict]]:
    """Parameters of the events that depend on ``ranges``: mode → event → parameters."""
    offset, friction = ranges.com_offset, ranges.contact_friction
    return {
        "startup": {
            "mass": {"mass_distribution_params": ranges.mass_scale},
            "centre_of_mass": {"com_range": {axis: offset for axis in "xyz"}},
            "contact": {"static_friction_range": friction, "dynamic_friction_range": friction},
            "joints": {"ranges": ranges},
        },
        "reset": {"motors": {"ranges": ranges}},
    }


def randomize_joints(env, env_ids: Tensor | None, ranges: RandomizationRanges) -> None:
    """Draw each joint's dry friction [N·m] and armature [kg·m²].

    Isaac Lab's ``randomize_joint_parameters`` also sets viscous friction to the drawn dry friction, which the motor
    model already has as back-EMF; hence this term.
    """
    robot, ids = env.scene["robot"], _ids(env, env_ids)
    friction = _uniform(env, ranges.joint_friction, len(ids), robot.num_joints)
    armature = _uniform(env, ranges.joint_armature, len(ids), robot.num_joints)
    keywords = {"joint_dynamic_friction_coeff": friction} if hasattr(robot.data, "joint_dynamic_friction_coeff") else {}
    robot.write_joint_friction_coefficient_to_sim_index(joint_friction_coeff=friction, env_ids=ids.int(), **keywords)
    robot.write_joint_armature_to_sim_index(armature=armature, env_ids=ids.int())


def randomize_motors(env, env_ids: Tensor | None, ranges: RandomizationRanges) -> None:
    """Draw each motor's strength and back-EMF and each environment's command delay [physics steps]."""
    ids, motors = _ids(env, env_ids), env.motors
    joints = motors.strength.shape[1]
    motors.strength[ids] = _uniform(env, ranges.motor_strength, len(ids), joints)
    motors.damping_scale[ids] = _uniform(env, ranges.joint_damping_scale, len(ids), joints)
    low, high = ranges.action_delay
    delay = torch.randint(low, high + 1, (len(ids),), generator=env.generator, device=env.device)
    motors.set_delay(delay.int(), ids)


def place_robot(env, env_ids: Tensor, spread: float, joint_spread: dict[str, float] | None = None) -> None:
    """Put the arm near its ready pose, at rest.

    Args:
        spread: half-width of the uniform offset of every joint [rad].
        joint_spread: exceptions by joint name [rad].
    """
    robot, ids = env.scene["robot"], _ids(env, env_ids)
    width = torch.full((robot.num_joints,), spread, device=env.device)
    for name, value in (joint_spread or {}).items():
        width[robot.find_joints(name)[0]] = value
    position = robot.data.default_joint_pos.torch[ids]
    position = position + width * _uniform(env, (-1.0, 1.0), len(ids), robot.num_joints)
    limits = robot.data.joint_pos_limits.torch[ids]
    position = position.clamp(limits[..., 0] + 0.02, limits[..., 1] - 0.02)
    write_joints(env, ids, position, torch.zeros_like(position))


def write_joints(env, ids: Tensor, position: Tensor, velocity: Tensor) -> None:
    """Set joint positions [rad] and velocities [rad/s] (n, J) of environments ``ids``."""
    robot = env.scene["robot"]
    robot.write_joint_position_to_sim_index(position=position, env_ids=ids.int())
    robot.write_joint_velocity_to_sim_index(velocity=velocity, env_ids=ids.int())


def place_objects(
    env,
    env_ids: Tensor,
    names: tuple[str, ...],
    centre: tuple[float, float],
    radius: tuple[float, float],
    angle: tuple[float, float],
    height: float,
    separation: float,
) -> None:
    """Lay the objects at random places of a ring sector ahead of the arm, none too near another.

    Args:
        centre: of the ring in the environment's frame [m].
        radius: inner and outer [m].
        angle: of the sector about z, zero along −y [rad].
        height: of the objects' centres [m].
        separation: least distance between centres [m].
    """
    ids = _ids(env, env_ids)
    n = len(ids)
    # Several tries at once and the first good one: no loop over environments.
    tries = 64
    squared = _uniform(env, (radius[0] ** 2, radius[1] ** 2), n, tries, len(names))
    bearing = _uniform(env, angle, n, tries, len(names))
    place = from_polar(bearing, squared.sqrt(), centre)
    gap = torch.cdist(place.flatten(0, 1), place.flatten(0, 1)) + 10 * torch.eye(len(names), device=env.device)
    smallest = gap.flatten(1).min(1).values.view(n, tries)
    first = ((smallest > separation).float() + 1e-3 * smallest).argmax(1)
    chosen = place[torch.arange(n, device=env.device), first]
    yaw = _uniform(env, (-math.pi, math.pi), n, len(names))
    zero = torch.zeros(n, device=env.device)
    for i, name in enumerate(names):
        position = torch.cat([chosen[:, i], torch.full((n, 1), height, device=env.device)], -1)
        rotation = quat_from_euler_xyz(zero, zero, yaw[:, i])
        write_object(env, name, ids, position, rotation)


def write_object(env, name: str, ids: Tensor, position: Tensor, rotation: Tensor) -> None:
    """Put an object at rest at ``position (n, 3)`` [m, environment frame] and ``rotation (n, 4)``, x, y, z, w."""
    thing = env.scene[name]
    pose = torch.cat([position + env.scene.env_origins[ids], rotation], -1)
    thing.write_root_pose_to_sim_index(root_pose=pose, env_ids=ids.int())
    thing.write_root_velocity_to_sim_index(root_velocity=torch.zeros(len(ids), 6, device=env.device), env_ids=ids.int())
