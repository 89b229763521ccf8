"""Kinematics and dynamics agree with MuJoCo, and inverse kinematics inverts."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
import torch

from argos_sim.experts import ExpertCfg, TorqueExpert, blended_ramp
from argos_sim.kinematics import SerialChain, cubic_path
from tasks.so100.reach import ReachExpert
from tasks.so100.robot import JOINT_LIMITS, JOINT_NAMES, MJCF_PATH, READY_POSE

LIMITS = torch.tensor([JOINT_LIMITS[name] for name in JOINT_NAMES])
CONSTRAINT = torch.tensor(ReachExpert.CONSTRAINT)


@pytest.fixture(scope="module")
def chain() -> SerialChain:
    return SerialChain.from_mjcf(MJCF_PATH, JOINT_NAMES, "tip")


@pytest.fixture
def joints() -> torch.Tensor:
    return LIMITS[:, 0] + (LIMITS[:, 1] - LIMITS[:, 0]) * torch.rand(8, 6)


def test_tip_gravity_and_inertia_are_mujocos(chain: SerialChain, joints: torch.Tensor) -> None:
    model = mujoco.MjModel.from_xml_path(str(MJCF_PATH))
    data = mujoco.MjData(model)
    tip = chain.tip(joints)
    gravity, inertia = chain.gravity_and_inertia(joints)
    for i, angles in enumerate(joints):
        data.qpos[:] = angles.numpy()
        data.qvel[:] = 0
        mujoco.mj_forward(model, data)
        full = np.zeros((6, 6))
        mujoco.mj_fullM(model, data, full)
        assert tip[i].numpy() == pytest.approx(data.site("tip").xpos, abs=1e-5)
        assert gravity[i].numpy() == pytest.approx(data.qfrc_bias, abs=1e-4)
        armature = np.diag(model.dof_armature)
        assert inertia[i].numpy() == pytest.approx(full - armature, abs=1e-5)


def test_jacobian_is_the_tips_derivative(chain: SerialChain, joints: torch.Tensor) -> None:
    _, jacobian = chain.tip_and_jacobian(joints)
    for j in range(6):
        step = torch.zeros(6)
        step[j] = 1e-3
        slope = (chain.tip(joints + step) - chain.tip(joints - step)) / 2e-3
        assert torch.allclose(slope, jacobian[:, :, j], atol=1e-3)


def test_inverse_kinematics_reaches_the_whole_workspace_with_the_gripper_held(chain: SerialChain) -> None:
    bearing, radius = torch.meshgrid(torch.linspace(-0.73, 0.73, 9), torch.linspace(0.17, 0.28, 5), indexing="ij")
    x, y = (radius * bearing.sin()).flatten(), (-0.0452 - radius * bearing.cos()).flatten()
    target = torch.stack([x, y, torch.full_like(x, 0.033)], -1)
    start = torch.tensor([READY_POSE[name] for name in JOINT_NAMES]).expand(len(target), -1)
    value = torch.stack([torch.full_like(x, math.radians(75)), start[:, 4], start[:, 5]], -1)
    angles, error = chain.inverse_kinematics(target, start, LIMITS, CONSTRAINT, value)
    assert error.max() < 1e-3
    assert torch.allclose(angles @ CONSTRAINT.T, value, atol=1e-2)


@pytest.mark.parametrize("blend", [0.1, 0.2, 0.5])
def test_ramp_starts_and_ends_at_rest_and_its_rates_are_its_derivatives(blend: float) -> None:
    phase = torch.linspace(0, 1, 2001, dtype=torch.float64)
    position, velocity, acceleration = blended_ramp(phase, blend)
    assert (position[0], position[-1]) == (0, pytest.approx(1))
    assert velocity[[0, -1]].abs().max() < 1e-9
    assert torch.allclose(torch.gradient(position, spacing=5e-4)[0], velocity, atol=5e-3)
    away = ((phase - blend).abs() > 1e-3) & ((phase - 1 + blend).abs() > 1e-3) & (phase > 1e-3) & (phase < 1 - 1e-3)
    assert torch.allclose(torch.gradient(velocity, spacing=5e-4)[0][away], acceleration[away], atol=1e-2)
    assert blended_ramp(torch.tensor([-1.0, 2.0]), blend)[0].tolist() == [0.0, 1.0]


def test_expert_at_rest_on_its_goal_only_holds_against_gravity(chain: SerialChain) -> None:
    expert = TorqueExpert(chain, LIMITS, CONSTRAINT, torch.full((6,), 2.94), 1, ExpertCfg())
    joints = torch.tensor([[READY_POSE[name] for name in JOINT_NAMES]])
    held = joints @ CONSTRAINT.T
    expert.begin(torch.tensor([0]), joints, chain.tip(joints), held)
    torque = expert.torque(expert.goal, torch.zeros(1, 6), torch.tensor([10.0]))
    assert torch.allclose(torque, chain.gravity_and_inertia(expert.goal)[0], atol=1e-4)


def test_the_path_begins_and_ends_in_the_given_states() -> None:
    start, end = torch.randn(2, 8, 12, dtype=torch.float64)
    duration = torch.rand(8, dtype=torch.float64) + 0.1
    for phase, state in ((torch.zeros(8), start), (torch.ones(8), end)):
        assert torch.allclose(torch.cat(cubic_path(start, end, duration, phase.double()), -1), state)


def test_the_velocity_is_the_positions_derivative() -> None:
    start, end = torch.randn(2, 8, 12, dtype=torch.float64)
    duration, phase = torch.rand(8, dtype=torch.float64) + 0.1, torch.rand(8, dtype=torch.float64) * 0.9
    step = 1e-6
    (a, velocity), (b, _) = (cubic_path(start, end, duration, phase + p) for p in (0.0, step))
    assert torch.allclose((b - a) / (step * duration[:, None]), velocity, atol=1e-3)
