"""Rotation vectors, quaternions and matrices say the same."""

from __future__ import annotations

import mujoco
import numpy as np

from argos_sim.deploy.rotations import matrix, turn_of, turned


def test_rotation_vectors_are_matrices_and_back() -> None:
    for vector in np.random.default_rng(0).normal(size=(20, 3)):
        np.testing.assert_allclose(turn_of(turned(vector)), vector, atol=1e-9)
    np.testing.assert_allclose(turned(np.zeros(3)), np.eye(3))
    np.testing.assert_allclose(matrix((0.0, 0.0, np.sin(0.2), np.cos(0.2))), turned(np.array([0, 0, 0.4])))


def test_quaternions_of_any_length_are_what_mujoco_makes_of_unit_ones() -> None:
    for quaternion in np.random.default_rng(1).normal(size=(20, 4)):
        out = np.zeros(9)
        unit = np.roll(quaternion, 1) / np.linalg.norm(quaternion)
        mujoco.mju_quat2Mat(out, unit)  # pyright: ignore[reportAttributeAccessIssue]
        np.testing.assert_allclose(matrix(quaternion).ravel(), out, atol=1e-12)
