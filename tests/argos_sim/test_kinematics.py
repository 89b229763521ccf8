"""Kinematics and dynamics agree with MuJoCo, and inverse kinematics inverts."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from argos_sim.configs import ExpertCfg
from argos_sim.experts import TorqueExpert, blended_ramp
from argos_sim.kinematics import SerialChain, cubic_path
from tasks.franka.robot import FRANKA
from tasks.franka.robot import MJCF_PATH as FRANKA_MJCF
from tasks.robot import Robot
from tasks.so100 import robot
from tasks.so100.robot import JOINT_LIMITS, JOINT_NAMES, MJCF_PATH, READY_POSE, SO100, so100_arm

LIMITS = torch.tensor([JOINT_LIMITS[name] for name in JOINT_NAMES])
CONSTRAINT = torch.tensor(robot.CONSTRAINT)


@pytest.fixture(scope="module")
def chain() -> SerialChain:
    return SerialChain.from_mjcf(MJCF_PATH, JOINT_NAMES, "tip")


def anywhere(robot: Robot) -> torch.Tensor:
    """Random joints (8, J) within a robot's limits."""
    low, high = torch.tensor(list(robot.joint_limits.values())).T
    return low + (high - low) * torch.rand(8, len(low))


@pytest.mark.parametrize(("robot", "mjcf"), [(SO100, MJCF_PATH), (FRANKA, FRANKA_MJCF)], ids=["so100", "franka"])
def test_tip_gravity_and_inertia_are_mujocos(robot: Robot, mjcf: Path) -> None:
    model = mujoco.MjModel.from_xml_path(str(mjcf))
    data = mujoco.MjData(model)
    chain, joints = robot.arm("cpu").chain, anywhere(robot)
    tip = chain.tip(joints)
    gravity, inertia = chain.gravity_and_inertia(joints)
    for i, angles in enumerate(joints):
        data.qpos[:] = angles.numpy()
        data.qvel[:] = 0
        mujoco.mj_forward(model, data)
        full = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, full)
        assert tip[i].numpy() == pytest.approx(data.site("tip").xpos, abs=1e-5)
        assert gravity[i].numpy() == pytest.approx(data.qfrc_bias, abs=1e-4)
        armature = np.diag(model.dof_armature)
        assert inertia[i].numpy() == pytest.approx(full - armature, abs=1e-5)


@pytest.mark.parametrize(
    "change", [('type="hinge"', 'type="hinge" pos="0 0.02 0"'), ("<inertial ", '<inertial quat="0.9 0.1 0 0" ')]
)
def test_a_model_that_experts_would_misread_is_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    model = """<mujoco><worldbody><body name="base"><geom size=".01"/><body name="link" pos="0 0 .1">
        <inertial pos="0 0 .05" mass="1" diaginertia=".01 .02 .025"/><joint name="a" type="hinge" axis="1 0 0"/>
        <site name="tip" pos="0 0 .1"/></body></body></worldbody></mujoco>"""
    (tmp_path / "a.xml").write_text(model)
    assert SerialChain.from_mjcf(tmp_path / "a.xml", ["a"], "tip").joints == 1
    (tmp_path / "a.xml").write_text(model.replace(*change))
    with pytest.raises(ValueError, match="the joint a must lie in its link's origin"):
        SerialChain.from_mjcf(tmp_path / "a.xml", ["a"], "tip")


@pytest.mark.parametrize("robot", [SO100, FRANKA], ids=["so100", "franka"])
def test_jacobian_is_the_tips_derivative(robot: Robot) -> None:
    chain, joints = robot.arm("cpu").chain, anywhere(robot)
    _, jacobian = chain.tip_and_jacobian(joints)
    for j in range(chain.joints):
        step = torch.zeros(chain.joints)
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
    expert = TorqueExpert(so100_arm("cpu"), 1, 2.4, ExpertCfg())
    joints = torch.tensor([[READY_POSE[name] for name in JOINT_NAMES]])
    held = joints @ CONSTRAINT.T
    expert.begin(torch.tensor([0]), joints, chain.tip(joints)[:, None], held[:, None])
    torque = expert.torque(expert.goal, torch.zeros(1, 6), torch.tensor([10.0]))
    assert torch.allclose(torque, chain.gravity_and_inertia(expert.goal)[0], atol=1e-4)


def test_a_movement_of_legs_rests_at_each_end_and_its_rates_are_its_derivatives(chain: SerialChain) -> None:
    expert = TorqueExpert(so100_arm("cpu"), 1, 4.0, ExpertCfg(pace=(1.0, 1.0)), legs=(0.5, 0.2, 0.3))
    joints = torch.tensor([[READY_POSE[name] for name in JOINT_NAMES]])
    held = joints @ CONSTRAINT.T
    shift = torch.tensor([[0.0, 0.0, 0.0], [0.03, 0.0, 0.0], [0.03, 0.0, -0.03]])
    tips = chain.tip(joints) + shift + torch.tensor([0.0, 0.0, 0.02])
    expert.begin(torch.tensor([0]), joints, tips[None], held.expand(3, -1)[None])
    assert expert.ik_error.item() < 1e-3
    for time, tip in zip((2.0, 2.8, 4.0), tips, strict=True):
        position, velocity, _ = expert.reference(torch.tensor([time]))
        assert torch.allclose(chain.tip(position)[0], tip, atol=1e-3) and velocity.abs().max() < 1e-4
    clock = torch.linspace(0.0, 4.0, 801)
    position, velocity, pull = (torch.cat(x) for x in zip(*(expert.reference(t[None]) for t in clock), strict=True))
    slope = torch.gradient(position, spacing=0.005, dim=0)[0]
    assert (slope - velocity).abs().max() < 0.05 * velocity.abs().max()
    bend = torch.gradient(velocity, spacing=0.005, dim=0)[0]  # off only where the pull jumps
    assert ((bend - pull).abs() > 0.05 * pull.abs().max()).float().mean() < 0.05
    with pytest.raises(ValueError, match="must sum to 1"):
        TorqueExpert(so100_arm("cpu"), 1, 4.0, ExpertCfg(), legs=(0.5, 0.2))


@pytest.mark.parametrize("wrong", [{"redirected": 1.5}, {"redirected_at": (0.6, 0.1)}, {"redirected_at": (0.1, 1.0)}])
def test_redirections_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be a share"):
        ExpertCfg(**wrong)


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
