"""Laws of the arms on MuJoCo: motors as on the other engines, cubes that stay, and what counts as done."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from isaaclab.utils.types import ArticulationActions

import tasks  # noqa: F401
from argos_sim.actuators import BACK_EMF, STALL_TORQUE, MotorActuator, STS3215ActuatorCfg
from argos_sim.mujoco_c.arms import Arms, places
from argos_sim.mujoco_c.motors import Motors
from argos_sim.mujoco_c.outcomes import done, tip_distances
from argos_sim.mujoco_c.world import Goal, World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import RandomizationRanges, get_ranges


@pytest.fixture(scope="module")
def world() -> World:
    return World.of(environment_cfg(Settings(), 1))


@pytest.fixture(scope="module")
def arms(world: World) -> Arms:
    return Arms(world, 2)


def test_motors_follow_the_law_that_training_has() -> None:
    theirs = MotorActuator(STS3215ActuatorCfg(joint_names_expr=[".*"]), ["a", "b"], slice(None), 3, "cpu")
    mine, rng = Motors(3, 2, STALL_TORQUE, BACK_EMF), np.random.default_rng(0)
    mine.resample(get_ranges("unseen"), rng)
    theirs.strength[:], theirs.back_emf_scale[:] = torch.from_numpy(mine.strength), torch.from_numpy(mine.scale)
    theirs.set_delay(torch.from_numpy(mine.delay))
    assert len(set(mine.delay.tolist())) > 1
    for _ in range(12):
        command, velocity = rng.uniform(-4, 4, (3, 2)), rng.uniform(-5, 5, (3, 2))
        action = ArticulationActions(joint_efforts=torch.from_numpy(command).float())
        expected = theirs.compute(action, torch.zeros(3, 2), torch.from_numpy(velocity).float()).joint_efforts
        assert expected is not None
        assert mine.efforts(command, velocity) == pytest.approx(expected.numpy(), abs=1e-5)


def test_cubes_rest_where_they_are_laid(arms: Arms) -> None:
    arms.reset(get_ranges("train"), np.random.default_rng(1))
    before = [arms._centres(i).copy() for i in range(2)]
    for _ in range(25):
        arms.put_joints(np.tile(np.r_[arms.world.ready, np.zeros(6)], (2, 1)))
        arms.step(np.zeros((2, 6)))
    for i in range(2):
        assert np.abs(arms._centres(i) - before[i]).max() < 1e-3


def test_a_cube_slides_by_the_mean_of_both_frictions(arms: Arms) -> None:
    speed, way = 0.5, []
    for friction in (0.2, 0.6, 1.0):
        arms.reset(RandomizationRanges(object_friction=(friction, friction)), np.random.default_rng(1))
        name = next(iter(arms.world.objects))
        for data in arms.data:
            data.joint(name).qpos[3:] = (1, 0, 0, 0)
            data.joint(name).qvel[0] = speed
        before = arms._centres(0)[0].copy()
        for _ in range(25):
            arms.put_joints(np.tile(np.r_[arms.world.ready, np.zeros(6)], (2, 1)))
            arms.step(np.zeros((2, 6)))
        way.append(np.linalg.norm(arms._centres(0)[0] - before))
        assert way[-1] == pytest.approx(speed**2 / (2 * 9.81 * (friction + 0.5) / 2), rel=0.15)
    assert way[0] > way[1] > way[2]


def test_a_torque_moves_its_joint_with_its_sign(arms: Arms) -> None:
    for joint in range(6):
        moved = []
        for torque in (1.0, 0.0, -1.0):
            arms.reset(RandomizationRanges(), np.random.default_rng(0))
            arms.put_joints(np.tile(np.r_[arms.world.ready, np.zeros(6)], (2, 1)))
            for _ in range(5):
                arms.step(torque * np.eye(6)[[joint, joint]])
            moved.append(arms.joints()[0, joint])
        assert moved[0] - moved[1] > 0.05 and moved[2] - moved[1] < -0.05


def test_heavier_and_stiffer_draws_stay_within_their_ranges(arms: Arms) -> None:
    ranges = get_ranges("unseen")
    arms.reset(ranges, np.random.default_rng(2))
    for model in arms.models:
        scale = model.body_mass[1:] / arms.nominal.body_mass[1:]
        assert ranges.mass_scale[0] <= scale.min() < scale.max() <= ranges.mass_scale[1]
        friction = model.dof_frictionloss[:6]
        assert ranges.joint_friction[0] <= friction.min() < friction.max() <= ranges.joint_friction[1]
    arms.reset(get_ranges("nominal"), np.random.default_rng(2))
    assert np.array_equal(arms.models[0].body_mass, arms.nominal.body_mass)


def test_cubes_are_laid_apart_and_inside_their_sector(world: World) -> None:
    rng, where = np.random.default_rng(0), world.placement
    for _ in range(50):
        found = places(world, rng)
        gaps = np.linalg.norm(found[:, None] - found[None], axis=-1) + np.eye(3)
        assert gaps.min() >= where.separation
        distance = np.linalg.norm(found - where.centre, axis=1)
        assert where.radius[0] <= distance.min() and distance.max() <= where.radius[1]


def test_distance_to_a_turned_cube_is_that_to_its_surface() -> None:
    turned = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    tips = np.array([[0.0, 0, 0.5], [0, 0, 0.005], [0.02, 0.02, 0.0]])
    expected = (0.49, 0.0, np.hypot(0.01, 0.01))
    for tip, distance in zip(tips, expected, strict=True):
        assert tip_distances(tip, np.zeros((1, 3)), turned[None], 0.01)[0] == pytest.approx(distance)


def test_each_outcome_is_done_when_it_is_and_not_before(world: World) -> None:
    half = world.half_size
    low = np.array([[0.0, -0.2, half], [0.1, -0.2, half], [0.2, -0.2, half]])
    far, near = np.full(3, 0.1), np.zeros(3)

    def judged(goal: Goal, positions: np.ndarray, touched: int = -1, tips: np.ndarray = far) -> bool:
        return done(dataclasses.replace(world, goal=goal), 0, 1, touched, tips, positions)

    touch = Goal("touch", 0.01)
    assert [judged(touch, low, touched) for touched in (-1, 0, 1)] == [False, True, False]
    lift = Goal("lift", 0.01, height=0.04)
    assert [judged(lift, low + np.array([0, 0, z])) for z in (0.0, 0.039, 0.041)] == [False, False, True]
    move = Goal("move", 0.01, sectors=((-1.0, -0.5), (0.5, 1.0)))
    beside = low + np.array([0.15, 0, 0])
    assert [judged(move, p) for p in (low, beside, -beside, beside + np.array([0, 0, 0.05]))] == [
        False,
        True,
        False,
        False,
    ]
    stack, on = Goal("stack", 0.01, clearance=0.02), low.copy()
    on[0] = low[1] + np.array([0, 0, 2 * half])
    assert [judged(stack, p, tips=t) for p, t in ((low, far), (on, near), (on, far))] == [False, False, True]


def test_broken_physics_is_no_success(arms: Arms) -> None:
    arms.reset(RandomizationRanges(), np.random.default_rng(0))
    arms.touched[:] = [arms.world.asked[text][0] for text in arms.asked]
    state = arms.joints()
    state[1, 6] = 1e3
    arms.put_joints(state)
    arms.step(np.zeros((2, 6)))
    assert arms.broken.tolist() == [False, True]
    assert arms.success().tolist() == [True, False]


def test_a_robot_of_other_motors_is_refused() -> None:
    with pytest.raises(ValueError, match="STS3215 alone, and franka has others"):
        World.of(environment_cfg(Settings(task="Argos-Reach-Franka-v0"), 1))
