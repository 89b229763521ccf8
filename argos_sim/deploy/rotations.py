"""Rotations in numpy: matrices of quaternions (x, y, z, w) and of rotation vectors, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def matrix(quaternion: Sequence[float] | np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of a quaternion x, y, z, w of any length."""
    x, y, z, w = np.asarray(quaternion, dtype=float) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def turned(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of a rotation vector (3,) [rad], after Rodrigues."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12)
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * across + (1 - np.cos(angle)) * across @ across


def turn_of(rotation: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) [rad] of a matrix (3, 3) that turns by less than half a turn."""
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    sine, cosine = 0.5 * float(np.linalg.norm(axis)), 0.5 * (float(np.trace(rotation)) - 1)
    angle = np.arctan2(sine, cosine)
    return 0.5 * axis * (angle / sine if sine > 1e-9 else 1.0)
