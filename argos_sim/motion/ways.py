"""Ways of a robot's joints on which nothing touches, found on its own model before anything moves.

On a way no part comes nearer to the table, or two parts to each other, than ``WANTED``; where an end of the way is
nearer, such as an arm that lies on the table, not nearer than there, and only about that end.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.motion import Trajectory
from argos_sim.motion.model import RobotModel

WANTED, COMFORT = 0.02, 0.08
"""Clearance that a way keeps where its ends have it, and from which on more of it is no better [m]."""
LEAVING = 0.4
"""About an end that is nearer, as far as some joint has moved by so much [rad], a way may be as near."""
SLACK = 0.003
"""By which a way may be nearer than that [m]."""
RAISING = 3
"""So many joints are searched, those that raise the robot the most; the others follow when it is up."""
DEARER = 8.0
"""How much dearer a way is where there is no clearance at all."""
GRID, FINE = 0.17, 0.04
"""Between postures of the grid, and between those at which a way is checked [rad]."""
RIM = 0.06
"""From the ends of the joints' ranges that a way keeps where its ends allow it [rad]."""
SPEED, SLOW = 0.7, 0.25
"""Of the fastest joint, where there is clearance and where there is none [rad/s]."""
SHARE = 0.5
"""No joint is faster than this share of its own limit."""


@dataclass(frozen=True)
class Way:
    """Postures, and when the joints are at each."""

    postures: np.ndarray
    """(N, J) [rad]."""
    time: np.ndarray
    """(N,) from the first [s]."""

    @property
    def end(self) -> np.ndarray:
        """The last posture (J,) [rad]."""
        return self.postures[-1]

    def back(self) -> Way:
        """The same backward."""
        return Way(self.postures[::-1], self.time[-1] - self.time[::-1])

    def played(self, manifest: PolicyManifest, begin: np.ndarray, now: float) -> Trajectory:
        """From ``begin`` (J,), near the first posture, which is left at ``now``."""
        # Arms lie at the ends of their joints' ranges, as they read a little beyond.
        postures = self.postures.clip(*np.array(manifest.joint_limits).T)
        first = float(np.abs(begin - postures[0]).max()) / SPEED
        path = Trajectory(self.time + max(first, 0.1), postures, manifest)
        path.begin(begin, now)
        return path


class Ways:
    """Of one robot."""

    def __init__(self, model: RobotModel, manifest: PolicyManifest) -> None:
        self.model, self._limits = model, np.array(manifest.joint_limits)
        self._fastest = SHARE * np.array(manifest.velocity_limits)

    def straight(self, begin: np.ndarray, end: np.ndarray) -> Way | None:
        """All joints at once from ``begin`` to ``end``, each (J,) [rad]; None where that is not clear."""
        return self._checked(np.stack([begin, end]), self.model.clearance(np.stack([begin, end])))

    def found(self, begin: np.ndarray, end: np.ndarray) -> Way:
        """The least costly way on which the joints that raise the robot go first, and nearness costs; where there is
        none, such as for an arm of seven joints whose elbow points aside, the straight one.

        Raises:
            DeployError: neither is clear.
        """
        first = np.sort(np.argsort(self.model.rising(end))[-RAISING:]).tolist()
        axes = [_axis(float(begin[j]), float(end[j]), *self._limits[j]) for j in first]
        ends = self.model.clearance(np.stack([begin, end]))

        @cache
        def posture(at: tuple[int, ...]) -> np.ndarray:
            q = begin.copy()
            q[first] = [axis[i] for axis, i in zip(axes, at, strict=True)]
            return q

        @cache
        def price(at: tuple[int, ...]) -> float:
            q = posture(at)[None]
            clearance = self.model.clearance(q)
            clear = (clearance >= self._kept(q, begin, end, ends)).all()
            return 1 + DEARER * float(_nearness(clearance, ends)[0]) if clear else np.inf

        path = _cheapest(axes, price, *(_nearest(axes, q[first]) for q in (begin, end)))
        way = self._checked(np.vstack([*map(posture, path), end]), ends) if path else None
        way = way or self.straight(begin, end)
        if way is None:
            raise DeployError(
                "There is no safe way for the arm from where it lies to where it is to go: fold it back over its foot, "
                "or lay it where nothing is between it and straight up."
            )
        return way

    def _checked(self, postures: np.ndarray, ends: np.ndarray) -> Way | None:
        """A way by ``postures`` (N, J); None where something is nearer than it may be, given the ``ends``' (2, K)."""
        fine = _fine(postures)
        clearance = self.model.clearance(fine)
        if (clearance < self._kept(fine, postures[0], postures[-1], ends) - SLACK).any():
            return None
        return Way(fine, self._times(fine, _nearness(clearance, ends)))

    def _kept(self, postures: np.ndarray, begin: np.ndarray, end: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """(N, K) clearance that each of ``postures`` must have [m]."""
        kept = np.where(self.model.near, ends.min(0), WANTED).clip(max=WANTED)
        away = [np.abs(postures - q).max(1, keepdims=True) for q in (begin, end)]
        about = [np.where(far < LEAVING, one, WANTED) for far, one in zip(away, ends, strict=True)]
        return np.minimum(kept, np.minimum(*about)) - SLACK

    def _times(self, postures: np.ndarray, near: np.ndarray) -> np.ndarray:
        """(N,) [s], slower where something is near."""
        speed = SPEED + (SLOW - SPEED) * np.maximum(near[1:], near[:-1])
        moved = np.abs(np.diff(postures, axis=0))
        seconds = np.maximum(moved.max(1) / speed, (moved / self._fastest).max(1))
        return np.r_[0.0, np.cumsum(np.maximum(seconds, 1e-6))]


def _nearness(clearance: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(N,) 0 where there is room all about, as much as ``COMFORT`` or as at the second of the ``ends`` (2, K), and 1
    where there is as little as at the nearer of them."""
    limit = np.minimum(ends.min(0), WANTED) - SLACK
    room = np.maximum(np.minimum(ends[-1], COMFORT) - limit, 1e-3)
    return 1 - np.clip((clearance - limit) / room, 0.0, 1.0).min(1)


def _axis(begin: float, end: float, low: float, high: float) -> np.ndarray:
    """Angles of one joint, both ends of the way among them [rad]."""
    low, high = min(low + RIM, begin, end), max(high - RIM, begin, end)
    between = np.linspace(low, high, round((high - low) / GRID) + 1)
    ends = np.unique([begin, end])
    return np.sort(np.r_[between[np.abs(between[:, None] - ends).min(1) > 0.1 * GRID], ends])


def _nearest(axes: list[np.ndarray], q: np.ndarray) -> tuple[int, ...]:
    """Indices of the posture of the grid that is nearest to joints."""
    return tuple(int(np.abs(axis - x).argmin()) for axis, x in zip(axes, q, strict=True))


def _cheapest(
    axes: list[np.ndarray],
    price: Callable[[tuple[int, ...]], float],
    begin: tuple[int, ...],
    end: tuple[int, ...],
) -> list[tuple[int, ...]]:
    """Indices of the postures on the way between two of them (A*, Hart et al. 1968); none where there is no way.

    ``price`` is that of 1 rad, 1 at least.
    """
    grid, goal = np.meshgrid(*axes, indexing="ij"), [axis[i] for axis, i in zip(axes, end, strict=True)]
    left = np.sqrt(sum(np.square(one - other) for one, other in zip(grid, goal, strict=True)))
    steps = [step for step in itertools.product((-1, 0, 1), repeat=len(axes)) if any(step)]
    cost, came, queue = {begin: 0.0}, {begin: begin}, [(float(left[begin]), begin)]
    while queue:
        likely, here = heapq.heappop(queue)
        if here == end:
            break
        if likely > cost[here] + left[here]:
            continue  # it was reached by a cheaper way since
        for step in steps:
            there = tuple(i + k for i, k in zip(here, step, strict=True))
            if not all(0 <= i < len(axis) for i, axis in zip(there, axes, strict=True)):
                continue
            length = math.dist(*([axis[i] for axis, i in zip(axes, at, strict=True)] for at in (here, there)))
            onward = cost[here] + 0.5 * length * (price(here) + price(there))
            if onward < cost.get(there, np.inf):
                cost[there], came[there] = onward, here
                heapq.heappush(queue, (onward + float(left[there]), there))
    path = [end] if end in came else []
    while path and path[-1] != begin:
        path.append(came[path[-1]])
    return path[::-1]


def _fine(postures: np.ndarray) -> np.ndarray:
    """(M, J) with no joint moving by more than ``FINE`` from one to the next."""
    parts = []
    for one, two in itertools.pairwise(postures):
        count = max(1, int(np.ceil(np.abs(two - one).max() / FINE)))
        parts.append(one + (two - one) * (np.arange(count)[:, None] / count))
    return np.vstack([*parts, postures[-1]])
