"""What a guard must know of an arm's body: where its fingertip is, and how hard its joints are to stop; in numpy.

Frames are those of ``argos_sim.kinematics``, from which the export takes the numbers and to which a test holds them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Body:
    """A chain of J joints, one a link, and what resists them."""

    positions: tuple[tuple[float, float, float], ...]
    """Of each link in its parent's frame [m]."""
    quaternions: tuple[tuple[float, float, float, float], ...]
    """Rotation from each link's frame to its parent's at joint angle zero, x, y, z, w."""
    axes: tuple[tuple[float, float, float], ...]
    """Of each joint in its link's frame."""
    parents: tuple[int, ...]
    """Index of the link that each is mounted on; −1 for the base."""
    slides: tuple[bool, ...]
    tip: tuple[float, float, float]
    """Fingertip in the frame of ``tip_link`` [m]."""
    tip_link: int
    inertia: tuple[tuple[float, float], ...]
    """Least and largest that each joint has to move, rotor included [kg·m²; kg where one slides]."""
    gravity: tuple[float, ...]
    """Largest torque that gravity asks of each joint [N·m; N]."""

    def problems(self, joints: int) -> list[str]:
        """What cannot be right of it, for ``joints`` joints."""
        columns = ("positions", "quaternions", "axes", "parents", "slides", "inertia", "gravity")
        found = [f"body.{n} has not one entry a joint" for n in columns if len(getattr(self, n)) != joints]
        numbers = np.concatenate([np.ravel(x) for x in (self.inertia, self.gravity, self.positions, self.quaternions)])
        if not found and not (np.isfinite(numbers).all() and np.min(self.inertia) > 0 and min(self.gravity) >= 0):
            found.append("body has an inertia or a place that is not a finite number")
        if not found and not all(-1 <= parent < i for i, parent in enumerate(self.parents)):
            found.append("body.parents must come before their children")
        return found if found or 0 <= self.tip_link < joints else ["body.tip_link is no link"]


class Chain:
    """Forward kinematics of a ``Body``."""

    def __init__(self, body: Body) -> None:
        self._parents, self._slides, self._link = body.parents, body.slides, body.tip_link
        self._positions, self._axes = np.array(body.positions, dtype=float), np.array(body.axes, dtype=float)
        self._rotations = [_matrix(np.array(q, dtype=float)) for q in body.quaternions]
        self._tip = np.array(body.tip, dtype=float)
        moves = [False] * len(body.parents)
        link = body.tip_link
        while link >= 0:
            moves[link], link = True, body.parents[link]
        self._moves = moves

    def tip_and_jacobian(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fingertip (…, 3) [m] in the base frame and its Jacobian (…, 3, J) [m/rad] at joints (…, J)."""
        origins: list[np.ndarray] = []
        rotations: list[np.ndarray] = []
        axes: list[np.ndarray] = []
        for i, parent in enumerate(self._parents):
            base = np.zeros((*q.shape[:-1], 3)), np.broadcast_to(np.eye(3), (*q.shape[:-1], 3, 3))
            origin, rotation = base if parent < 0 else (origins[parent], rotations[parent])
            origin = origin + rotation @ self._positions[i]
            rotation = rotation @ self._rotations[i]
            axis = rotation @ self._axes[i]
            if self._slides[i]:
                origin = origin + q[..., i, None] * axis
            else:
                rotation = rotation @ _turn(self._axes[i], q[..., i])
            origins.append(origin)
            rotations.append(rotation)
            axes.append(axis)
        tip = origins[self._link] + rotations[self._link] @ self._tip
        columns = []
        for i, axis in enumerate(axes):
            column = axis if self._slides[i] else np.cross(axis, tip - origins[i])
            columns.append(column if self._moves[i] else np.zeros_like(column))
        return tip, np.stack(columns, -1)


def _matrix(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrix of a unit quaternion x, y, z, w."""
    x, y, z, w = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _turn(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotations (…, 3, 3) by angles (…,) about a unit axis (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    sin, cos = np.sin(angle)[..., None, None], np.cos(angle)[..., None, None]
    return np.eye(3) + sin * cross + (1 - cos) * (cross @ cross)
