"""Ways of an arm between postures on which it touches neither the table nor itself, by the simulated arm's shapes."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from argos_sim.camera_alignment.silhouette import SEEN_GROUP, ArmModel

CLEARANCE = 0.02
"""Least height of the links beyond the shoulder above the table, and distance of links that are no neighbours [m]."""
NEIGHBOURS = 2
"""Links so near in the chain are not compared."""
LEAVING, NEARER = 0.4, 0.003
"""Within so much of a posture that is not clear [rad], such as one folded on its foot, the arm may be as near as there,
and so much nearer [m]."""
STEP = 0.06
"""Between two postures of a way that are looked at [rad]."""
FAR = 0.1
"""Distances beyond this are all the same [m]."""


@dataclass(frozen=True)
class Stop:
    """A posture on a route."""

    joints: np.ndarray
    """(J,) [rad]."""
    shown: bool = True
    """Whether a picture is taken there."""


def clearance(arm: ArmModel, joints: np.ndarray) -> float:
    """How far (at most ``FAR``) the arm is from the table and from itself [m]; below zero it is within."""
    arm.put(joints)
    model, data = arm.model, arm.data
    geoms = [g for g in range(model.ngeom) if model.geom_group[g] == SEEN_GROUP]
    bodies, shoulder = model.geom_bodyid, 2
    outer = [g for g in geoms if bodies[g] > shoulder]
    least = min(FAR, *(_lowest(arm, g) for g in outer))
    for one in outer:
        for other in geoms:
            if bodies[other] < bodies[one] - NEIGHBOURS and _may_be_near(arm, one, other, least):
                least = min(least, mujoco.mj_geomDistance(model, data, one, other, FAR, None))
    return float(least)


def _may_be_near(arm: ArmModel, one: int, other: int, least: float) -> bool:
    """By the spheres about two geoms."""
    where, radius = arm.data.geom_xpos, arm.model.geom_rbound
    return bool(np.linalg.norm(where[one] - where[other]) - radius[one] - radius[other] < least)


def _lowest(arm: ArmModel, geom: int) -> float:
    """Height of the lowest point of a box or a cylinder; of other shapes, of the sphere about them [m]."""
    kind, height = arm.model.geom_type[geom], arm.data.geom_xpos[geom, 2]
    size, across = arm.model.geom_size[geom], arm.data.geom_xmat[geom].reshape(3, 3)[2]
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return height - float(np.abs(across) @ size)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return height - float(abs(across[2]) * size[1] + np.hypot(across[0], across[1]) * size[0])
    return height - float(arm.model.geom_rbound[geom])


def clear_way(arm: ArmModel, begin: np.ndarray, end: np.ndarray) -> bool:
    """Whether the straight way in joint space keeps ``CLEARANCE``, but for where it leaves an end that does not."""
    length, ends = float(np.abs(end - begin).max()), [clearance(arm, q) for q in (begin, end)]
    count = max(2, int(np.ceil(length / STEP)))
    for share in np.arange(1, count) / count:
        near = [at for at, away in zip(ends, (share * length, (1 - share) * length), strict=True) if away < LEAVING]
        if clearance(arm, begin + share * (end - begin)) < min(CLEARANCE, *near, FAR) - NEARER:
            return False
    return True


def route(arm: ArmModel, begin: np.ndarray, postures: np.ndarray) -> list[Stop]:
    """From ``begin`` (J,) through as many of ``postures`` (N, J) as can be reached on clear ways, and back again.

    Where no straight way is clear one by way of the ready posture is tried.

    Raises:
        ValueError: none can be reached from ``begin``.
    """
    ready, here, left, stops = np.array(arm.world.ready), begin, list(postures), list[Stop]()
    while left:
        left.sort(key=lambda q: float(np.abs(q - here).max()))
        found = next((i for i, q in enumerate(left) if clear_way(arm, here, q)), None)
        if found is not None:
            here = left.pop(found)
            stops.append(Stop(here))
        elif here is not ready and clear_way(arm, here, ready):
            here = ready
            stops.append(Stop(here, shown=False))
        else:
            break
    if not any(stop.shown for stop in stops):
        raise ValueError(
            "From where the arm lies no way is clear to any posture: bring it by hand to where it stands free, or take "
            "the pictures with --limp."
        )
    back = [begin] if clear_way(arm, here, begin) else [ready, begin]
    return stops + [Stop(q, shown=False) for q in back]
