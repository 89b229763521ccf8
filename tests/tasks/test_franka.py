"""Laws of the Franka: its model is the published one, every torque moves its joint, experts do what is asked."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch
from isaaclab.assets import ArticulationCfg
from isaaclab.scene import InteractiveScene, InteractiveSceneCfg
from isaaclab.sim import SimulationCfg, SimulationContext
from isaaclab.utils import configclass

import tasks  # noqa: F401
from argos_sim.configs import ExpertCfg
from argos_sim.demos import expert_rollout, failures
from argos_sim.deploy.body import Chain
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.mdp.sectors import from_polar
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline.environment import environment_cfg, make_environment, make_expert, require_fitting_encoder
from argos_sim.pipeline.export import body_of
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.platform import launch
from argos_sim.randomization.ranges import get_ranges
from tasks.franka.robot import FRANKA, FRANKA_CFG, JOINT_NAMES, MJCF_PATH, READY_POSE, TORQUE_LIMITS
from tests.tasks.robot_probe import DT, physics, place

A = (0, 0, 0, 0.0825, -0.0825, 0, 0.088)
D = (0.333, 0, 0.316, 0, 0.384, 0, 0)
ALPHA = tuple(math.pi / 2 * k for k in (0, -1, 1, 1, -1, 1, 1))
"""The manufacturer's table of modified Denavit-Hartenberg parameters."""
N = 16


def published(q: np.ndarray) -> np.ndarray:
    """Pose (4, 4) of the last link in the published base frame, which reaches toward x, at ``q (7,)``."""
    pose = np.eye(4)
    for a, d, alpha, theta in zip(A, D, ALPHA, q, strict=True):
        c, s, ca, sa = math.cos(theta), math.sin(theta), math.cos(alpha), math.sin(alpha)
        row = [[c, -s, 0, a], [s * ca, c * ca, -sa, -d * sa], [s * sa, c * sa, ca, d * ca], [0, 0, 0, 1]]
        pose = pose @ np.array(row)
    return pose


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(MJCF_PATH))


def test_the_last_link_is_where_the_published_table_puts_it(model: mujoco.MjModel) -> None:
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    turned = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # x of the table is -y here
    for _ in range(8):
        data.qpos[:] = rng.uniform(*model.jnt_range.T)
        mujoco.mj_forward(model, data)
        pose = published(data.qpos[:7])
        assert data.body("hand").xpos == pytest.approx(turned @ pose[:3, 3], abs=1e-9)
        assert data.body("hand").xmat.reshape(3, 3) == pytest.approx(turned @ pose[:3, :3], abs=1e-9)
    # The flange of the pose that every Panda starts in is known: 0.307 m ahead, 0.590 m up.
    flange = published(np.array([0, -1, 0, -3, 0, 2, 1]) * math.pi / 4) @ [0, 0, 0.107, 1]
    assert flange[:3] == pytest.approx([0.3069, 0, 0.5903], abs=1e-4)


def test_mjcf_has_the_limits_and_the_tip(model: mujoco.MjModel) -> None:
    assert tuple(model.joint(i).name for i in range(model.njnt)) == JOINT_NAMES
    for name, limits in FRANKA.joint_limits.items():
        assert tuple(model.joint(name).range) == pytest.approx(limits)
    assert model.site("tip").pos == pytest.approx(FRANKA.tip_offset)
    assert model.body(int(model.site("tip").bodyid[0])).name == FRANKA.tip_body


def test_the_hand_points_down_wherever_a_block_may_lie(model: mujoco.MjModel) -> None:
    arm, gripper, space, data = FRANKA.arm("cpu"), FRANKA.gripper, FRANKA.workspace, mujoco.MjData(model)
    bearing, radius = torch.meshgrid(torch.linspace(-space.angle, space.angle, 5), torch.tensor(space.radius))
    place = from_polar(bearing.flatten(), radius.flatten(), space.centre)
    start = torch.tensor([READY_POSE[name] for name in JOINT_NAMES]).expand(len(place), -1)
    value = torch.tensor(gripper.closed).expand(len(place), -1)
    for height in (gripper.low, gripper.above):
        target = torch.cat([place, torch.full_like(place[:, :1], height)], -1)
        angles, error = arm.chain.inverse_kinematics(target, start, arm.limits, arm.constraint, value)
        assert error.max() < 1e-3
        for q in angles:
            data.qpos[:] = q.numpy()
            mujoco.mj_forward(model, data)
            assert data.body("hand").xmat.reshape(3, 3)[:, 2] == pytest.approx([0, 0, -1], abs=1e-2)


@configclass
class ProbeSceneCfg(InteractiveSceneCfg):
    """The arm alone."""

    robot: ArticulationCfg = FRANKA_CFG


@pytest.mark.parametrize("engine", ["newton_mjwarp", "ovphysx"])
def test_a_torque_moves_its_joint_with_its_sign(engine: str) -> None:
    joints, ready = len(JOINT_NAMES), torch.tensor([READY_POSE[name] for name in JOINT_NAMES])
    arm = FRANKA.arm("cpu")
    gravity = arm.chain.gravity_and_inertia(ready[None])[0]
    push = 0.25 * torch.tensor([TORQUE_LIMITS[name] for name in JOINT_NAMES])
    torques = gravity + torch.cat([torch.zeros(1, joints), push.diag(), -push.diag()])
    cfg = SimulationCfg(dt=DT, device="cpu", physics=physics(engine), use_newton_actuators=False)
    with launch(cfg):
        sim = SimulationContext(cfg)
        scene = InteractiveScene(ProbeSceneCfg(num_envs=len(torques), env_spacing=2.0))
        sim.reset()
        robot = scene["robot"]
        assert tuple(robot.joint_names) == JOINT_NAMES and robot.is_fixed_base
        place(robot, ready.expand(len(torques), -1).contiguous())
        scene.reset()
        for _ in range(20):
            robot.actuators.target_command.set_effort_index(value=torques)
            scene.write_data_to_sim()
            sim.step(render=False)
            scene.update(DT)
        moved = (robot.data.joint_pos.torch - ready).clone()
        SimulationContext.clear_instance()
    assert (moved[0] / arm.unit).abs().max() < 0.02, "held against gravity it stays"
    for joint, name in enumerate(JOINT_NAMES):
        up, down = ((moved[row, joint] - moved[0, joint]) / arm.unit[joint] for row in (1 + joint, 1 + joints + joint))
        assert up > 0.02 and down < -0.02, f"{push[joint]:.1f} for 0.1 s moved {name} by {up:.3f} and {down:.3f}"


def test_the_so100s_encoder_is_refused_with_what_to_do() -> None:
    settings = Settings(task="Argos-Reach-Franka-v0")
    settings = replace(settings, encoder=replace(settings.encoder, folder=str(PRETRAINED / "encoder")))
    with pytest.raises(SettingsError, match=r"shoulder_pan, .*joint1, .* Train .* with encoder.folder=null"):
        require_fitting_encoder(settings)
    require_fitting_encoder(replace(settings, task="Argos-Reach-SO100-v0"))
    require_fitting_encoder(replace(settings, encoder=replace(settings.encoder, folder=None)))


@pytest.fixture(scope="module", params=["Reach", "Lift"])
def task(request: pytest.FixtureRequest) -> Iterator[tuple[str, LatentTrackingEnv]]:
    name = f"Argos-{request.param}-Franka-v0"
    with make_environment(environment_cfg(Settings(task=name, randomization="nominal"), N, physics="ovphysx")) as env:
        yield name, env


def test_the_expert_does_what_is_asked(task: tuple[str, LatentTrackingEnv]) -> None:
    name, env = task
    env.generator.manual_seed(0)
    env.reset()
    rollout = expert_rollout(env, make_expert(env, name, ExpertCfg(), 0))
    assert rollout.success.float().mean() >= 0.9, failures(rollout)


def test_a_block_covers_five_pixels_and_all_lie_in_the_picture(task: tuple[str, LatentTrackingEnv]) -> None:
    _, env = task
    env.reset()
    _, classes = env.perception.render()
    for colour in (2, 3, 4):
        seen = classes == colour
        assert (seen.flatten(1).sum(1) >= 20).float().mean() > 0.9, "5 by 5 pixels, some of it behind another"
        edge = seen[:, [0, -1]].any(1).any(1) | seen[:, :, [0, -1]].any(2).any(1)
        assert not edge.any(), "a block is cut off by the picture's edge"


def test_what_is_stated_in_radians_is_small_for_fingers_and_motors_vary_in_proportion(
    task: tuple[str, LatentTrackingEnv],
) -> None:
    _, env = task
    env.set_ranges(get_ranges("unseen"))
    env.reset()
    largest = env.perception.encoder_bias.abs().max(0).values
    assert largest[:7].min() > 0.01 and 1e-4 < largest[7:].max() <= 0.02 * 0.02
    data, unseen = env.scene["robot"].data, get_ranges("unseen")
    friction = data.joint_friction_coeff.torch / torch.tensor([0.3] * 7 + [0.5] * 2) * 0.052
    low, high = unseen.joint_friction
    assert low - 1e-5 <= friction.min() < 0.03 and 0.1 < friction.max() <= high + 1e-5
    env.set_ranges(get_ranges("nominal"))


def test_the_fingers_ends_meet_at_the_tip_where_the_hand_is_closed() -> None:
    chain = Chain(body_of(FRANKA.arm("cpu"), 10, FRANKA.fingertips))
    assert chain.tips == 3
    for out in (0.0, 0.03):
        left, right, tip = chain.points_and_jacobian(np.array([0.3, -0.9, 0.1, -2.5, 0.2, 1.6, 0.8, out, out]))[0][-3:]
        np.testing.assert_allclose(0.5 * (left + right), tip, atol=1e-6)
        assert abs(np.linalg.norm(left - right) - 2 * out) < 1e-6
