"""The simulated arm as a camera sees its outline: from MuJoCo's ray caster, with the shapes of the policy's robot."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass, replace

import mujoco
import numpy as np
from scipy import ndimage

from argos_sim.deploy.pinhole import Pinhole
from argos_sim.motion.model import SEEN_GROUP
from argos_sim.mujoco_c import scene
from argos_sim.mujoco_c.camera import FAR, cast, wide
from argos_sim.mujoco_c.world import World

NOTHING, STILL, MOVING = 0, 1, 2
"""What a pixel shows: no arm, its foot, what joints move."""
REACH, HALVINGS = 1.5, 7
"""The outline is within so many pixels of a pixel beside it, and is found to a hundredth of one."""

LOOKED_AT = 120
"""Pixels along the shorter side of a picture that are looked at first: 4 mm of the arm each, or less."""


@dataclass(frozen=True)
class Rim:
    """M points of the arm along its outline in one posture."""

    points: np.ndarray
    """(M, 3) in the base's frame [m]."""
    pixels: np.ndarray
    """(M, 2) column and row of the outline."""
    normals: np.ndarray
    """(M, 2) unit vectors out of the arm, in the picture."""
    by_joint: np.ndarray
    """(M, 3, J) how the points move with the joints [m/rad]."""


class ArmModel:
    """The robot of ``world`` without its table and objects."""

    def __init__(self, world: World) -> None:
        self.world = replace(world, objects={})
        self.model = wide(scene.build(self.world))
        self.data = mujoco.MjData(self.model)
        self._joints = [int(self.model.joint(name).qposadr[0]) for name in world.joint_names]
        self._numbers = [int(self.model.joint(name).id) for name in world.joint_names]
        self._carried = {number: self._after(int(self.model.jnt_bodyid[number])) for number in self._numbers}
        foot = 1
        moves = np.array([geom_body > foot for geom_body in self.model.geom_bodyid])
        self._shows = np.where(moves, MOVING, STILL).astype(np.uint8)

    def _after(self, first: int) -> np.ndarray:
        """Which bodies ``first`` carries, itself among them."""
        found = np.zeros(self.model.nbody, dtype=bool)
        found[first] = True
        for body in range(first + 1, self.model.nbody):
            found[body] = found[self.model.body_parentid[body]]
        return found

    def put(self, joints: np.ndarray) -> None:
        """Take the posture ``joints`` (J,) [rad]."""
        self.data.qpos[self._joints] = joints
        mujoco.mj_kinematics(self.model, self.data)

    def look(self, camera: Pinhole, joints: np.ndarray) -> np.ndarray:
        """What each pixel shows (H, W).

        Of large pictures few pixels are looked at, and all of those about which these differ.
        """
        self.put(joints)
        shows = np.full((camera.height, camera.width), NOTHING, dtype=np.uint8)
        left, top, right, bottom = self._box(camera)
        if left >= right or top >= bottom:
            return shows
        every = max(1, min(camera.height, camera.width) // LOOKED_AT)
        rough = self._shown(camera, *np.meshgrid(np.arange(left, right, every), np.arange(top, bottom, every)))
        box = np.repeat(np.repeat(rough, every, 0), every, 1)[: bottom - top, : right - left]
        if every > 1:
            differ = ndimage.maximum_filter(rough, 3) != ndimage.minimum_filter(rough, 3)
            near = np.repeat(np.repeat(differ, every, 0), every, 1)[: bottom - top, : right - left]
            row, column = np.nonzero(near)
            box[row, column] = self._shown(camera, column + left, row + top)
        shows[top:bottom, left:right] = box
        return shows

    def _shown(self, camera: Pinhole, column: np.ndarray, row: np.ndarray) -> np.ndarray:
        """What pixels show, of any shape."""
        pixels = np.stack([column.ravel(), row.ravel()], -1).astype(float)
        rays = camera.directions(pixels) @ camera.rotation.T
        geom, distance, _ = cast(self.model, self.data, camera.position, np.ascontiguousarray(rays))
        hit = (geom >= 0) & (distance < FAR)
        return np.where(hit, self._shows[np.maximum(geom, 0)], NOTHING).astype(np.uint8).reshape(column.shape)

    def _box(self, camera: Pinhole) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the pixels within which the arm can be."""
        seen = self.model.geom_group == SEEN_GROUP
        where, radius = self.data.geom_xpos[seen], self.model.geom_rbound[seen]
        depth = np.maximum(((where - camera.position) @ camera.rotation)[:, 2] - radius, 0.05)
        pixel, around = camera.project(where), (1.5 * camera.focal * radius / depth + 2)[:, None]
        low, high = np.floor((pixel - around).min(0)), np.ceil((pixel + around).max(0)) + 1
        size = (camera.width, camera.height)
        (left, top), (right, bottom) = np.clip(low, 0, size).astype(int), np.clip(high, 0, size).astype(int)
        return left, top, right, bottom

    def rim(
        self, camera: Pinhole, joints: np.ndarray, known: np.ndarray, shows: np.ndarray | None = None, of: int = MOVING
    ) -> Rim:
        """The outline of what moves, or of the foot, where it borders on what is behind the arm and not on the other.

        Args:
            known: (H, W) bool, where the outline can be seen in the picture, too.
            shows: what ``look`` returned for the same arguments.
            of: ``MOVING`` or ``STILL``.
        """
        whole = self.look(camera, joints) if shows is None else shows
        self.put(joints)
        left, top, right, bottom = self._box(camera)
        what, known = (each[top:bottom, left:right] for each in (whole, known))
        moving, other = what == of, what == (STILL if of == MOVING else MOVING)
        beside_nothing = ndimage.binary_dilation(what == NOTHING)
        row, column = np.nonzero(moving & beside_nothing & ~ndimage.binary_dilation(other, iterations=2) & known)
        soft = ndimage.gaussian_filter(moving.astype(float), 1.0)
        slope = -np.stack([ndimage.sobel(soft, 1)[row, column], ndimage.sobel(soft, 0)[row, column]], -1)
        normals = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
        pixels, points, geom = self._edge(camera, np.stack([column + left, row + top], -1).astype(float), normals, of)
        return Rim(points, pixels, normals, self._by_joint(points, geom))

    def _edge(self, camera: Pinhole, pixels: np.ndarray, normals: np.ndarray, of: int) -> tuple[np.ndarray, ...]:
        """From pixels (M, 2) of the arm out to where it ends: there, points (M, 3) and geoms (M,), by halving."""
        inner, outer = np.zeros(len(pixels)), np.full(len(pixels), REACH)
        points, geom = np.zeros((len(pixels), 3)), np.zeros(len(pixels), dtype=int)
        for number in range(HALVINGS):
            middle = inner if number == 0 else 0.5 * (inner + outer)
            rays = camera.directions(pixels + middle[:, None] * normals) @ camera.rotation.T
            hit, distance, _ = cast(self.model, self.data, camera.position, np.ascontiguousarray(rays))
            on = (hit >= 0) & (self._shows[np.maximum(hit, 0)] == of)
            points[on], geom[on] = (camera.position + rays * distance[:, None])[on], hit[on]
            inner, outer = np.where(on, middle, inner), np.where(on, outer, middle)
        return pixels + (0.5 * (inner + outer))[:, None] * normals, points, geom

    def _by_joint(self, points: np.ndarray, geom: np.ndarray) -> np.ndarray:
        """(M, 3, J) derivative of the points of these geoms by the joints of the present posture."""
        bodies, columns = self.model.geom_bodyid[geom], []
        for number in self._numbers:
            axis, anchor = self.data.xaxis[number], self.data.xanchor[number]
            slides = self.model.jnt_type[number] == mujoco.mjtJoint.mjJNT_SLIDE
            moved = np.broadcast_to(axis, points.shape) if slides else np.cross(axis, points - anchor)
            columns.append(moved * self._carried[number][bodies][:, None])
        return np.stack(columns, -1)


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance (H, W) [pixels] from the edge of ``mask`` (H, W), negative inside; where there is none, large."""
    if not mask.any():
        return np.full(mask.shape, float(max(mask.shape)))
    outside, inside = (np.asarray(ndimage.distance_transform_edt(part)) for part in (~mask, mask))
    return np.where(mask, 0.5 - inside, outside - 0.5)
