"""Laws of the SO-100: the files agree with each other and with both engines, torques move joints, motors obey."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from argos_sim.actuators import DRY_FRICTION, NO_LOAD_SPEED, STALL_TORQUE
from argos_sim.deploy.motor_units import MotorUnits
from argos_sim.mujoco_c.arms import Arms
from argos_sim.mujoco_c.world import World
from argos_sim.paths import ASSETS
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.export import motors_of
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import get_ranges
from argos_sim.rates import Rates
from tasks.so100.robot import JOINT_LIMITS, JOINT_NAMES, MJCF_PATH, READY_POSE, SO100, TIP_BODY, TIP_OFFSET
from tests.tasks.robot_probe import DELAY, PAN_TORQUES, ROWS, SPEED_STEP, START_STEP, Measured, experiments, measure

BACK_EMF = STALL_TORQUE / NO_LOAD_SPEED
MASSES = {
    "shoulder": 0.1192,
    "upper_arm": 0.1624,
    "lower_arm": 0.1480,
    "wrist": 0.0661,
    "gripper": 0.0930,
    "moving_jaw": 0.0202,
}


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(MJCF_PATH))


@pytest.fixture(scope="module", params=["newton_mjwarp", "ovphysx"])
def measured(request: pytest.FixtureRequest) -> Measured:
    return measure(request.param)


def pan(measured: Measured, row: str) -> torch.Tensor:
    """The pan joint's angle over time in one experiment (steps,) [rad]."""
    return measured.position[:, ROWS[row], 0]


def test_mjcf_has_the_tables_masses_joints_and_limits(model: mujoco.MjModel) -> None:
    assert {name: model.body(name).mass[0] for name in MASSES} == pytest.approx(MASSES)
    assert tuple(model.joint(i).name for i in range(model.njnt)) == JOINT_NAMES
    for name, limits in JOINT_LIMITS.items():
        assert tuple(model.joint(name).range) == pytest.approx(limits)


def test_tip_offset_is_the_mjcfs_site_and_ready_pose_is_above_the_table(model: mujoco.MjModel) -> None:
    assert model.site("tip").pos == pytest.approx(TIP_OFFSET)
    assert model.body(int(model.site("tip").bodyid[0])).name == TIP_BODY
    data = mujoco.MjData(model)
    data.qpos[:] = [READY_POSE[name] for name in JOINT_NAMES]
    mujoco.mj_forward(model, data)
    x, y, z = data.site("tip").xpos
    assert abs(x) < 0.02 and -0.35 < y < -0.15 and 0.05 < z < 0.2


def test_a_robot_whose_parts_name_other_joints_is_refused() -> None:
    short = {name: 1.0 for name in JOINT_NAMES[:-1]}
    with pytest.raises(ValueError, match=r"so100 has limits for .*gripper, and torque_limits for .*wrist_roll;"):
        replace(SO100, torque_limits=short)
    with pytest.raises(ValueError, match=r"gripper of the robot so100 .* of \[2, 3\] values"):
        replace(SO100, gripper=replace(SO100.gripper, closed=(0.0, 0.0)))
    with pytest.raises(ValueError, match=r"so100 has no joint 'tail', which its motor_signs name"):
        replace(SO100, motor_signs={"tail": -1})


def test_an_export_says_what_the_robots_file_does_of_its_motors() -> None:
    stated = motors_of(replace(SO100, motor_signs={"elbow_flex": -1}, motor_middles={"gripper": 0.7}), [2.94] * 6)
    assert stated.signs == (1, 1, -1, 1, 1, 1) and stated.full == (2.94,) * 6
    assert stated.middles == pytest.approx([0.0, -1.47, 1.57, -0.1, 0.0, 0.7])
    assert motors_of(SO100, [STALL_TORQUE] * 6) == MotorUnits.of_servos(tuple(JOINT_LIMITS.values()))


@pytest.mark.parametrize("robot", sorted(path.parent.name for path in (ASSETS / "robots").glob("*/usd")))
def test_usd_equals_a_fresh_rebuild_and_names_no_place(tmp_path: Path, robot: str) -> None:
    build, usd = ASSETS / "robots" / "build.py", ASSETS / "robots" / robot / "usd"
    subprocess.run([sys.executable, str(build), robot, str(tmp_path / "usd")], check=True, capture_output=True)
    shipped = {p.relative_to(usd): p.read_bytes() for p in usd.rglob("*") if p.is_file()}
    fresh = {p.relative_to(tmp_path / "usd"): p.read_bytes() for p in (tmp_path / "usd").rglob("*") if p.is_file()}
    assert shipped == fresh, f"{usd} is not what its MJCF gives: run `make robot`"
    for content in shipped.values():
        assert not any(place in content for place in (b"/tmp", b"/home", b"/work", b"http", b"omniverse:"))


def test_engine_has_the_contracts_joints_masses_and_fixed_base(measured: Measured, model: mujoco.MjModel) -> None:
    assert tuple(measured.joint_names) == JOINT_NAMES
    assert measured.is_fixed_base
    expected = [float(model.body(name).mass[0]) for name in measured.body_names]
    assert measured.masses.tolist() == pytest.approx(expected, rel=1e-5)
    assert measured.limits.numpy() == pytest.approx(np.array([JOINT_LIMITS[n] for n in JOINT_NAMES]), abs=1e-5)


def test_link_poses_and_tip_are_mujocos_at_random_angles(measured: Measured, model: mujoco.MjModel) -> None:
    data = mujoco.MjData(model)
    tip_body = measured.body_names.index(TIP_BODY)
    for angles, poses in zip(measured.angles.numpy(), measured.poses.numpy(), strict=True):
        data.qpos[:] = angles
        mujoco.mj_forward(model, data)
        for name, pose in zip(measured.body_names, poses, strict=True):
            assert pose[:3] == pytest.approx(data.body(name).xpos, abs=1e-5)
            # scipy, like Isaac Lab 3, orders quaternions x, y, z, w
            turned = Rotation.from_quat(pose[3:]).as_matrix()
            assert turned == pytest.approx(data.body(name).xmat.reshape(3, 3), abs=1e-4)
        tip = poses[tip_body, :3] + Rotation.from_quat(poses[tip_body, 3:]).apply(TIP_OFFSET)
        assert tip == pytest.approx(data.site("tip").xpos, abs=1e-5)


def test_a_torque_moves_its_joint_with_its_sign(measured: Measured) -> None:
    after = measured.position[START_STEP + 20]
    limp, moved = after[ROWS["limp"]], after[ROWS["signs"]].view(6, 2, 6)
    for joint, name in enumerate(JOINT_NAMES):
        up, down = (moved[joint, :, joint] - limp[joint]).tolist()
        assert up > 0.05 and down < -0.05, f"1 N·m for 0.1 s moved {name} by {up:.3f} and {down:.3f} rad"


def test_the_arm_falls_limply_without_torque(measured: Measured) -> None:
    fall = measured.position[-1, ROWS["limp raised"]] - measured.starts[ROWS["limp raised"]]
    lift = JOINT_NAMES.index("shoulder_lift")
    assert fall[lift] > 0.5
    # Frictionless and without back-EMF it would pass 5 rad/s within the second.
    assert measured.velocity[:, ROWS["limp raised"], lift].max() < 2.0


def test_dry_friction_is_coulombs_in_newton_metres(measured: Measured) -> None:
    travelled = measured.position[-1, ROWS["pan torques"], 0] + 2.0
    for torque, distance in zip(PAN_TORQUES, travelled.tolist(), strict=True):
        assert (distance > 0.005) == (torque > DRY_FRICTION), f"{torque} N·m moved the pan joint by {distance} rad"


def test_speed_settles_where_back_emf_and_friction_balance_the_command(measured: Measured) -> None:
    speeds = measured.velocity[SPEED_STEP, ROWS["pan torques"], 0].tolist()
    for torque, speed in zip(PAN_TORQUES, speeds, strict=True):
        expected = max(0.0, min(torque, STALL_TORQUE) - DRY_FRICTION) / BACK_EMF
        assert speed == pytest.approx(expected, rel=0.02, abs=2e-3)


def test_strength_and_back_emf_scale_act_on_their_environment(measured: Measured) -> None:
    half = measured.velocity[SPEED_STEP, ROWS["half strength"], 0].item()
    damped = measured.velocity[SPEED_STEP, ROWS["double back-EMF"], 0].item()
    assert half == pytest.approx((0.5 - DRY_FRICTION) / BACK_EMF, rel=0.02)
    assert damped == pytest.approx((1.0 - DRY_FRICTION) / (2 * BACK_EMF), rel=0.02)


def test_a_delayed_command_does_the_same_later(measured: Measured) -> None:
    prompt = measured.position[:, ROWS["pan torques"], 0][:, PAN_TORQUES.index(1.0)]
    late = pan(measured, "delayed")
    assert late[DELAY:].numpy() == pytest.approx(prompt[:-DELAY].numpy(), abs=1e-3)
    assert math.isclose(late[START_STEP + DELAY - 1].item(), -2.0, abs_tol=1e-5)


def test_mujocos_own_loop_goes_the_same_way(measured: Measured) -> None:
    every_step = Rates(control_hz=200)
    arms = Arms(replace(World.of(environment_cfg(Settings(), 1)), rates=every_step), len(measured.starts))
    arms.reset(get_ranges("nominal"), np.random.default_rng(0))
    arms.put_joints(np.concatenate([measured.starts, np.zeros_like(measured.starts)], 1))
    arms.motors.strength[ROWS["half strength"]] = 0.5
    arms.motors.scale[ROWS["double back-EMF"]] = 2.0
    arms.motors.delay[ROWS["delayed"]] = DELAY
    torques = experiments()[1].numpy()
    path = []
    for step in range(SPEED_STEP):
        arms.step(torques * (step >= START_STEP))
        path.append(arms.joints()[:, :6])
    expected = measured.position[:SPEED_STEP].numpy()
    moved = np.abs(expected - measured.starts.numpy()).max()
    apart = np.abs(np.stack(path) - expected)
    assert moved > 1.0
    # 1 N·m on a joint for 0.1 s, then the pan joint, which nothing else disturbs, for 0.4 s.
    assert apart[: START_STEP + 20, ROWS["signs"]].max() < 0.03
    assert apart[:, ROWS["pan torques"], 0].max() < 0.03
