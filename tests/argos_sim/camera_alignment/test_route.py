"""Laws of a route: it takes an arm through all postures and back without a touch, as MuJoCo's own contacts have it."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from argos_sim.camera_alignment.found import trained_camera
from argos_sim.camera_alignment.postures import chosen_postures
from argos_sim.camera_alignment.route import route
from argos_sim.camera_alignment.silhouette import ArmModel
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.motion.model import RobotModel
from argos_sim.motion.ways import Ways
from argos_sim.mujoco_c.world import World

FOLDED = np.array([0.0, -3.1, 3.0, 0.9, -1.57, 0.2])
"""On its foot."""
FORWARD = np.array([-2.09, -1.91, 2.84, -0.51, -2.86, -0.15])
"""Beside it, near the table."""


@pytest.fixture
def ways(manifest: PolicyManifest, world: World) -> Ways:
    return Ways(RobotModel(world.mjcf, world.joint_names), manifest)


def pressed(arm: ArmModel, joints: np.ndarray) -> bool:
    """Whether MuJoCo has a contact."""
    arm.put(joints)
    mujoco.mj_forward(arm.model, arm.data)
    return bool(arm.data.ncon)


@pytest.mark.parametrize("begin", [FOLDED, FORWARD], ids=["folded", "forward"])
def test_a_route_reaches_all_postures_without_a_touch_and_comes_back(
    begin: np.ndarray, ways: Ways, world: World
) -> None:
    arm = ArmModel(world)
    postures = chosen_postures(arm, trained_camera(world, 60, 80), 8)
    legs = route(ways, begin, np.array(world.ready), postures)
    shown = np.array([leg.way.end for leg in legs if leg.shown])
    assert sorted(map(tuple, shown)) == sorted(map(tuple, postures))
    here = begin
    for leg in legs:
        np.testing.assert_allclose(leg.way.postures[0], here)
        assert not any(pressed(arm, q) for q in leg.way.postures)
        here = leg.way.end
    np.testing.assert_array_equal(here, begin)


def test_postures_that_cannot_be_reached_are_one_sentence(ways: Ways, world: World) -> None:
    into = np.array(world.ready) + np.array([0.0, 1.6, 0.0, 0.0, 0.0, 0.0])
    with pytest.raises(DeployError, match="none can be reached from the ready one"):
        route(ways, FOLDED, np.array(world.ready), into[None])
