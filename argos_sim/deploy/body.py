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
        known = (self.inertia, self.gravity, self.positions, self.quaternions, self.axes, self.tip)
        numbers = np.concatenate([np.ravel(x) for x in known])
        if not found and not (np.isfinite(numbers).all() and np.min(self.inertia) > 0 and min(self.gravity) >= 0):
            found.append("body has an inertia or a place that is not a finite number")
        if not found and min(np.linalg.norm(np.reshape(x, (joints, -1)), axis=1).min() for x in known[3:5]) < 0.5:
            found.append("body has an axis or a rotation without length")
        if not found and not all(-1 <= parent < i for i, parent in enumerate(self.parents)):
            found.append("body.parents must come before their children")
        return found if found or 0 <= self.tip_link < joints else ["body.tip_link is no link"]


class Chain:
    """Forward kinematics of a ``Body``'s fingertip."""

    def __init__(self, body: Body) -> None:
        self._joints, path, link = len(body.parents), [], body.tip_link
        while link >= 0:
            path.append(link)
            link = body.parents[link]
        self._path = path[::-1]
        """Joints that move the fingertip, from the base outward."""
        self._slides, self._tip = body.slides, np.array(body.tip, dtype=float)
        self._positions, self._axes = np.array(body.positions, dtype=float), np.array(body.axes, dtype=float)
        self._axes /= np.linalg.norm(self._axes, axis=1, keepdims=True)
        self._rotations = [_matrix(np.array(q, dtype=float)) for q in body.quaternions]
        self._across = [np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) for x, y, z in self._axes]
        self._squares = [across @ across for across in self._across]

    def tip_and_jacobian(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fingertip (…, 3) [m] in the base frame and its Jacobian (…, 3, J) [m/rad] at joints (…, J)."""
        origin, rotation = np.zeros((*q.shape[:-1], 3)), np.broadcast_to(np.eye(3), (*q.shape[:-1], 3, 3))
        origins, axes = [], []
        sine, cosine = np.sin(q)[..., None, None], 1 - np.cos(q)[..., None, None]
        for i in self._path:
            origin = origin + rotation @ self._positions[i]
            rotation = rotation @ self._rotations[i]
            axis = rotation @ self._axes[i]
            if self._slides[i]:
                origin = origin + q[..., i, None] * axis
            else:  # Rodrigues
                turn = sine[..., i, :, :] * self._across[i] + cosine[..., i, :, :] * self._squares[i]
                rotation = rotation + rotation @ turn
            origins.append(origin)
            axes.append(axis)
        tip = origin + rotation @ self._tip
        jacobian = np.zeros((*q.shape[:-1], 3, self._joints))
        for i, origin, axis in zip(self._path, origins, axes, strict=True):
            jacobian[..., i] = axis if self._slides[i] else _cross(axis, tip - origin)
        return tip, jacobian


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As ``np.cross`` for (…, 3), which takes three times as long for one."""
    (ax, ay, az), (bx, by, bz) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


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
