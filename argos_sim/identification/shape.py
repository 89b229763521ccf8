"""How near an SO-100 comes to the table and to itself, in numpy: boxes about its links, as ``so100.xml`` draws them."""

from __future__ import annotations

import itertools

import numpy as np

from argos_sim.deploy.body import Links
from argos_sim.deploy.manifest import DeployError, PolicyManifest

Box = tuple[tuple[float, float, float], tuple[float, float, float]]

FOOT: tuple[Box, ...] = (
    ((-0.046, -0.082, 0.0), (0.046, 0.022, 0.01)),
    ((-0.030, -0.076, 0.01), (0.030, 0.018, 0.042)),
    ((-0.022, -0.010, 0.042), (0.022, 0.022, 0.066)),
)
"""Least and largest corner of boxes about what does not move, in the base's frame [m]."""
SO100: dict[str, tuple[Box, ...]] = {
    "shoulder_pan": (
        ((-0.028, 0.022, -0.027), (0.028, 0.086, 0.042)),
        ((-0.033, 0.072, 0.010), (0.033, 0.124, 0.043)),
    ),
    "shoulder_lift": (
        ((-0.024, -0.015, -0.012), (0.024, 0.104, 0.017)),
        ((-0.024, 0.084, -0.005), (0.024, 0.124, 0.041)),
    ),
    "elbow_flex": (
        ((-0.0295, -0.015, -0.015), (0.0295, 0.015, 0.047)),
        ((-0.024, -0.011, 0.036), (0.024, 0.016, 0.136)),
    ),
    "wrist_flex": (((-0.026, -0.057, -0.0135), (0.026, 0.012, 0.0135)),),
    "wrist_roll": (
        ((-0.031, -0.038, -0.020), (0.025, 0.002, 0.020)),
        ((0.0088, -0.1045, -0.014), (0.0296, -0.0187, 0.014)),
    ),
    "gripper": (((-0.0112, -0.0794, -0.023), (0.010, 0.010, 0.023)),),
}
"""The same of the link that each joint moves, in the link's frame."""
CELL = 0.026
"""Edge of the pieces that one sphere encloses [m]."""
BATCH = 2000
"""Postures that are computed together."""


class Shape:
    """Boxes on the links of a manifest's body."""

    def __init__(self, manifest: PolicyManifest) -> None:
        """``DeployError`` where the policy does not know the arm's body, or it is no SO-100."""
        if manifest.body is None:
            raise DeployError("The policy does not know the arm's body, so that nothing keeps it off the table.")
        unknown = [name for name in manifest.joint_names if name not in SO100]
        if unknown or len(manifest.joint_names) != len(SO100):
            raise DeployError(f"The way to the posture box is known for an SO-100 alone, not for {unknown or 'this'}.")
        self._links = Links(manifest.body)
        boxes = [SO100[name] for name in manifest.joint_names]
        self._boxes = [FOOT, *boxes]  # of link − 1, so that the foot is link −1
        self._spheres = [_spheres(of) for of in self._boxes]
        self._corners = [np.array([[*corner, 1.0] for box in of for corner in _corners(box)]) for of in boxes]
        self._off_table = [i for i, name in enumerate(manifest.joint_names) if name != "shoulder_pan"]
        self._apart = _not_neighbours(manifest.body.parents)

    def clearance(self, q: np.ndarray) -> np.ndarray:
        """Distances (N, K) [m] at joints (N, J): of each link's lowest corner from the table, and at least so much of
        each two links from each other that are no neighbours; below zero where they reach into each other."""
        return np.concatenate([self._of(q[i : i + BATCH]) for i in range(0, len(q), BATCH)])

    def _of(self, q: np.ndarray) -> np.ndarray:
        frames = self._links.frames(q)
        frames = np.concatenate([frames, np.broadcast_to(np.eye(4), (len(q), 1, 4, 4))], 1)  # the foot is link −1
        found = [(frames[:, i, 2:3] @ self._corners[i].T).min((1, 2)) for i in self._off_table]
        for a, b in self._apart:
            centre, radius = self._spheres[a + 1]
            seen = np.linalg.inv(frames[:, b]) @ frames[:, a]
            points = centre @ np.swapaxes(seen[:, :3, :3], 1, 2) + seen[:, None, :3, 3]
            found.append(np.min([(_to_box(points, box) - radius).min(1) for box in self._boxes[b + 1]], 0))
        return np.stack(found, 1)


def _not_neighbours(parents: tuple[int, ...]) -> list[tuple[int, int]]:
    """Pairs of links, the outer one first; −1 is the foot."""
    pairs = itertools.combinations(range(-1, len(parents)), 2)
    return [(outer, inner) for inner, outer in pairs if parents[outer] != inner]


def _corners(box: Box) -> np.ndarray:
    return np.array(list(itertools.product(*zip(*box, strict=True))))


def _spheres(boxes: tuple[Box, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Centres (S, 3) and radii (S,) of spheres that hold the boxes."""
    centres, radii = [], []
    for low, high in np.array(boxes):
        count = np.ceil((high - low) / CELL).astype(int)
        edge = (high - low) / count
        cells = np.array(list(itertools.product(*map(range, count))))
        centres.append(low + (cells + 0.5) * edge)
        radii.append(np.full(len(cells), 0.5 * np.linalg.norm(edge)))
    return np.concatenate(centres), np.concatenate(radii)


def _to_box(points: np.ndarray, box: Box) -> np.ndarray:
    """Distance (…,) of points (…, 3) from a box; below zero within."""
    low, high = np.array(box)
    beyond = np.abs(points - 0.5 * (low + high)) - 0.5 * (high - low)
    return np.linalg.norm(np.maximum(beyond, 0.0), axis=-1) + np.minimum(beyond.max(-1), 0.0)
