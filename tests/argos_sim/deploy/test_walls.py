"""Laws of the table: no torque pushes a part of the arm further in, whichever parts are near; all else is left."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from argos_sim.deploy.body import Body, Chain
from argos_sim.deploy.safety import RULES, SafetyGuard, SafetySettings
from argos_sim.deploy.walls import Box, Walls
from argos_sim.pipeline.export import body_of
from tasks.so100.robot import JOINT_LIMITS, JOINT_NAMES, MJCF_PATH, READY_POSE, so100_arm
from tests.argos_sim.deploy.test_safety import MANIFEST, _far_from_ends

ELBOW, WRIST, ROLL, JAW, TIP = range(1, 6)
"""Of the points that a chain tells of an SO-100."""
BOX: Box = ((-0.2, 0.2), (-0.35, -0.1), (0.0, 0.3))
ARM = so100_arm("cpu")
BODY: Body = body_of(ARM)
CHAIN = Chain(BODY)
SO100 = replace(
    MANIFEST, joint_names=JOINT_NAMES, joint_limits=tuple(JOINT_LIMITS.values()), torque_limits=(2.94,) * 6,
    velocity_limits=(4.9,) * 6, action_scale=(2.94,) * 6, body=BODY,
)  # fmt: skip


def postures(count: int, seed: int = 0) -> np.ndarray:
    low, high = np.array(list(JOINT_LIMITS.values())).T
    return np.random.default_rng(seed).uniform(low, high, (count, 6))


def test_points_are_the_joints_that_the_arm_carries_and_move_as_their_jacobians_say() -> None:
    q, step = postures(30), 1e-6
    points, jacobian = CHAIN.points_and_jacobian(q)
    assert points.shape == (30, CHAIN.points, 3) and CHAIN.points == 6
    origins, _ = ARM.chain.frames(torch.from_numpy(q).float())
    np.testing.assert_allclose(points[:, :-1], origins[:, 1:], atol=1e-6)
    for joint in range(6):
        moved, _ = CHAIN.points_and_jacobian(q + step * np.eye(6)[joint])
        np.testing.assert_allclose((moved - points) / step, jacobian[..., joint], atol=1e-5)
    tip, of_tip = CHAIN.tip_and_jacobian(q)
    assert np.array_equal(points[:, -1], tip) and np.array_equal(jacobian[:, -1], of_tip)


@given(st.integers(0, 2**32 - 1), st.floats(-0.05, 0.1), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_part_is_pushed_in_further_however_many_are_near(
    seed: int, lowest: float, moving: bool, boxed: bool
) -> None:
    rng, q = np.random.default_rng(seed), postures(300, seed)
    torque, speed = rng.uniform(-2.94, 2.94, q.shape), rng.uniform(-4, 4, q.shape) * moving
    left = Walls(CHAIN, lowest, BOX if boxed else None, 0.03, 0.02, 0.06).within(torque, q, speed)
    points, jacobian = CHAIN.points_and_jacobian(q)
    lift, floor = jacobian[:, :, 2], lowest + 0.03 * (np.arange(6) != TIP)
    toward = np.abs(np.einsum("npij,nj->npi", jacobian, speed)) * 0.06 + 0.02
    low, high = np.array(BOX).T
    tip = points[:, TIP]
    roomy = ((tip > low + toward[:, TIP]) & (tip < high - toward[:, TIP])).all(1) | (not boxed)
    pushed = (lift * left[:, None]).sum(-1)
    assert (pushed[roomy][points[roomy, :, 2] <= floor] >= -1e-3).all()
    far = (points[..., 2] > floor + toward[..., 2]).all(1) & roomy
    assert np.array_equal(left[far], torque[far]), "what is far from table and box is left alone"


@pytest.mark.parametrize(("part", "lowest"), [(ELBOW, 0.06), (WRIST, -0.01), (ROLL, -0.01), (JAW, -0.01)])
def test_each_joint_is_held_off_the_table_where_the_fingertip_is_not_near(part: int, lowest: float) -> None:
    q, rng = postures(100_000, 5), np.random.default_rng(1)
    points, jacobian = CHAIN.points_and_jacobian(q)
    low = (points[:, part, 2] < lowest + 0.03) & (points[:, TIP, 2] > lowest + 0.03)
    q, lift = q[low][:300], jacobian[low][:300, part, 2]
    torque = rng.uniform(-2.94, 2.94, q.shape)
    assert ((lift * torque).sum(1) < -0.01).sum() > 20, "or nothing was tested"
    alone = Walls(CHAIN, lowest, None, None, 0.02, 0.06).within(torque, q, np.zeros_like(q))
    assert np.array_equal(alone, torque), "the fingertip's own rule knows nothing of it"
    left = Walls(CHAIN, lowest, None, 0.03, 0.02, 0.06).within(torque, q, np.zeros_like(q))
    assert ((lift * left).sum(1) >= -1e-3).all()


def test_the_guard_holds_the_wrist_and_says_so() -> None:
    drawn, still = postures(50_000, 7), np.zeros(6)
    height = CHAIN.points_and_jacobian(drawn)[0][..., 2]
    others = height[:, [ELBOW, ROLL, JAW, TIP]].min(1)
    q = drawn[(others > height[:, WRIST] + 0.03) & _far_from_ends(drawn)][0]
    points, jacobian = CHAIN.points_and_jacobian(q)
    torque, cfg = -np.sign(jacobian[WRIST, 2]), SafetySettings(lowest=float(points[WRIST, 2]) - 0.03)
    guard = SafetyGuard(SO100, cfg)
    assert jacobian[WRIST, 2] @ guard.apply(torque, q, still) >= -1e-3
    assert {RULES[rule] for rule in np.flatnonzero(guard.acted.any(1))} == {"wall"}
    of_tip = SafetyGuard(SO100, replace(cfg, joint_radius=None))
    assert jacobian[WRIST, 2] @ of_tip.apply(torque, q, still) < -0.05 and not of_tip.acted.any()


def deepest(seed: int, radius: float | None) -> float:
    """How far the ball about a joint comes below where the guard is to hold it [m], under full torques at random."""
    spec = mujoco.MjSpec.from_file(str(MJCF_PATH))
    spec.option.timestep, spec.option.gravity[2] = 0.0025, 0.0
    for joint in spec.joints:
        joint.limited = 0
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 0
    model = spec.compile()
    model.dof_armature[:], model.dof_frictionloss[:] = 0.028, 0.03
    data, rng = mujoco.MjData(model), np.random.default_rng(seed)
    guard = SafetyGuard(SO100, SafetySettings(joint_radius=radius))
    data.qpos[:], torque, lowest = list(READY_POSE.values()), np.zeros(6), 1.0
    for step in range(200):
        if step % rng.integers(5, 60) == 0:
            torque = rng.choice([-2.94, 2.94], 6)
        sent = guard.apply(torque, data.qpos.copy(), data.qvel.copy())
        lowest = min(lowest, float(CHAIN.points_and_jacobian(data.qpos.copy())[0][:-1, 2].min()))
        for _ in range(8):
            data.qfrc_applied[:] = np.clip(sent - 0.6 * data.qvel, -2.94, 2.94)
            mujoco.mj_step(model, data)
    return max(0.0, 0.02 - lowest)


def test_an_arm_that_is_thrown_about_drives_its_joints_less_deep_into_the_table() -> None:
    held, free = ([deepest(seed, radius) for seed in range(12)] for radius in (0.03, None))
    assert np.mean(held) < 0.6 * np.mean(free) and max(held) < max(free)


def test_a_radius_that_is_none_is_refused() -> None:
    for radius in (0.0, -0.01, np.nan):
        with pytest.raises(ValueError, match="must be finite numbers"):
            SafetySettings(joint_radius=radius)
