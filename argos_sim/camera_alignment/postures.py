"""Postures in which an arm shows itself: within the picture, above the table, unlike each other."""

from __future__ import annotations

import numpy as np

from argos_sim.camera_alignment.silhouette import MOVING, ArmModel
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.motion.model import RobotModel
from argos_sim.motion.ways import WANTED

TRIED = 600
WANDER = 0.3
"""Postures are so far from the ready one at most, as a share of the joints' ranges."""
MARGIN = 0.2
"""From the ends of the joints' ranges [rad]."""
SIZE = 32
"""Pixels of the pictures that are compared."""
SEEN = 0.8
"""Share of the arm that the picture shows, at least."""


def chosen_postures(arm: ArmModel, trained: Pinhole, count: int, seed: int = 0) -> np.ndarray:
    """Joints (count, J) [rad], in an order in which each is near the one before.

    Raises:
        ValueError: so many cannot be found.
    """
    rng, world = np.random.default_rng(seed), arm.world
    model = RobotModel(world.mjcf, world.joint_names)
    low, high = np.array(world.joint_limits).T
    focal = trained.focal * SIZE / (2 * trained.half)
    wide = Pinhole(trained.position, trained.rotation, focal, 3 * SIZE, 3 * SIZE)
    postures, masks = [], []
    for _ in range(TRIED):
        spread = WANDER * (high - low)
        q = (np.array(world.ready) + rng.uniform(-spread, spread)).clip(low + MARGIN, high - MARGIN)
        if model.free(q) < WANTED:
            continue
        all_of_it = arm.look(wide, q) == MOVING
        mask = all_of_it[SIZE : 2 * SIZE, SIZE : 2 * SIZE]
        if mask.sum() >= SEEN * all_of_it.sum():
            postures.append(q)
            masks.append(mask.ravel())
    if len(postures) < count:
        raise ValueError(f"Only {len(postures)} of {count} postures were found in which the camera sees the arm.")
    return _in_order(np.array(postures), np.array(masks), count)


def _in_order(postures: np.ndarray, masks: np.ndarray, count: int) -> np.ndarray:
    """Those whose silhouettes differ most, one after the other, from near to near."""
    chosen = [0]
    gaps = (masks ^ masks[0]).sum(1)
    while len(chosen) < count:
        chosen.append(int(gaps.argmax()))
        gaps = np.minimum(gaps, (masks ^ masks[chosen[-1]]).sum(1))
    left, order = list(postures[chosen]), []
    while left:
        here = order[-1] if order else left[0]
        order.append(left.pop(int(np.argmin([np.abs(q - here).max() for q in left]))))
    return np.array(order)
