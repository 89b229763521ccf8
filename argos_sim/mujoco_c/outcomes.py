"""What counts as done, in numpy: the predicates of ``argos_sim.mdp.outcomes`` for one arm at a time."""

from __future__ import annotations

import math

import numpy as np

from argos_sim.mujoco_c.world import World


def tip_distances(tip: np.ndarray, positions: np.ndarray, rotations: np.ndarray, half_size: float) -> np.ndarray:
    """Distance (O,) [m] from ``tip (3,)`` to the surface of each cube, zero inside.

    Args:
        positions: (O, 3) centres.
        rotations: (O, 3, 3) from a cube's frame to the world's.
    """
    local = np.einsum("oji,oj->oi", rotations, tip - positions)
    return np.linalg.norm(np.maximum(np.abs(local) - half_size, 0.0), axis=1)


def done(world: World, named: int, place: int, touched: int, tip_distance: np.ndarray, positions: np.ndarray) -> bool:
    """Whether what was asked for is done now.

    Args:
        named, place: indices of what the instruction names.
        touched: of the object that was the first to be touched, −1 for none.
        tip_distance: (O,) as of ``tip_distances``.
        positions: (O, 3) centres of the cubes [m].
    """
    goal, half, position = world.goal, world.half_size, positions[named]
    if goal.outcome == "touch":
        return touched == named
    if goal.outcome == "lift":
        return bool(position[2] - half >= goal.height)
    if goal.outcome == "move":
        bearing = math.atan2(position[0] - goal.centre[0], -(position[1] - goal.centre[1]))
        low, high = goal.sectors[place]
        return bool(low <= bearing <= high and abs(position[2] - half) <= half)
    offset = position - positions[place]
    resting = np.linalg.norm(offset[:2]) <= half and abs(offset[2] - 2 * half) <= 0.4 * half
    return bool(resting and tip_distance[named] >= goal.clearance)
