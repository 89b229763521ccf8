"""An arm's kinematics and rigid-body terms, batched in torch, for experts that compute torques.

Frames follow MuJoCo's bodies: each link has a constant pose in its parent, then its joint turns it about an axis in
its own frame, or slides it along that axis. Angles and rad stand for metres, too, and torques for forces, where a joint
slides. Only what a torque expert needs: tip position and Jacobian, gravity torque, joint-space inertia
(Featherstone 2008, ch. 2 and 6; here summed over centres of mass, since a few links need no recursion).
"""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
import torch
from torch import Tensor

GRAVITY = 9.81
"""m/s², along −z of the base frame."""


@dataclass(frozen=True)
class Link:
    """One link: pose in its parent, joint axis in its frame, and its inertia."""

    name: str
    position: tuple[float, float, float]
    """In the parent's frame [m]."""
    quaternion: tuple[float, float, float, float]
    """Rotation from the link's frame to its parent's at joint angle zero, x, y, z, w."""
    axis: tuple[float, float, float]
    """Joint axis in the link's frame."""
    mass: float
    """kg."""
    com: tuple[float, float, float]
    """Centre of mass in the link's frame [m]."""
    inertia: tuple[float, float, float]
    """Principal moments about the centre of mass, along the link's axes [kg·m²]."""
    parent: int
    """Index of the link that it is mounted on; −1 for the base."""
    slides: bool = False
    """Whether its joint slides instead of turning."""


def quaternion_to_matrix(q: Tensor) -> Tensor:
    """Rotation matrices (…, 3, 3) of unit quaternions (…, 4), x, y, z, w."""
    x, y, z, w = q.unbind(-1)
    return torch.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
            2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
            2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
        ],
        dim=-1,
    ).unflatten(-1, (3, 3))  # fmt: skip


def axis_rotation(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotation matrices (N, 3, 3) about a unit ``axis (3,)`` by ``angle (N,)`` [rad]."""
    half = 0.5 * angle[:, None]
    return quaternion_to_matrix(torch.cat([axis * half.sin(), half.cos()], -1))


def cubic_path(start: Tensor, end: Tensor, duration: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """The cubic Hermite path between two joint states: position and velocity (N, J) at ``phase`` of its duration.

    Args:
        start, end: (N, 2J) positions [rad], then velocities [rad/s].
        duration: (N,) s, above zero.
        phase: (N,) in [0, 1].
    """
    (q0, v0), (q1, v1) = start.chunk(2, -1), end.chunk(2, -1)
    u, t = phase[:, None], duration[:, None]
    position = (2 * u**3 - 3 * u**2 + 1) * q0 + (3 * u**2 - 2 * u**3) * q1
    position = position + t * ((u**3 - 2 * u**2 + u) * v0 + (u**3 - u**2) * v1)
    velocity = 6 * (u - u**2) * (q1 - q0) / t + (3 * u**2 - 4 * u + 1) * v0 + (3 * u**2 - 2 * u) * v1
    return position, velocity


class SerialChain:
    """A fixed-base chain of joints, one a link; a gripper's fingers may branch off its end.

    Args:
        links: from the base outward, parents before children.
        tip_offset: the tip in the frame of ``links[tip_link]`` [m].
        tip_link: index of the link that carries the tip.
    """

    def __init__(self, links: Sequence[Link], tip_offset: Sequence[float], tip_link: int, device: str = "cpu") -> None:
        def column(values: list) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        self.joints, self.links = len(links), tuple(links)
        self.tip_offset = (float(tip_offset[0]), float(tip_offset[1]), float(tip_offset[2]))
        self.tip_link = tip_link
        self._position = column([x.position for x in links])
        self._rotation = quaternion_to_matrix(column([x.quaternion for x in links]))
        self._axis = column([x.axis for x in links])
        self._mass = column([x.mass for x in links])
        self._com = column([x.com for x in links])
        self._inertia = column([x.inertia for x in links])
        self._tip = column(list(tip_offset))
        self._slides = torch.tensor([x.slides for x in links], device=device)
        self._moves = torch.zeros(len(links), len(links), dtype=torch.bool, device=device)
        """Whether (link, joint) the joint moves the link."""
        for i, link in enumerate(links):
            if link.parent >= 0:
                self._moves[i] = self._moves[link.parent]
            self._moves[i, i] = True

    @staticmethod
    def from_mjcf(path: Path, joint_names: Sequence[str], tip_site: str, device: str = "cpu") -> SerialChain:
        """Read the chain from a MuJoCo model, so that no number of the robot is written twice.

        Args:
            path: MJCF file whose ``joint_names`` are hinges and slides, from the base outward. Their links are mounted
                on each other or on the base; a link without a joint between them would be missed, and is refused.
            tip_site: name of the site at the tip.
        """
        model = mujoco.MjModel.from_xml_path(str(path))
        links: list[Link] = []
        index = {int(model.body_parentid[int(model.joint(joint_names[0]).bodyid[0])]): -1}
        for name in joint_names:
            joint = model.joint(name)
            body = model.body(int(joint.bodyid[0]))
            parent, slides = int(body.parentid[0]), int(joint.type[0]) == mujoco.mjtJoint.mjJNT_SLIDE
            if parent not in index:
                raise ValueError(
                    f"The link {body.name} of {path} is mounted on {model.body(parent).name}, which no joint before "
                    f"{name} moves; give links without a joint to the one that they are fixed to."
                )
            if np.abs(joint.pos).max() > 0 or abs(abs(float(body.iquat[0])) - 1) > 1e-6:
                raise ValueError(
                    f"In {path} the joint {name} must lie in its link's origin (no pos), and the inertia of the link "
                    f"{body.name} along its axes (no quat): experts know no other."
                )
            index[body.id] = len(links)
            w, x, y, z = body.quat
            links.append(
                Link(body.name, tuple(body.pos), (x, y, z, w), tuple(joint.axis), float(body.mass[0]),
                     tuple(body.ipos), tuple(body.inertia), index[parent], slides)
            )  # fmt: skip
        site = model.site(tip_site)
        return SerialChain(links, tuple(site.pos), index[int(site.bodyid[0])], device)

    def frames(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Link poses in the base frame: positions (N, L, 3) and rotations (N, L, 3, 3) at ``q (N, L)`` [rad]."""
        base = torch.zeros(len(q), 3, device=q.device), torch.eye(3, device=q.device).expand(len(q), 3, 3)
        positions: list[Tensor] = []
        rotations: list[Tensor] = []
        for i, link in enumerate(self.links):
            position, rotation = base if link.parent < 0 else (positions[link.parent], rotations[link.parent])
            position = position + rotation @ self._position[i]
            rotation = rotation @ self._rotation[i]
            if link.slides:
                position = position + q[:, i, None] * (rotation @ self._axis[i])
            else:
                rotation = rotation @ axis_rotation(self._axis[i], q[:, i])
            positions.append(position)
            rotations.append(rotation)
        return torch.stack(positions, 1), torch.stack(rotations, 1)

    def tip(self, q: Tensor) -> Tensor:
        """Tip position in the base frame (N, 3) [m]."""
        return self.tip_and_jacobian(q)[0]

    def tip_and_jacobian(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Tip position (N, 3) [m] and its Jacobian (N, 3, L) [m/rad]."""
        position, rotation = self.frames(q)
        tip = position[:, self.tip_link] + rotation[:, self.tip_link] @ self._tip
        return tip, self._point_jacobian(position, rotation, tip, self.tip_link)

    def _point_jacobian(self, position: Tensor, rotation: Tensor, point: Tensor, link: int) -> Tensor:
        """Jacobian (N, 3, L) of a point fixed to ``link``; joints beyond the link do not move it."""
        axes = torch.einsum("nlij,lj->nli", rotation, self._axis)
        columns = torch.linalg.cross(axes, point[:, None] - position)
        columns = torch.where(self._slides[:, None], axes, columns)
        columns[:, ~self._moves[link]] = 0
        return columns.transpose(1, 2)

    def gravity_and_inertia(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Torque that holds the arm against gravity (N, L) [N·m] and joint-space inertia (N, L, L) [kg·m²]."""
        position, rotation = self.frames(q)
        com = position + torch.einsum("nlij,lj->nli", rotation, self._com)
        axes = torch.einsum("nlij,lj->nli", rotation, self._axis)
        gravity = torch.zeros_like(q)
        inertia = torch.zeros(len(q), self.joints, self.joints, device=q.device)
        for i in range(self.joints):
            linear = self._point_jacobian(position, rotation, com[:, i], i)
            gravity += self._mass[i] * GRAVITY * linear[:, 2]
            angular = axes.transpose(1, 2).clone()
            angular[:, :, ~self._moves[i] | self._slides] = 0
            world_inertia = rotation[:, i] @ torch.diag(self._inertia[i]) @ rotation[:, i].transpose(1, 2)
            inertia += (
                self._mass[i] * linear.transpose(1, 2) @ linear + angular.transpose(1, 2) @ world_inertia @ angular
            )
        return gravity, inertia

    def inverse_kinematics(
        self,
        target: Tensor,
        start: Tensor,
        limits: Tensor,
        constraint: Tensor,
        value: Tensor,
        iterations: int = 60,
    ) -> tuple[Tensor, Tensor]:
        """Joint angles that bring the tip to ``target`` while ``constraint @ angles = value``, by damped least squares.

        Args:
            target: (N, 3) tip positions in the base frame [m].
            start: (N, L) initial angles [rad].
            limits: (L, 2) lower and upper joint limits [rad].
            constraint: (M, L) rows that use up the freedom the tip leaves, such as the gripper's pitch.
            value: (N, M) [rad].

        Returns:
            angles (N, L) and the remaining tip error (N,) [m].
        """
        q = start.clone()
        constraint = constraint.reshape(-1, start.shape[1])  # none at all, () in a robot's file, has no columns
        rows = constraint.expand(len(q), -1, -1)
        damping = 1e-5 * torch.eye(3 + len(constraint), device=q.device)
        for _ in range(iterations):
            tip, jacobian = self.tip_and_jacobian(q)
            # Radians are put beside metres: 0.1 makes an error of 1 rad weigh as much as 10 cm.
            task = torch.cat([jacobian, 0.1 * rows], 1)
            error = torch.cat([target - tip, 0.1 * (value - q @ constraint.T)], 1)
            transposed = task.transpose(1, 2)
            step = transposed @ torch.linalg.solve(task @ transposed + damping, error.unsqueeze(-1))
            q = (q + step.squeeze(-1).clamp(-0.3, 0.3)).clamp(limits[:, 0], limits[:, 1])
        return q, (self.tip(q) - target).norm(dim=-1)
