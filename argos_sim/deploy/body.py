"""What a guard must know of an arm's body: where its fingertips are, and how hard its joints are to stop; in numpy.

Frames are those of ``argos_sim.kinematics``, from which the export takes the numbers and to which a test holds them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from argos_sim.deploy.rotations import matrix


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
    fingertips: tuple[tuple[int, tuple[float, float, float]], ...] = ()
    """Of the other fingers: the link that each is on, and its end in that link's frame [m]. None in earlier exports."""

    def problems(self, joints: int) -> list[str]:
        """What cannot be right of it, for ``joints`` joints."""
        columns = ("positions", "quaternions", "axes", "parents", "slides", "inertia", "gravity")
        found = [f"body.{n} has not one entry a joint" for n in columns if len(getattr(self, n)) != joints]
        ends = tuple(end for _, end in self.fingertips)
        known = (self.inertia, self.gravity, self.positions, self.quaternions, self.axes, (self.tip, *ends))
        numbers = np.concatenate([np.ravel(x) for x in known])
        if not found and not (np.isfinite(numbers).all() and np.min(self.inertia) > 0 and min(self.gravity) >= 0):
            found.append("body has an inertia or a place that is not a finite number")
        if not found and min(np.linalg.norm(np.reshape(x, (joints, -1)), axis=1).min() for x in known[3:5]) < 0.5:
            found.append("body has an axis or a rotation without length")
        if not found and not all(-1 <= parent < i for i, parent in enumerate(self.parents)):
            found.append("body.parents must come before their children")
        links = {"tip_link is": (self.tip_link,), "fingertips are on": tuple(link for link, _ in self.fingertips)}
        for name, numbers in links.items():
            if not found and not all(type(link) is int and 0 <= link < joints for link in numbers):
                found.append(f"body.{name} no link")
        return found


class Chain:
    """Forward kinematics of a ``Body``'s fingertips, and of the joints on the way to them.

    Attributes:
        points: how many ``points_and_jacobian`` tells.
        tips: how many of them are fingertips.
    """

    def __init__(self, body: Body) -> None:
        self._joints = len(body.parents)
        ends = [*body.fingertips, (body.tip_link, body.tip)]
        ways = [_way(body, link) for link, _ in ends]
        self._path = sorted(set().union(*ways))
        """Joints that move a fingertip, parents before their children."""
        place = {link: n for n, link in enumerate(self._path)}
        self._parents = [place.get(body.parents[i], -1) for i in self._path]
        self._slides = np.array([body.slides[i] for i in self._path], dtype=bool)
        carried = [(parent, at) for parent, at in zip(body.parents, body.positions, strict=True) if parent in place]
        self.points, self.tips = len(carried) + len(ends), len(ends)
        self._carrier = np.array([place[link] for link, _ in [*carried, *ends]])
        """Of each point, its place on the path."""
        self._offsets = np.array([[*at, 1.0] for _, at in [*carried, *ends]])
        moving = [*(_way(body, link) for link, _ in carried), *ways]
        self._moves = np.array([[link in way for link in self._path] for way in moving])
        axes = np.array([body.axes[i] for i in self._path], dtype=float)
        self._axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
        # A link in its parent, (4, 4), is still + sin q · turn + (1 − cos q) · back + q · slide (Rodrigues).
        self._still, self._turn, self._back, self._slide = np.zeros((4, len(self._path), 4, 4))
        for n, (i, (x, y, z)) in enumerate(zip(self._path, self._axes, strict=True)):
            rotation = matrix(body.quaternions[i])
            across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            self._still[n, :3, :3], self._still[n, :3, 3], self._still[n, 3, 3] = rotation, body.positions[i], 1
            if self._slides[n]:
                self._slide[n, :3, 3] = rotation @ self._axes[n]
            else:
                self._turn[n, :3, :3], self._back[n, :3, :3] = rotation @ across, rotation @ across @ across

    def tip_and_jacobian(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fingertip (…, 3) [m] in the base frame and its Jacobian (…, 3, J) [m/rad] at joints (…, J)."""
        points, jacobian = self._placed(q, slice(-1, None))
        return points[..., 0, :], jacobian[..., 0, :, :]

    def points_and_jacobian(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each joint that a link on the way to a fingertip carries, from the base outward, then the other fingertips,
        and the fingertip last: (…, points, 3) [m] in the base frame and their Jacobians (…, points, 3, J) [m/rad] at
        joints (…, J)."""
        return self._placed(q, slice(None))

    def _placed(self, q: np.ndarray, which: slice) -> tuple[np.ndarray, np.ndarray]:
        moved = q[..., self._path, None, None]
        links = self._still + np.sin(moved) * self._turn + (1 - np.cos(moved)) * self._back + moved * self._slide
        for n, parent in enumerate(self._parents):
            if parent >= 0:
                links[..., n, :, :] = links[..., parent, :, :] @ links[..., n, :, :]
        points = (links[..., self._carrier[which], :3, :] @ self._offsets[which, :, None])[..., 0]
        # A joint's own motion leaves its axis where it is.
        axes = (links[..., :3, :3] @ self._axes[..., None])[..., None, :, :, 0]
        arms = points[..., :, None, :] - links[..., None, :, :3, 3]
        jacobian = np.zeros((*points.shape, self._joints))
        columns = np.where(self._slides[:, None], axes, _cross(axes, arms)) * self._moves[which, :, None]
        jacobian[..., self._path] = np.swapaxes(columns, -1, -2)
        return points, jacobian


def _way(body: Body, link: int) -> set[int]:
    """Links from the base to ``link``."""
    found: set[int] = set()
    while link >= 0:
        found.add(link)
        link = body.parents[link]
    return found


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As ``np.cross`` for (…, 3), which takes three times as long for few."""
    return a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]
