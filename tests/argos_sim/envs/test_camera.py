"""The camera looks at the workspace, and quaternions are x, y, z, w."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from argos_sim.envs.camera import CameraPose, moved_poses, multiply
from argos_sim.kinematics import quaternion_to_matrix
from argos_sim.perception import Perception


def test_camera_looks_forward_and_down_with_the_picture_upright() -> None:
    rotation = quaternion_to_matrix(torch.tensor(CameraPose(pitch=math.radians(50)).quaternion))
    right, down, forward = rotation.unbind(-1)
    assert torch.allclose(right, torch.tensor([1.0, 0.0, 0.0]), atol=1e-6)
    assert torch.allclose(
        forward, torch.tensor([0.0, math.cos(math.radians(50)), -math.sin(math.radians(50))]), atol=1e-6
    )
    assert down[2] < 0


def test_product_of_quaternions_is_the_product_of_their_rotations() -> None:
    a, b = (torch.nn.functional.normalize(torch.randn(16, 4), dim=-1) for _ in range(2))
    assert torch.allclose(
        quaternion_to_matrix(multiply(a, b)), quaternion_to_matrix(a) @ quaternion_to_matrix(b), atol=1e-5
    )


def test_scalar_comes_last() -> None:
    quarter_turn_about_z = torch.tensor([0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)])
    assert torch.allclose(
        quaternion_to_matrix(quarter_turn_about_z) @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6
    )


def test_a_camera_is_moved_as_far_as_asked_and_not_without() -> None:
    origins, corners = torch.randn(64, 3), torch.randn(2, 64, 3).sign()
    position, rotation = moved_poses(CameraPose(), origins, 0.01 * corners[0], 0.02 * corners[1])
    nominal = origins + torch.tensor(CameraPose().position)
    assert torch.allclose(position - nominal, 0.01 * corners[0], atol=1e-6)
    angle = 2 * torch.acos((rotation @ torch.tensor(CameraPose().quaternion)).abs().clamp(max=1))
    assert torch.allclose(angle, torch.tensor(0.02 * math.sqrt(3)), atol=1e-3)
    still, same = moved_poses(CameraPose(), origins, torch.zeros(64, 3), torch.zeros(64, 3))
    assert torch.allclose(still, nominal)
    assert torch.allclose(same, torch.tensor(CameraPose().quaternion).expand(64, 4))


def test_a_camera_without_segmentation_is_refused() -> None:
    camera = SimpleNamespace(cfg=SimpleNamespace(data_types=["rgb"]))
    with pytest.raises(ValueError, match="gives no semantic_segmentation"):
        Perception(camera, None, [], torch.ones(0), None, None, None, None, 0)  # pyright: ignore[reportArgumentType]
