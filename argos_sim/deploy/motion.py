"""Where joints are to be while a demonstration is recorded: a trajectory from a file, or whoever moves a leader arm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from argos_sim.deploy.manifest import DeployError, PolicyManifest

BEYOND = 1e-3
"""A waypoint may lie outside a joint's range by so much [rad]: what a file's decimals cost."""


@dataclass(frozen=True)
class Wanted:
    """Where the joints are to be, said at one time."""

    position: np.ndarray
    """(J,) [rad]."""
    velocity: np.ndarray
    """(J,) [rad/s]."""
    time: float
    """Monotonic [s] of when that was known: a leader that is silent makes it old."""


class MotionSource(Protocol):
    """Says where the joints are to be. Asked by the control thread; returns at once."""

    def begin(self, position: np.ndarray, now: float) -> None:
        """An episode begins now, with the joints at ``position`` (J,) [rad]."""
        ...

    def wanted(self, now: float) -> Wanted | None:
        """What is wanted at ``now``; None while nobody knows."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class Trajectory:
    """Waypoints in time, from wherever the joints are at the beginning; after the last one they stay there.

    Between waypoints each joint follows Fritsch and Carlson's monotone cubic (SIAM J. Numer. Anal. 17, 1980, with the
    harmonic mean of the slopes): it passes through every waypoint and overshoots none, so that a range that the
    waypoints keep is kept between them, too.
    """

    def __init__(self, time: np.ndarray, position: np.ndarray, manifest: PolicyManifest) -> None:
        """``time`` (N,) from the episode's beginning [s], rising and above zero, and ``position`` (N, J) [rad].

        Raises:
            DeployError: they are no such numbers, or outside a joint's range.
        """
        joints, (low, high) = len(manifest.joint_names), np.asarray(manifest.joint_limits, float).T
        if time.ndim != 1 or not len(time) or position.shape != (len(time), joints):
            raise DeployError(f"A trajectory is N times and (N, {joints}) joints, not {time.shape}, {position.shape}.")
        if not (np.isfinite(time).all() and np.isfinite(position).all() and (np.diff(time, prepend=0.0) > 0).all()):
            raise DeployError("A trajectory's times must rise from above zero, and all its numbers be finite.")
        outside = (position < low - BEYOND) | (position > high + BEYOND)
        if outside.any():
            row, joint = np.argwhere(outside)[0]
            raise DeployError(
                f"At {time[row]:g} s the trajectory has {manifest.joint_names[joint]} at {position[row, joint]:g} rad, "
                f"and its range is {low[joint]:g} to {high[joint]:g}."
            )
        self._time, self._waypoints = time.astype(float), position.astype(float).clip(low, high)
        self.begin(self._waypoints[0], 0.0)

    @property
    def seconds(self) -> float:
        """How long it takes [s]."""
        return float(self._time[-1])

    def begin(self, position: np.ndarray, now: float) -> None:
        """See ``MotionSource``."""
        self._begun = now
        self._knots = np.r_[0.0, self._time]
        self._values = np.vstack([position, self._waypoints])
        self._slopes = _slopes(self._knots, self._values)

    def wanted(self, now: float) -> Wanted:
        """See ``MotionSource``."""
        at = min(max(now - self._begun, 0.0), self.seconds)
        leg = min(int(np.searchsorted(self._knots, at, side="right")) - 1, len(self._knots) - 2)
        width = self._knots[leg + 1] - self._knots[leg]
        s, low, high = (at - self._knots[leg]) / width, self._values[leg], self._values[leg + 1]
        begin, end = width * self._slopes[leg], width * self._slopes[leg + 1]
        square, cube = 3 * (high - low) - 2 * begin - end, 2 * (low - high) + begin + end
        position = low + s * begin + s**2 * square + s**3 * cube
        return Wanted(position, (begin + 2 * s * square + 3 * s**2 * cube) / width, now)

    def close(self) -> None:
        """Holds nothing."""

    @staticmethod
    def read(path: Path, manifest: PolicyManifest) -> Trajectory:
        """From JSON: ``{"joints": [names], "time": [s], "position": [[rad], ...]}``, the joints in any order.

        Raises:
            DeployError: it is no such file.
        """
        try:
            data = json.loads(path.read_text())
            time, position = (np.array(data[name], float) for name in ("time", "position"))
            names = list(data["joints"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            why = " ".join(str(error).split())
            raise DeployError(f"{path} is no trajectory ({why}): it has joints, time and position in JSON.") from None
        if sorted(map(str, names)) != sorted(manifest.joint_names) or position.shape[1:] != (len(names),):
            raise DeployError(f"{path} is of the joints {names}, the policy of {', '.join(manifest.joint_names)}.")
        return Trajectory(time, position[:, [names.index(name) for name in manifest.joint_names]], manifest)


def _slopes(knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(N, J) speeds at the knots: zero at both ends and where the direction changes."""
    width = np.diff(knots)[:, None]
    secant = np.diff(values, axis=0) / width
    before, after = secant[:-1], secant[1:]
    w1, w2 = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    on = before * after > 0
    safe = np.where(on, before, 1.0), np.where(on, after, 1.0)
    with np.errstate(over="ignore"):  # slopes next to nothing
        inner = np.where(on, (w1 + w2) / (w1 / safe[0] + w2 / safe[1]), 0.0)
    none = np.zeros((1, values.shape[1]))
    return np.vstack([none, inner, none])
