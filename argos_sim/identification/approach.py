"""A way for the joints from where an arm lies to the middle of its posture box, found before anything moves.

On the way no part comes nearer to the table, or two parts to each other, than at the begin or than ``WANTED``,
whichever is less. Lift, elbow and wrist go first, by the least costly way through a grid of postures in which nearness
costs (value iteration, Bellman 1957); up there pan, roll and jaw follow.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.motion import Trajectory
from argos_sim.identification.shape import Shape

FIRST = ("shoulder_lift", "elbow_flex", "wrist_flex")
"""Joints that raise an SO-100's arm; the others leave its height nearly as it is."""
WANTED, COMFORT = 0.02, 0.08
"""Clearance that a way keeps where its ends have it, and from which on more of it is no better [m]."""
DEARER = 8.0
"""How much dearer a way is where there is no clearance at all."""
SLACK = 0.003
"""By which a way may be nearer than its ends between two postures of the grid [m]."""
GRID, FINE = 0.17, 0.04
"""Between postures of the grid, and between those at which a way is checked [rad]."""
RIM = 0.06
"""From the ends of the joints' ranges that a way keeps where its ends allow it [rad]."""
SPEED, SLOW = 0.7, 0.25
"""Of the fastest joint, where there is clearance and where there is none [rad/s]."""


@dataclass(frozen=True)
class Way:
    """Postures from where the arm lay to the middle of its box, and when it is at each."""

    postures: np.ndarray
    """(N, J) [rad]."""
    time: np.ndarray
    """(N,) from the first [s]."""

    @property
    def seconds(self) -> float:
        """How long it takes [s]."""
        return float(self.time[-1])

    def there(self, manifest: PolicyManifest, now: float) -> Trajectory:
        """From the first posture, which is left at ``now``."""
        return _played(self.postures, self.time, manifest, now)

    def back(self, manifest: PolicyManifest, begin: np.ndarray, now: float) -> Trajectory:
        """The same backward, from ``begin`` (J,) in the box, by way of its middle."""
        first = float(np.abs(begin - self.postures[-1]).max()) / SPEED
        postures = np.vstack([begin, self.postures[::-1]])
        return _played(postures, np.r_[0.0, max(first, 0.1) + self.seconds - self.time[::-1]], manifest, now)


def find_way(manifest: PolicyManifest, begin: np.ndarray, goal: np.ndarray) -> Way:
    """The way from ``begin`` to ``goal``, each (J,) [rad].

    Raises:
        DeployError: there is none that keeps its distance, or the policy does not know the arm.
    """
    shape = Shape(manifest)
    first = [manifest.joint_names.index(name) for name in FIRST]
    ends = shape.clearance(np.stack([begin, goal]))
    limit = np.minimum(ends.min(0), WANTED) - SLACK
    axes = [_axis(begin[j], goal[j], *manifest.joint_limits[j]) for j in first]
    postures = np.tile(begin, (*map(len, axes), 1))
    postures[..., first] = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    clearance = shape.clearance(postures.reshape(-1, len(begin)))
    near = _nearness(clearance, limit, ends[1]).reshape(postures.shape[:-1])
    price = np.where((clearance >= limit).all(1).reshape(near.shape), 1 + DEARER * near, np.inf)
    at, end = ([int(np.abs(axis - x[j]).argmin()) for axis, j in zip(axes, first, strict=True)] for x in (begin, goal))
    path = _cheapest(axes, price, tuple(at), tuple(end))
    whole = np.vstack([postures[tuple(np.array(path).T)], goal]) if path else np.stack([begin, goal])
    fine = _fine(whole)
    clearance = shape.clearance(fine)
    if not path or (clearance < limit - SLACK).any():
        raise DeployError(
            "There is no safe way for the arm from where it lies to where it is excited: fold it back over its foot, "
            "or lay it where nothing is between it and straight up."
        )
    return Way(fine, _times(fine, _nearness(clearance, limit, ends[1])))


def _nearness(clearance: np.ndarray, limit: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """(N,) 0 where there is room all about, as much as ``COMFORT`` or as at the goal, and 1 at the limit (K,)."""
    room = np.maximum(np.minimum(goal, COMFORT) - limit, 1e-3)
    return 1 - np.clip((clearance - limit) / room, 0.0, 1.0).min(1)


def _axis(begin: float, goal: float, low: float, high: float) -> np.ndarray:
    """Angles of one joint, both ends among them [rad]."""
    low, high = min(low + RIM, begin), max(high - RIM, begin)
    between = np.linspace(low, high, round((high - low) / GRID) + 1)
    ends = np.unique([begin, goal])
    return np.sort(np.r_[between[np.abs(between[:, None] - ends).min(1) > 0.1 * GRID], ends])


def _cheapest(
    axes: list[np.ndarray], price: np.ndarray, begin: tuple[int, ...], end: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Indices of the postures on the way between two of them; none where there is no way."""
    steps = [step for step in itertools.product((-1, 0, 1), repeat=len(axes)) if any(step)]
    moves = [_move(axes, price, step) for step in steps]
    cost = np.full(price.shape, np.inf)
    cost[end] = 0.0
    while True:
        before = cost.copy()
        for here, there, dear in moves:
            cost[here] = np.minimum(cost[here], cost[there] + dear)
        if np.array_equal(before, cost):
            break
    if not np.isfinite(cost[begin]):
        return []
    path = [begin]
    while path[-1] != end:
        here = np.array(path[-1])
        around = [tuple(int(i) for i in here + step) for step in steps]
        around = [p for p in around if all(0 <= i < n for i, n in zip(p, price.shape, strict=True))]
        around = [p for p in around if cost[p] < cost[path[-1]]]
        onward = [cost[p] + _length(axes, path[-1], p) * 0.5 * (price[path[-1]] + price[p]) for p in around]
        path.append(around[int(np.argmin(onward))])
    return path


def _move(axes: list[np.ndarray], price: np.ndarray, step: tuple[int, ...]) -> tuple[tuple, tuple, np.ndarray]:
    """Where a step can be made from, where it leads, and what it costs."""
    here = tuple(slice(max(0, -k), len(axis) - max(0, k)) for k, axis in zip(step, axes, strict=True))
    there = tuple(slice(max(0, k), len(axis) - max(0, -k)) for k, axis in zip(step, axes, strict=True))
    gaps = np.meshgrid(*(axis[b] - axis[a] for axis, a, b in zip(axes, here, there, strict=True)), indexing="ij")
    return here, there, np.sqrt(np.square(gaps).sum(0)) * 0.5 * (price[here] + price[there])


def _length(axes: list[np.ndarray], one: tuple[int, ...], two: tuple[int, ...]) -> float:
    return float(np.linalg.norm([axis[b] - axis[a] for axis, a, b in zip(axes, one, two, strict=True)]))


def _fine(postures: np.ndarray) -> np.ndarray:
    """(M, J) with no joint moving by more than ``FINE`` from one to the next."""
    parts = []
    for one, two in itertools.pairwise(postures):
        count = max(1, int(np.ceil(np.abs(two - one).max() / FINE)))
        parts.append(one + (two - one) * (np.arange(count)[:, None] / count))
    return np.vstack([*parts, postures[-1]])


def _times(postures: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(N,) [s], slower where something is near."""
    speed = SPEED + (SLOW - SPEED) * near
    moved = np.abs(np.diff(postures, axis=0)).max(1)
    return np.r_[0.0, np.cumsum(np.maximum(moved, 1e-6) / np.minimum(speed[:-1], speed[1:]))]


def _played(postures: np.ndarray, time: np.ndarray, manifest: PolicyManifest, now: float) -> Trajectory:
    played = Trajectory(time[1:], postures[1:], manifest)
    played.begin(postures[0], now)
    return played
