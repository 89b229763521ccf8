"""Laws of ways: what is called clear touches nothing, as MuJoCo's own contacts and distances have it."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from argos_sim.camera_alignment.found import trained_camera
from argos_sim.camera_alignment.postures import chosen_postures
from argos_sim.camera_alignment.silhouette import ArmModel
from argos_sim.camera_alignment.ways import CLEARANCE, FAR, NEARER, _lowest, clear_way, clearance, route
from argos_sim.mujoco_c.world import World

FOLDED = np.array([0.0, -3.1, 3.0, 0.9, -1.57, 0.2])
"""On its foot."""


@pytest.fixture(scope="module")
def arm(world: World) -> ArmModel:
    return ArmModel(world)


def pressed(arm: ArmModel, joints: np.ndarray) -> bool:
    """Whether MuJoCo has a contact."""
    arm.put(joints)
    mujoco.mj_forward(arm.model, arm.data)
    return bool(arm.data.ncon)


def test_what_is_clear_has_no_contact_and_what_has_one_is_not_clear(arm: ArmModel, world: World) -> None:
    low, high = np.array(world.joint_limits).T
    rng, contacts = np.random.default_rng(0), 0
    for _ in range(200):
        q = rng.uniform(low, high)
        if pressed(arm, q):
            contacts += 1
            assert clearance(arm, q) < CLEARANCE
    assert contacts > 20


def test_clearance_is_the_least_of_mujocos_distances(arm: ArmModel, world: World) -> None:
    model, rng = arm.model, np.random.default_rng(1)
    seen = [g for g in range(model.ngeom) if model.geom_group[g] == 2]
    table, body = model.geom("table").id, model.geom_bodyid
    pairs = [(a, b) for a in seen for b in [table, *seen] if body[a] > 2 and body[b] < body[a] - 2]
    for _ in range(5):
        far = clearance(arm, np.array(world.ready) + rng.uniform(-0.6, 0.6, 6))
        brute = min(mujoco.mj_geomDistance(model, arm.data, a, b, FAR, None) for a, b in pairs)
        assert far == pytest.approx(brute, abs=1e-4) and far < FAR
        for geom in (g for g in seen if body[g] > 2):
            above = mujoco.mj_geomDistance(model, arm.data, geom, table, 1.0, None)
            assert _lowest(arm, geom) == pytest.approx(above, abs=1e-4)


def test_a_way_through_the_table_is_not_clear(arm: ArmModel, world: World) -> None:
    ready = np.array(world.ready)
    other = ready + np.array([0.5, 0.2, 0.0, 0.0, 0.0, 0.0])
    assert clear_way(arm, ready, other) and clear_way(arm, other, ready)
    left, right = np.array([-1.2, -0.9, 1.0, 0.0, 0.0, 0.0]), np.array([1.2, -2.2, 0.6, 1.6, 0.0, 0.0])
    ends = [clearance(arm, q) for q in (left, right)]
    middle = clearance(arm, 0.5 * (left + right))
    assert clear_way(arm, left, right) == (min(*ends, middle) > CLEARANCE - NEARER)
    down = ready + np.array([0.0, 1.6, 0.0, 0.6, 0.0, 0.0])
    assert clearance(arm, down) < 0 and not clear_way(arm, ready, down)


def test_a_route_reaches_all_postures_without_a_touch_and_comes_back(arm: ArmModel, world: World) -> None:
    postures = chosen_postures(arm, trained_camera(world, 60, 80), 8)
    stops = route(arm, FOLDED, postures)
    shown = np.array([stop.joints for stop in stops if stop.shown])
    assert sorted(map(tuple, shown)) == sorted(map(tuple, postures))
    np.testing.assert_array_equal(stops[-1].joints, FOLDED)
    here = FOLDED
    for stop in stops:
        assert not any(pressed(arm, here + s * (stop.joints - here)) for s in np.linspace(0, 1, 50))
        here = stop.joints
    with pytest.raises(ValueError, match="no way is clear to any posture"):
        route(arm, np.array([0.0, -0.6, 1.2, 1.0, 0.0, 0.0]), postures)
