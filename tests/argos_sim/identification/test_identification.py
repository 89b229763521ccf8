"""Laws of identification: hidden joints are found, what cannot be told is said, what is unusable is one sentence."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.recorder import KIND, STEPS, read_steps
from argos_sim.deploy.recording import FORMAT
from argos_sim.identification import report, trial
from argos_sim.identification.fit import Fit, fit
from argos_sim.identification.links import Links
from argos_sim.identification.parameters import Parameters
from argos_sim.identification.shooting import Shooter
from argos_sim.identification.windows import Recording, Windows, check, cut, read_recording
from argos_sim.pipeline.settings import Settings
from tests.argos_sim.identification.conftest import SEED, Arm


@pytest.fixture(scope="module")
def recording(arm: Arm) -> Recording:
    return read_recording(arm.folder)


@pytest.fixture(scope="module")
def fitted(arm: Arm, recording: Recording) -> tuple[Fit, Windows, Shooter]:
    return fit(recording, arm.world)


def truth(arm: Arm) -> np.ndarray:
    hidden = trial.hidden(arm.world, SEED)
    parts = [np.log(x) for x in (hidden.friction, hidden.armature, hidden.back_emf, hidden.strength)]
    return np.r_[np.concatenate(parts), trial.true_delay(hidden, arm.world.rates.physics_dt, arm.offset)]


@pytest.mark.slow
def test_hidden_joints_are_found_in_ten_noisy_seconds(arm: Arm, fitted: tuple[Fit, Windows, Shooter]) -> None:
    found, hidden = fitted[0], trial.hidden(arm.world, SEED)
    for j, joint in enumerate(arm.world.joint_names):
        for name in ("friction", "armature", "back_emf"):
            per_strength = getattr(hidden, name)[j] / hidden.strength[j]
            value, low, high = found.ratio(name, j)
            assert value == pytest.approx(per_strength, rel=0.1), f"{name} of {joint}"
            assert low < value < high
    assert found.delay()[0] == pytest.approx(truth(arm)[-1], abs=1e-3)
    inside = [low <= true <= high for _, _, true, (_, low, high) in trial.errors(found, hidden, np.ones(6))]
    assert np.mean(inside) > 0.75, "intervals of 95 % hold the truth more often than that"
    assert (found.after < found.before).all() and found.after.max() < 0.002


@pytest.mark.slow
def test_what_is_written_is_what_was_found_and_training_takes_it(
    fitted: tuple[Fit, Windows, Shooter], recording: Recording, tmp_path: Path
) -> None:
    report.write(tmp_path, *fitted, recording)
    found = yaml.safe_load((tmp_path / report.FOUND).read_text())
    assert found["joints"]["elbow_flex"]["friction"]["value"] == pytest.approx(
        fitted[0].value("friction", 2)[0], rel=1e-3
    )
    assert any("Viscous damping and back-EMF" in sentence for sentence in found["not_identifiable"])
    told = [joint for joint, entry in found["joints"].items() if "per_strength" not in entry]
    assert "shoulder_lift" in told and "elbow_flex" in told and "gripper" not in told
    assert any(x.startswith("strength of") and "gripper" in x for x in found["not_identifiable"])
    low, high = found["joints"]["elbow_flex"]["link_mass"]["interval"]
    assert low < 1 < high and high - low == pytest.approx(4 * Links().mass, rel=0.5)
    assert (tmp_path / report.PICTURE).stat().st_size > 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([report.FOUND, report.RANGES, report.PICTURE])
    settings = Settings(identified=str(tmp_path / report.RANGES))
    low, high = settings.ranges("train").joint_friction
    for j in (1, 2):
        assert low < fitted[0].value("friction", j)[1] and fitted[0].value("friction", j)[2] < high
    low, high = zip(*(mass[1:] for j in range(6) if (mass := fitted[0].mass(j))), strict=True)
    assert settings.ranges("train").mass_scale == pytest.approx((min(low), max(high)), rel=1e-3)
    assert settings.drawn_from() != Settings().drawn_from(), "a run with other ranges is another run"


def test_the_true_arm_moves_as_recorded_and_another_does_not(arm: Arm, recording: Recording) -> None:
    """The batched simulation is the recorded arm's own physics, whatever candidates stand beside it."""
    windows = cut(recording, arm.world.rates.physics_dt).some(4)
    shooter, true = Shooter(arm.world, recording), truth(arm)
    heavier = true.copy()
    heavier[6:12] += 0.3  # armature
    late = true.copy()
    late[-1] += 0.01
    start = np.repeat(windows.first_guess()[None], 3, 0)
    candidates = Parameters(6, arm.world.back_emf, Links(0, 0)).candidates
    moved = shooter.simulate(candidates(np.stack([heavier, true, late])), windows, start)
    alone = shooter.simulate(candidates(true[None]), windows, start[:1])
    assert np.allclose(moved[1], alone[0], atol=1e-9)
    off = np.median(np.abs(np.where(windows.known[..., None], moved - windows.position, 0)).max(2), axis=(1, 2))
    assert off[1] < 0.7 * off[0] and off[1] < 0.7 * off[2]


def test_when_commands_were_sent_is_seen_in_a_recording(arm: Arm, recording: Recording) -> None:
    dt = arm.world.rates.physics_dt
    assert trial.sent_after(recording, dt) == pytest.approx(arm.offset, abs=1e-6)
    jitter = 2e-4 * np.random.default_rng(0).standard_normal(len(recording.sent_at)) - arm.offset
    about = trial.sent_after(dataclasses.replace(recording, sent_at=recording.sent_at + jitter), dt)
    assert min(about, dt - about) < 3e-5, "about a step, now before it and now after it"


def test_a_command_acts_in_proportion_to_its_share_of_a_physics_step(arm: Arm, recording: Recording) -> None:
    shooter, windows = Shooter(arm.world, recording), cut(recording, 0.005)
    begin = float(recording.sent_at[60])
    one = dataclasses.replace(windows, begin=np.array([begin]), steps=4)
    before, after = recording.torque[59], recording.torque[60]
    assert np.abs(after - before).max() > 1e-3
    assert np.allclose(shooter.commands(one, 0.0)[0, 0], after)
    assert np.allclose(shooter.commands(one, 0.002)[0, 0], 0.4 * before + 0.6 * after)
    assert np.allclose(shooter.commands(one, 0.007)[:2, 0], [before, 0.4 * before + 0.6 * after])


def broken(recording: Recording, **changes: np.ndarray) -> Recording:
    return dataclasses.replace(recording, **changes)


def test_what_tells_nothing_is_one_sentence_that_names_the_joint(recording: Recording) -> None:
    position, torque = recording.position.copy(), recording.torque.copy()
    position[:, 3] = 0.2
    with pytest.raises(DeployError, match=r"wrist_flex moved by 0.000 rad under torques up to .* it is stuck"):
        check(broken(recording, position=position))
    torque[:, 5] = 0
    with pytest.raises(DeployError, match="gripper was never told a torque to speak of"):
        check(broken(recording, torque=torque))
    position = recording.position.copy()
    position[7, 1] = np.nan
    with pytest.raises(DeployError, match="a position of shoulder_lift that is not a number"):
        check(broken(recording, position=position))
    with pytest.raises(DeployError, match=r"has 0.0 s of excitation, and 4 s are needed"):
        check(broken(recording, moving=np.zeros_like(recording.moving)))
    with pytest.raises(DeployError, match="times are not numbers that rise"):
        check(broken(recording, sent_at=recording.sent_at[::-1]))


def test_a_recording_that_was_cut_off_is_read_as_far_as_it_goes(arm: Arm, recording: Recording, tmp_path: Path) -> None:
    shutil.copytree(arm.folder, tmp_path, dirs_exist_ok=True)
    whole = (tmp_path / STEPS).read_bytes()
    (tmp_path / STEPS).write_bytes(whole[: int(0.8 * len(whole)) + 1])
    torn = read_recording(tmp_path)
    count = len(torn.sent_at)
    assert 0.75 * len(recording.sent_at) < count < 0.85 * len(recording.sent_at)
    assert np.array_equal(torn.position, recording.position[:count])
    (tmp_path / KIND).unlink()
    with pytest.raises(DeployError, match="holds no recording of an excitation"):
        read_recording(tmp_path)


def test_a_policys_recording_is_refused_as_what_it_is(arm: Arm, tmp_path: Path) -> None:
    shutil.copytree(arm.folder, tmp_path, dirs_exist_ok=True)
    about = json.loads((tmp_path / KIND).read_text())
    (tmp_path / KIND).write_text(json.dumps(about | {"format": FORMAT, "policy": "runs/shipped/export"}))
    with pytest.raises(DeployError, match=r"recording of a policy or a person, by run_robot\.py or record\.py"):
        read_recording(tmp_path)


def test_what_is_per_strength_is_told_apart_by_whether_that_is_known(arm: Arm) -> None:
    joints, parameters = 6, Parameters(6, 0.6, Links(0, 0))
    size, alone = len(parameters.first), np.array([0.01] * 4 + [0.1] * 2)
    some, none = np.zeros((1, 2 * joints)), np.zeros(joints)
    found = Fit(
        arm.world.joint_names, parameters.first, 1e-4 * np.eye(size), alone, some, some, some, none, none,
        parameters.first, parameters,
    )  # fmt: skip
    labels = Counter(row[0] for row in trial.errors(found, trial.hidden(arm.world, SEED), np.ones(6)))
    assert labels["friction"] == labels["friction per strength, which is known"] == 4
    assert labels["friction per strength"] == 2 and labels["strength"] == 4


def test_read_outs_that_were_missed_are_no_news(arm: Arm, recording: Recording) -> None:
    """A read-out that is seen twice counts once, and windows with few of them are left out."""
    whole, read_at = cut(recording, 0.005), recording.read_at.copy()
    first = int(np.flatnonzero(recording.moving)[0]) // 25 * 25 + 25
    read_at[first + 3 : first + 6] = read_at[first + 2]
    read_at[first + 25 : first + 50] = read_at[first + 24]
    windows = cut(broken(recording, read_at=read_at), 0.005)
    assert len(windows) == len(whole) - 1
    assert whole.known.sum() - windows.known.sum() >= 3 + whole.known[2].sum()


def test_windows_in_which_the_machine_stood_still_are_left_out(recording: Recording) -> None:
    whole, age = cut(recording, 0.005), recording.age.copy()
    first = int(np.flatnonzero(recording.moving)[0]) // 25 * 25 + 25
    age[first + 10] += 0.03
    assert len(cut(broken(recording, age=age), 0.005)) == len(whole) - 1
    with pytest.raises(DeployError, match="missing or late"):
        cut(broken(recording, age=np.where(np.arange(len(age)) % 8, age, age + 0.03)), 0.005)


def test_arms_keep_within_their_box_and_bounds(arm: Arm) -> None:
    steps = read_steps(arm.folder)
    assert np.abs(steps["sent"]).max() <= 0.6 * 2.94 + 1e-6
    low, high = np.array(arm.world.joint_limits).T
    assert (steps["position"] > low + 0.02).all() and (steps["position"] < high - 0.02).all()
    assert np.ptp(steps["position"], axis=0).min() > 0.5
    assert set(steps["mode"]) == {0, 1, 2, 3, 4, 5}
