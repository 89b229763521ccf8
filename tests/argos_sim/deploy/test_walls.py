"""Laws of the table: no torque pushes a part of the arm further in, whichever parts are near; all else is left."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from argos_sim.deploy.body import Body, Chain
from argos_sim.deploy.manifest import SPEC_FIELDS, DeployError, read_manifest
from argos_sim.deploy.safety import RULES, SafetyGuard, SafetySettings
from argos_sim.deploy.walls import Box, Walls
from argos_sim.pipeline.export import body_of
from tasks.so100.robot import JOINT_LIMITS, JOINT_NAMES, MJCF_PATH, READY_POSE, SO100, so100_arm
from tests.argos_sim.deploy.test_safety import MANIFEST, _far_from_ends

ELBOW, WRIST, ROLL, JAW, JAW_END, TIP = range(1, 7)
"""Of the points that a chain tells of an SO-100."""
BOX: Box = ((-0.2, 0.2), (-0.35, -0.1), (0.0, 0.3))
ARM = so100_arm("cpu")
BODY: Body = body_of(ARM, fingertips=SO100.fingertips)
CHAIN = Chain(BODY)
POLICY = replace(
    MANIFEST, joint_names=JOINT_NAMES, joint_limits=tuple(JOINT_LIMITS.values()), torque_limits=(2.94,) * 6,
    velocity_limits=(4.9,) * 6, action_scale=(2.94,) * 6, body=BODY,
)  # fmt: skip


LIMITS, BALLS = np.full(6, 2.94), np.arange(7) < JAW_END


def postures(count: int, seed: int = 0) -> np.ndarray:
    low, high = np.array(list(JOINT_LIMITS.values())).T
    return np.random.default_rng(seed).uniform(low, high, (count, 6))


def test_points_are_the_joints_that_the_arm_carries_and_move_as_their_jacobians_say() -> None:
    q, step = postures(30), 1e-6
    points, jacobian = CHAIN.points_and_jacobian(q)
    assert points.shape == (30, CHAIN.points, 3) and (CHAIN.points, CHAIN.tips) == (7, 2)
    origins, _ = ARM.chain.frames(torch.from_numpy(q).float())
    np.testing.assert_allclose(points[:, :JAW_END], origins[:, 1:], atol=1e-6)
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
    left = Walls(CHAIN, LIMITS, lowest, BOX if boxed else None, 0.03, 0.02, 0.06).within(torque, q, speed)
    points, jacobian = CHAIN.points_and_jacobian(q)
    table = points[..., 2] - lowest - 0.03 * BALLS
    toward = np.abs(np.einsum("npij,nj->npi", jacobian, speed)) * 0.06 + 0.02
    roomy = (np.array([room > toward[..., axis] for axis, _, room in sides(points)]).all((0, 2))) | (not boxed)
    pushed = (jacobian[:, :, 2] * left[:, None]).sum(-1)
    assert (pushed[roomy][table[roomy] <= 0] >= -1e-3).all()
    far = (table > toward[..., 2]).all(1) & roomy
    assert np.array_equal(left[far], torque[far]), "what is far from table and box is left alone"


def sides(points: np.ndarray) -> list[tuple[int, float, np.ndarray]]:
    """Of ``BOX``: axis, the direction that leads inward along it, and how far each of points (…, P, 3) is within, in
    front of which it is stopped; infinite where it is not. The base is beyond y = -0.1 and on z = 0; tops are open."""
    found = []
    for axis, (low, high) in enumerate(BOX):
        for sign, end in ((1.0, low), (-1.0, -high)):
            is_open = (axis, sign) in ((1, -1.0), (2, 1.0), (2, -1.0))
            room = sign * points[..., axis] - end - 0.03 * BALLS
            found.append((axis, sign, np.where(BALLS & is_open, np.inf, room)))
    return found


def test_a_box_holds_the_whole_arm_but_where_the_arm_comes_in() -> None:
    q = postures(60_000, 3)
    rng, (points, jacobian) = np.random.default_rng(4), CHAIN.points_and_jacobian(q)
    torque, rooms = rng.uniform(-2.94, 2.94, q.shape), np.array([room for *_, room in sides(points)])
    left = Walls(CHAIN, LIMITS, None, BOX, 0.03, 0.02, 0.06).within(torque, q, np.zeros_like(q))
    alone = (rooms < 0.02).sum((0, 2)) == 1
    tried = 0
    for side, (axis, sign, room) in enumerate(sides(points)):
        for part in range(CHAIN.points):
            out = alone & (room[:, part] < 0)
            away = sign * jacobian[out, part, axis]
            assert ((away * left[out]).sum(1) >= -1e-6).all(), (side, part)
            tried += int(((away * torque[out]).sum(1) < -0.01).sum() > 10)
    assert tried >= 8, "sides and parts of which something was taken away"
    free = (rooms >= 0.02).all((0, 2))
    beyond = free & (points[:, ELBOW, 1] > BOX[1][1] + 0.02)
    assert beyond.sum() > 100 and np.array_equal(left[free], torque[free]), "an elbow may be where the base is"


def test_parts_far_out_of_a_box_at_many_sides_are_pushed_out_by_next_to_nothing() -> None:
    q = postures(20_000, 6)
    torque, (points, jacobian) = np.random.default_rng(7).uniform(-2.94, 2.94, q.shape), CHAIN.points_and_jacobian(q)
    left = Walls(CHAIN, LIMITS, -0.01, BOX, 0.03, 0.02, 0.06).within(torque, q, np.zeros_like(q))
    for axis, sign, room in sides(points):
        pushed = sign * (jacobian[:, :, axis] * left[:, None]).sum(-1)
        asked = sign * (jacobian[:, :, axis] * torque[:, None]).sum(-1)
        assert pushed[room <= 0].min() > -0.5 and asked[room <= 0].min() < -1.0


@pytest.mark.parametrize(("part", "lowest"), [(ELBOW, 0.06), (WRIST, -0.01), (ROLL, -0.01), (JAW, -0.01)])
def test_each_joint_is_held_off_the_table_where_the_fingertip_is_not_near(part: int, lowest: float) -> None:
    q, rng = postures(100_000, 5), np.random.default_rng(1)
    points, jacobian = CHAIN.points_and_jacobian(q)
    low = (points[:, part, 2] < lowest + 0.03) & (points[:, JAW_END:, 2].min(1) > lowest + 0.03)
    q, lift = q[low][:300], jacobian[low][:300, part, 2]
    torque = rng.uniform(-2.94, 2.94, q.shape)
    assert ((lift * torque).sum(1) < -0.01).sum() > 20, "or nothing was tested"
    alone = Walls(CHAIN, LIMITS, lowest, None, None, 0.02, 0.06).within(torque, q, np.zeros_like(q))
    assert np.array_equal(alone, torque), "the fingertips' own rule knows nothing of it"
    left = Walls(CHAIN, LIMITS, lowest, None, 0.03, 0.02, 0.06).within(torque, q, np.zeros_like(q))
    assert ((lift * left).sum(1) >= -1e-3).all()


def test_the_guard_holds_the_wrist_and_says_so() -> None:
    drawn, still = postures(50_000, 7), np.zeros(6)
    height = CHAIN.points_and_jacobian(drawn)[0][..., 2]
    others = height[:, [ELBOW, ROLL, JAW, JAW_END, TIP]].min(1)
    q = drawn[(others > height[:, WRIST] + 0.03) & _far_from_ends(drawn)][0]
    points, jacobian = CHAIN.points_and_jacobian(q)
    torque, cfg = -np.sign(jacobian[WRIST, 2]), SafetySettings(lowest=float(points[WRIST, 2]) - 0.03)
    guard = SafetyGuard(POLICY, cfg)
    assert jacobian[WRIST, 2] @ guard.apply(torque, q, still) >= -1e-3
    assert {RULES[rule] for rule in np.flatnonzero(guard.acted.any(1))} == {"wall"}
    of_tip = SafetyGuard(POLICY, replace(cfg, joint_radius=None))
    assert jacobian[WRIST, 2] @ of_tip.apply(torque, q, still) < -0.05 and not of_tip.acted.any()


@pytest.mark.parametrize(("part", "other"), [(JAW_END, TIP), (TIP, JAW_END)])
def test_each_fingertip_is_held_off_the_table_as_high_as_the_other(part: int, other: int) -> None:
    q, rng = postures(100_000, 8), np.random.default_rng(9)
    points, jacobian = CHAIN.points_and_jacobian(q)
    low = (points[:, part, 2] < -0.01) & (points[:, other, 2] > 0.02) & (points[:, :JAW_END, 2].min(1) > 0.05)
    q, lift = q[low][:300], jacobian[low][:300, part, 2]
    torque = rng.uniform(-2.94, 2.94, q.shape)
    assert ((lift * torque).sum(1) < -0.01).sum() > 20, "or nothing was tested"
    left = Walls(CHAIN, LIMITS, -0.01, None, 0.03, 0.02, 0.06).within(torque, q, np.zeros_like(q))
    assert ((lift * left).sum(1) >= -1e-6).all()


def test_a_body_without_other_fingertips_is_read_and_knows_of_one(tmp_path: Path) -> None:
    """Of exports before there was more than one."""
    spec = {name: 1 for name in SPEC_FIELDS} | {"joint_names": list(JOINT_NAMES)}
    values = yaml.safe_load(replace(POLICY, spec=spec).to_yaml())
    del values["body"]["fingertips"]
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(values))
    body = read_manifest(tmp_path).body
    assert body is not None and body == replace(BODY, fingertips=()) and Chain(body).tips == 1
    q = postures(20, 4)
    old, new = (Chain(each).points_and_jacobian(q) for each in (body, BODY))
    keep = [*range(JAW_END), TIP]
    assert all(np.allclose(a, b[:, keep], atol=1e-12) for a, b in zip(old, new, strict=True))


def test_fingertips_outlive_their_file_and_broken_ones_are_named(tmp_path: Path) -> None:
    spec = {name: 1 for name in SPEC_FIELDS} | {"joint_names": list(JOINT_NAMES)}
    (tmp_path / "policy.yaml").write_text(replace(POLICY, spec=spec).to_yaml())
    assert read_manifest(tmp_path).body == BODY and BODY.fingertips == ((5, SO100.fingertips["moving_jaw"]),)
    for bad, message in (
        (((6, (0.0, 0.0, 0.0)),), "body.fingertips are on no link"),
        (((-1, (0.0, 0.0, 0.0)),), "body.fingertips are on no link"),
        (((5, (0.0, np.nan, 0.0)),), "not a finite number"),
    ):
        with pytest.raises(DeployError, match=message):
            replace(POLICY, spec=spec, body=replace(BODY, fingertips=bad)).check("here")


def test_the_jaws_end_is_at_the_end_of_its_pads() -> None:
    model = mujoco.MjModel.from_xml_path(str(MJCF_PATH))
    link = model.body("moving_jaw").id
    pads = [g for g in range(model.ngeom) if model.geom_bodyid[g] == link and model.geom_contype[g]]
    local = np.zeros(9)
    mujoco.mju_quat2Mat(local, model.geom_quat[pads[0]])
    at = local.reshape(3, 3).T @ (np.array(SO100.fingertips["moving_jaw"]) - model.geom_pos[pads[0]])
    size = model.geom_size[pads[0]]
    assert len(pads) == 1 and abs(at[0]) < size[0] + 1e-3 and abs(at[1] + size[1]) < 2e-3 and at[2] == 0


def floating() -> mujoco.MjModel:
    """The arm with its motors' losses, without stops, contacts or gravity."""
    spec = mujoco.MjSpec.from_file(str(MJCF_PATH))
    spec.option.timestep, spec.option.gravity[2] = 0.0025, 0.0
    for joint in spec.joints:
        joint.limited = 0
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 0
    model = spec.compile()
    model.dof_armature[:], model.dof_frictionloss[:] = 0.028, 0.03
    return model


def driven(model: mujoco.MjModel, data: mujoco.MjData, guard: SafetyGuard, torque: np.ndarray) -> np.ndarray:
    """One control step of a guarded torque; heights of all parts (P,) [m] before it."""
    sent = guard.apply(torque, data.qpos.copy(), data.qvel.copy())
    height = CHAIN.points_and_jacobian(data.qpos.copy())[0][:, 2]
    for _ in range(8):
        data.qfrc_applied[:] = np.clip(sent - 0.6 * data.qvel, -2.94, 2.94)
        mujoco.mj_step(model, data)
    return height


def deepest(seed: int, radius: float | None) -> float:
    """How far the ball about a joint comes below where the guard is to hold it [m], under full torques at random."""
    model, rng = floating(), np.random.default_rng(seed)
    data, guard = mujoco.MjData(model), SafetyGuard(POLICY, SafetySettings(joint_radius=radius))
    data.qpos[:], torque, lowest = list(READY_POSE.values()), np.zeros(6), 1.0
    for step in range(200):
        if step % rng.integers(5, 60) == 0:
            torque = rng.choice([-2.94, 2.94], 6)
        lowest = min(lowest, float(driven(model, data, guard, torque)[:JAW_END].min()))
    return max(0.0, 0.02 - lowest)


def test_an_arm_that_is_thrown_about_drives_its_joints_less_deep_into_the_table() -> None:
    held, free = ([deepest(seed, radius) for seed in range(12)] for radius in (0.03, None))
    assert np.mean(held) < 0.6 * np.mean(free) and max(held) < max(free)


def test_a_jaw_that_opens_toward_the_table_stops_at_it() -> None:
    drawn, model = postures(200_000, 10), floating()
    points, jacobian = CHAIN.points_and_jacobian(drawn)
    near = (np.abs(points[:, JAW_END, 2] - 0.02) < 0.01) & (points[:, TIP, 2] > 0.04) & (drawn[:, -1] < 0.8)
    starts = drawn[near & (jacobian[:, JAW_END, 2, -1] < -0.06) & (points[:, :JAW_END, 2].min(1) > 0.06)][:5]
    assert len(starts) == 5
    depths = np.zeros((5, 2))
    for n, q in enumerate(starts):
        for k, body in enumerate((BODY, replace(BODY, fingertips=()))):
            data, guard = mujoco.MjData(model), SafetyGuard(replace(POLICY, body=body))
            data.qpos[:] = q
            depths[n, k] = -min(driven(model, data, guard, 1.5 * np.eye(6)[-1])[JAW_END] for _ in range(25))
    held, free = depths.T
    assert held.max() < 0.01 and free.mean() > 2 * held.mean()


def test_a_radius_that_is_none_is_refused() -> None:
    for radius in (0.0, -0.01, np.nan):
        with pytest.raises(ValueError, match="must be finite numbers"):
            SafetySettings(joint_radius=radius)
