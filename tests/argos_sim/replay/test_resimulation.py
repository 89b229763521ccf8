"""Laws of the simulated arm beside a recorded one: the same torques on the same arm are the same motion."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from argos_sim.deploy.recording import Recording, load_recording
from argos_sim.mujoco_c.world import World
from argos_sim.replay.replay import replay
from argos_sim.replay.resimulation import Resimulation
from tests.argos_sim.replay.made import EXACT, record


def test_the_same_torques_on_the_same_arm_are_the_same_motion(recorded: Recording) -> None:
    simulator = Resimulation(recorded)
    for segment in recorded.segments():
        played = simulator.play(segment)
        # The first read-out is of before the beginning, so that all others are compared.
        assert len(played.steps) >= 99
        moved = np.ptp(recorded.steps["position"][recorded.within(segment)], 0)
        assert (moved > 0.05).all(), "all joints move"
        assert np.abs(played.difference).max() < 2e-3, "but for commands that were under way at the beginning"
        assert np.abs(played.velocity - recorded.steps["velocity"][played.steps]).max() < 0.05


def test_an_episode_is_played_on_its_own_body(recorded: Recording) -> None:
    first, second = recorded.segments()
    own = Resimulation(recorded).play(first)
    others = Resimulation(recorded).play(dataclasses.replace(first, episode=second.episode))
    assert np.abs(others.difference).max() > 10 * np.abs(own.difference).max()
    assert own.objects.shape == (len(own.steps), 3, 7)


def test_torques_that_are_played_late_show(recorded: Recording) -> None:
    steps = recorded.steps.copy()
    steps["time"] += 0.04
    steps["joints_age"] += 0.04
    late = dataclasses.replace(recorded, steps=steps)
    segment = recorded.segments()[0]
    own, other = Resimulation(recorded).play(segment), Resimulation(late).play(segment)
    assert other.rms().max() > 5 * own.rms().max()


def test_a_restart_puts_the_simulated_arm_back_on_the_recorded_one(recorded: Recording) -> None:
    segment = dataclasses.replace(recorded.segments()[0], episode=9)  # on another body, so that they come apart
    simulator = Resimulation(recorded)
    whole, restarted = simulator.play(segment), simulator.play(segment, 0.2)
    assert np.array_equal(whole.steps, restarted.steps), "every step is compared once"
    assert whole.since.max() > 1.9 and 0.18 < restarted.since.max() < 0.22
    assert restarted.rms().max() < 0.5 * whole.rms().max()
    near = np.abs(restarted.since - 0.1) < 0.011
    assert 0 < np.abs(restarted.difference[near]).max() < np.abs(restarted.difference).max()


def test_what_a_sensor_or_a_lost_command_adds_is_small(world: World, tmp_path: Path) -> None:
    settings = dataclasses.replace(EXACT, encoder_noise=0.0008, lost=0.01, seed=5)
    recording = load_recording(record(tmp_path, world, settings, (0,)))
    played = Resimulation(recording).play(recording.segments()[0])
    assert played.rms().min() > 5e-4 and played.rms().max() < 0.03


def test_another_robots_recording_is_played_on_the_nominal_body_without_blocks(world: World, tmp_path: Path) -> None:
    nominal = dataclasses.replace(EXACT, ranges="nominal")
    recording = load_recording(record(tmp_path, world, nominal, robot=SimpleNamespace()))
    played = Resimulation(recording).play(recording.segments()[0])
    assert played.objects.shape[1] == 0 and np.abs(played.difference).max() < 2e-3


def test_joints_that_were_not_read_are_not_compared(recorded: Recording) -> None:
    steps = recorded.steps.copy()
    steps["position"][:10] = steps["position"][40:45] = np.nan
    blind = dataclasses.replace(recorded, steps=steps)
    played = Resimulation(blind).play(recorded.segments()[0])
    assert not np.isin([*range(10), *range(40, 45)], played.steps).any()
    assert np.isfinite(played.difference).all() and np.abs(played.difference).max() < 2e-3
    steps["position"][:] = np.nan
    with pytest.raises(ValueError, match="No joints were read in the segment"):
        Resimulation(blind).play(recorded.segments()[0])


def test_a_world_that_does_not_fit_or_is_missing_is_one_sentence(
    recorded: Recording, world: World, tmp_path: Path
) -> None:
    other = dataclasses.replace(world, joint_names=("a", *world.joint_names[1:]))
    with pytest.raises(ValueError, match="The recording's joints are shoulder_pan.* the world's a, "):
        Resimulation(recorded, other)
    nowhere = dataclasses.replace(recorded, about=recorded.about | {"world": None})
    with pytest.raises(ValueError, match="is of a policy without world.json"):
        Resimulation(nowhere)
    (tmp_path / "world.json").write_text(json.dumps(world.to_json())[:-9])
    with pytest.raises(ValueError, match="The world .* cannot be read"):
        replay(recorded.folder, world_file=tmp_path / "world.json")


def test_the_table_tells_how_far_both_arms_are_from_each_other(recorded: Recording) -> None:
    replayed = replay(recorded.folder)
    assert sorted(replayed.restarted) == [0.1, 0.5, 1.0]
    lines = replayed.table().splitlines()
    assert "shoulder_pan" in lines[0] and len(lines) == 5
    whole = np.concatenate([played.difference for played in replayed.played])
    printed = [float(value) for value in lines[1].split()[2:]]
    assert np.allclose(printed, np.sqrt((whole**2).mean(0)), atol=6e-5)
