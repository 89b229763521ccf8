"""What happens at each reset: the arm and the objects are placed."""

from __future__ import annotations

import math

import torch
from isaaclab.utils.math import quat_from_euler_xyz
from torch import Tensor

from argos_sim.mdp.sectors import from_polar
from argos_sim.randomization.dynamics import ids_of, uniform


def place_robot(env, env_ids: Tensor, spread: float, joint_spread: dict[str, float] | None = None) -> None:
    """Put the arm near its ready pose, at rest.

    Args:
        spread: half-width of the uniform offset of every joint [rad, or what counts as one].
        joint_spread: exceptions by joint name, likewise.
    """
    robot, ids = env.scene["robot"], ids_of(env, env_ids)
    width = torch.full((robot.num_joints,), spread, device=env.device)
    for name, value in (joint_spread or {}).items():
        width[robot.find_joints(name)[0]] = value
    position = robot.data.default_joint_pos.torch[ids]
    position = position + width * env.joint_unit * uniform(env, (-1.0, 1.0), len(ids), robot.num_joints)
    limits, margin = robot.data.joint_pos_limits.torch[ids], 0.02 * env.joint_unit
    position = position.clamp(limits[..., 0] + margin, limits[..., 1] - margin)
    write_joints(env, ids, position, torch.zeros_like(position))


def write_joints(env, ids: Tensor, position: Tensor, velocity: Tensor) -> None:
    """Set joint positions [rad; m where one slides] and velocities [rad/s] (n, J) of environments ``ids``."""
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
        height: of the objects' centres, as they are modelled [m].
        separation: least distance between centres [m].
    """
    ids = ids_of(env, env_ids)
    n = len(ids)
    # Several tries at once and a good one, or else the best: no loop over environments.
    tries = 64
    squared = uniform(env, (radius[0] ** 2, radius[1] ** 2), n, tries, len(names))
    bearing = uniform(env, angle, n, tries, len(names))
    place = from_polar(bearing, squared.sqrt(), centre)
    gap = (place[:, :, :, None] - place[:, :, None]).norm(dim=-1) + 10 * torch.eye(len(names), device=env.device)
    smallest = gap.amin((2, 3))
    # All that are far enough apart count alike: the widest apart would leave out what lies near each other.
    chosen = place[torch.arange(n, device=env.device), smallest.clamp(max=separation).argmax(1)]
    yaw = uniform(env, (-math.pi, math.pi), n, len(names))
    zero = torch.zeros(n, device=env.device)
    for i, name in enumerate(names):
        own = height * env.object_scale[ids, env.instruction.objects.index(name)]
        position = torch.cat([chosen[:, i], own[:, None]], -1)
        rotation = quat_from_euler_xyz(zero, zero, yaw[:, i])
        write_object(env, name, ids, position, rotation)


def restore_objects(env, ids: Tensor, poses: Tensor) -> None:
    """Put all objects that instructions name at rest where they were in other episodes, ``poses (n, O, 7)`` as
    ``write_object``'s; one that is larger here than it was there does not begin within the table."""
    height = poses[..., 2]
    if env.cfg.ranges.object_size != (1.0, 1.0):  # else they lie as deep in the table as they lay there
        height = torch.maximum(height, env.instruction.half_size[ids])
    for i, name in enumerate(env.instruction.objects):
        position = torch.cat([poses[:, i, :2], height[:, i, None]], -1)
        write_object(env, name, ids, position, poses[:, i, 3:])


def write_object(env, name: str, ids: Tensor, position: Tensor, rotation: Tensor) -> None:
    """Put an object at rest at ``position (n, 3)`` [m, environment frame] and ``rotation (n, 4)``, x, y, z, w."""
    thing = env.scene[name]
    pose = torch.cat([position + env.scene.env_origins[ids], rotation], -1)
    thing.write_root_pose_to_sim_index(root_pose=pose, env_ids=ids.int())
    thing.write_root_velocity_to_sim_index(root_velocity=torch.zeros(len(ids), 6, device=env.device), env_ids=ids.int())
