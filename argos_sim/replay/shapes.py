"""The links of a MuJoCo model as rerun draws them."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import mujoco
import numpy as np
import rerun as rr

from argos_sim.deploy.rotations import matrix

SEEN_GROUPS = (0, 1, 2)
"""Of geoms; others only collide."""
Colour = tuple[int, int, int, int]


def log_links(stream: rr.RecordingStream, root: str, model: Any, bodies: Iterable[int], colour: Colour | None) -> None:
    """What is seen of ``bodies``, each geom in its body's frame as ``<root>/<body>/<geom>``; in ``colour``, or in its
    own."""
    chosen = set(map(int, bodies))
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        if body in chosen and int(model.geom_group[geom]) in SEEN_GROUPS:
            shape = _shape(model, geom, colour or _own(model, geom))
            if shape is not None:
                stream.log(f"{root}/{model.body(body).name}/{geom}", shape, static=True)


def _own(model: Any, geom: int) -> Colour:
    material = int(model.geom_matid[geom])
    rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
    red, green, blue, alpha = (round(255 * float(value)) for value in rgba)
    return red, green, blue, alpha


def _shape(model: Any, geom: int, colour: Colour) -> rr.AsComponents | None:
    """One geom; None for kinds that no robot of ours is made of."""
    kind, size = int(model.geom_type[geom]), model.geom_size[geom]
    w, *vector = model.geom_quat[geom]
    turn, centre = [rr.Quaternion(xyzw=[*vector, w])], [model.geom_pos[geom]]
    how: dict[str, Any] = {"colors": [colour], "fill_mode": "solid"}
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return rr.Boxes3D(half_sizes=[size], centers=centre, quaternions=turn, **how)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return rr.Cylinders3D(lengths=[2 * size[1]], radii=[size[0]], centers=centre, quaternions=turn, **how)
    if kind in (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_ELLIPSOID):
        half = [size[0]] * 3 if kind == mujoco.mjtGeom.mjGEOM_SPHERE else size
        return rr.Ellipsoids3D(half_sizes=[half], centers=centre, quaternions=turn, **how)
    if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:  # rerun's begins at one of its ends
        rotation = _rotation(model, geom)
        begin = model.geom_pos[geom] - rotation[:, 2] * size[1]
        return rr.Capsules3D(
            lengths=[2 * size[1]], radii=[size[0]], translations=[begin], quaternions=turn, colors=[colour]
        )
    return _mesh(model, geom, colour) if kind == mujoco.mjtGeom.mjGEOM_MESH else None


def _mesh(model: Any, geom: int, colour: Colour) -> rr.Mesh3D:
    mesh = int(model.geom_dataid[geom])
    vertex, face = int(model.mesh_vertadr[mesh]), int(model.mesh_faceadr[mesh])
    points = model.mesh_vert[vertex : vertex + int(model.mesh_vertnum[mesh])]
    return rr.Mesh3D(
        vertex_positions=points @ _rotation(model, geom).T + model.geom_pos[geom],
        triangle_indices=model.mesh_face[face : face + int(model.mesh_facenum[mesh])],
        albedo_factor=colour,
    )


def _rotation(model: Any, geom: int) -> np.ndarray:
    """(3, 3) of a geom, whose quaternion has w first."""
    return matrix(np.roll(model.geom_quat[geom], -1))
