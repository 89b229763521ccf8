"""Laws of a robot's model: its distances are MuJoCo's, its weight is that of our own kinematics."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from argos_sim.deploy.manifest import DeployError
from argos_sim.kinematics import SerialChain
from argos_sim.motion.model import FAR, NEIGHBOURS, RobotModel
from argos_sim.motion.ways import WANTED
from tests.argos_sim.motion.robots import FRANKA, SO100, Known

BOTH = pytest.mark.parametrize("robot", [SO100, FRANKA], ids=["so100", "franka"])


def on_table(robot: Known) -> tuple[Any, Any]:
    """The robot on a plane, as MuJoCo knows it."""
    spec = mujoco.MjSpec.from_file(str(robot.mjcf))
    spec.worldbody.add_geom(name="table", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(1, 1, 0.1))
    model = spec.compile()
    return model, mujoco.MjData(model)


def put(robot: Known, model: Any, data: Any, q: np.ndarray) -> None:
    for name, angle in zip(robot.manifest.joint_names, q, strict=True):
        data.joint(name).qpos[0] = angle
    mujoco.mj_forward(model, data)


@BOTH
def test_weight_is_what_our_kinematics_say(robot: Known) -> None:
    q = robot.drawn(20, 0)
    chain = SerialChain.from_mjcf(robot.mjcf, robot.manifest.joint_names, "tip")
    gravity, _ = chain.gravity_and_inertia(torch.tensor(q, dtype=torch.float32))
    ours = np.array([robot.model.gravity(posture) for posture in q])
    np.testing.assert_allclose(ours, gravity.numpy(), atol=1e-4 * np.abs(ours).max())
    assert np.abs(ours).max() > 0.5


@BOTH
def test_clearance_is_the_least_of_mujocos_distances(robot: Known) -> None:
    """Of links that one joint or none connects, and of the table and what a joint raises."""
    model, data = on_table(robot)
    seen, table = np.flatnonzero(model.geom_group == 2), model.geom("table").id
    # The base is body 1, and a link's body is its parent's or the next; fingers have one parent.
    body = {g: int(model.geom_bodyid[g]) for g in seen}
    parent = [int(p) for p in model.body_parentid]
    links = sorted(set(body.values()))
    pairs = [(a, b) for a, b in itertools.combinations(links, 2) if parent[b] != a]
    of = {link: [g for g in seen if body[g] == link] for link in links}
    for q in robot.drawn(4, 1):
        put(robot, model, data, q)
        brute = [min(mujoco.mj_geomDistance(model, data, g, table, 2.0, None) for g in of[b]) for b in links[2:]]
        brute += [
            min(mujoco.mj_geomDistance(model, data, g, h, FAR, None) for g in of[a] for h in of[b]) for a, b in pairs
        ]
        found = robot.model.clearance(q[None])[0]
        np.testing.assert_allclose(found, np.minimum(brute, FAR), atol=1e-4)
        near = [parent[b] == parent[a] or parent[parent[b]] == a for a, b in pairs]
        assert NEIGHBOURS == 2 and robot.model.near.tolist() == [False] * (len(links) - 2) + near
        assert robot.model.free(q) == found[~robot.model.near].min()


def test_what_mujoco_calls_a_contact_is_not_free() -> None:
    model, data = on_table(SO100)
    contacts = 0
    for q in SO100.drawn(200, 2):
        put(SO100, model, data, q)
        if data.ncon:
            contacts += 1
            assert SO100.model.free(q) < WANTED
    assert contacts > 20 and SO100.model.free(SO100.ready) > WANTED


def test_the_joints_that_raise_a_robot_are_those_of_its_bends() -> None:
    for robot, bends in ((SO100, [1, 2, 3]), (FRANKA, [1, 3, 5])):
        rising = robot.model.rising(robot.ready)
        assert sorted(np.argsort(rising)[-3:]) == bends and rising[0] == pytest.approx(0, abs=1e-6)


def test_a_model_that_is_not_the_policys_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"so100.xml has no joint joint1"):
        RobotModel(SO100.mjcf, FRANKA.manifest.joint_names)
    with pytest.raises(DeployError, match="world.json does not say how the policy's arm is built"):
        RobotModel.of_policy(tmp_path, SO100.manifest)
    (tmp_path / "world.json").write_text(json.dumps({"mjcf": "robots/so100/so100.xml"}))
    np.testing.assert_array_equal(
        RobotModel.of_policy(tmp_path, SO100.manifest).gravity(SO100.ready), SO100.model.gravity(SO100.ready)
    )


@pytest.mark.parametrize("place", ["/etc/hosts", "../pyproject.toml"])
def test_a_robots_file_outside_the_assets_is_not_read(tmp_path: Path, place: str) -> None:
    (tmp_path / "world.json").write_text(json.dumps({"mjcf": place}))
    with pytest.raises(DeployError, match="is not among the assets"):
        RobotModel.of_policy(tmp_path, SO100.manifest)
