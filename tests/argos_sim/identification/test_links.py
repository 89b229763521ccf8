"""Laws of links that are not as modelled: how heavy all are is not seen, the rest is, and intervals know of both."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from argos_sim.identification import trial
from argos_sim.identification.excitation import Excitation
from argos_sim.identification.fit import Fit, fit
from argos_sim.identification.links import Links
from argos_sim.identification.parameters import PER_JOINT, Parameters
from argos_sim.identification.shooting import Shooter
from argos_sim.identification.windows import Recording, Windows, cut, read_recording
from argos_sim.mujoco_c.arms import Arms
from argos_sim.randomization.ranges import get_ranges
from tests.argos_sim.identification.conftest import SECONDS, SEED, Arm


@pytest.fixture(scope="module")
def other(arm: Arm, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Of an arm whose links are not as modelled."""
    folder = tmp_path_factory.mktemp("other")
    trial.record(arm.world, arm.manifest, folder, SECONDS, SEED, "train")
    return read_recording(folder)


@pytest.fixture(scope="module")
def fitted(arm: Arm, other: Recording) -> Fit:
    return fit(other, arm.world)[0]


def test_an_arm_that_is_heavier_and_stronger_by_a_share_moves_alike(arm: Arm) -> None:
    recording = read_recording(arm.folder)
    windows, parameters = cut(recording, arm.world.rates.physics_dt).some(4), Parameters(6, 0.6, Links())
    vectors = np.repeat(parameters.first[None], 3, 0)
    vectors[1] += 0.2 * parameters.together
    vectors[2, parameters.mass] += 0.2
    start = np.repeat(windows.first_guess()[None], 3, 0)
    path = Shooter(arm.world, recording).simulate(
        parameters.candidates(vectors @ parameters.physical.T), windows, start
    )
    assert np.abs(path[1] - path[0]).max() < 1e-6
    assert np.abs(path[2] - path[0]).max() > 1e-2


def test_links_are_changed_as_those_of_the_simulated_arm(arm: Arm) -> None:
    world, dynamics, parameters = arm.world, trial.hidden(arm.world, SEED), Parameters(6, 0.6, Links())
    arms = Arms(world, 1)
    arms.reset(get_ranges("train"), np.random.default_rng((SEED, 0)))
    arms.give(dataclasses.replace(dynamics, delay=0))
    start = np.r_[Excitation(arm.manifest).centre, np.zeros(6)][None]
    arms.put_joints(start)
    torque, time = 0.5 * np.random.default_rng(0).standard_normal((10, 6)), 0.02 * np.arange(11)
    recording = Recording(world.joint_names, "", 50, time[:10], torque, time[:10], torque, time[:10], time[:10] >= 0)
    moved = [start[0, :6]]
    for one in torque:
        arms.step(one[None])
        moved.append(arms.joints()[0, :6])
    windows = Windows(np.zeros(1), time[None], np.array([moved]), np.ones((1, 11), dtype=bool), 40)
    vectors = np.zeros((3, len(parameters.first)))
    vectors[:, : parameters.delay] = np.log(np.concatenate([getattr(dynamics, name) for name in PER_JOINT]))
    shoulder = int(arms.nominal.body("shoulder").id)
    vectors[:2, parameters.mass] = np.log(trial.hidden_masses(world, SEED, "train"))
    vectors[::2, parameters.centre] = np.tile((arms.models[0].body_ipos - arms.nominal.body_ipos)[shoulder], 6)
    shooter = Shooter(world, recording)
    path = shooter.simulate(parameters.candidates(vectors), windows, np.repeat(start[None], 3, 0))
    off = np.abs(path[:, 0] - moved).max((1, 2))
    assert off[0] < 1e-6 and (off[1:] > 1e-4).all()


@pytest.mark.slow
def test_intervals_hold_the_truth_of_an_arm_whose_links_are_not_as_modelled(
    arm: Arm, other: Recording, fitted: Fit
) -> None:
    assert held(arm, fitted) > 0.85 and all(fitted.mass(j) for j in range(6))
    believed = fit(other, arm.world, links=Links(0, 0))[0]
    assert held(arm, believed) < 0.5 and believed.mass(0) is None
    strength = np.diag(believed.covariance)[18:24]
    np.testing.assert_allclose(believed.alone, np.sqrt(strength), err_msg="of which the delay is an unknown, too")


def held(arm: Arm, found: Fit) -> float:
    """Share of intervals that hold the truth, of what is not per strength."""
    hidden, masses = trial.hidden(arm.world, SEED), trial.hidden_masses(arm.world, SEED, "train")
    rows = [row for row in trial.errors(found, hidden, masses) if "per strength" not in row[0]]
    return float(np.mean([low <= true <= high for _, _, true, (_, low, high) in rows]))


@pytest.mark.slow
def test_of_how_heavy_all_links_are_only_what_is_believed_is_known(fitted: Fit) -> None:
    parameters, back = fitted.parameters, np.linalg.inv(fitted.parameters.physical)
    covariance, belief = back @ fitted.covariance @ back.T, np.diag(parameters.deviation**-2.0)
    together = parameters.together
    known = together @ belief @ covariance @ belief @ together
    assert known == pytest.approx(together @ belief @ together, rel=0.01)
    shoulder = np.sqrt(fitted.covariance[parameters.mass.start, parameters.mass.start])
    assert shoulder == pytest.approx(Links().mass, rel=0.05), "it only turns about an axis near its own"


@pytest.mark.parametrize(("mass", "centre"), [(-0.1, 0.0), (2.0, 0.0), (0.1, 0.5), (float("nan"), 0.0)])
def test_impossible_deviations_are_one_sentence(mass: float, centre: float) -> None:
    with pytest.raises(ValueError, match=r"masses are from 0 to 1 and of their centres from 0 to 0.1 m, not"):
        Links(mass, centre)
