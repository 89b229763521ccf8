"""The intervals are what they say, and a controller's figures follow the definitions."""

from __future__ import annotations

import pytest
import torch

from argos_sim.evaluation import cluster_bootstrap, controller_figures, paired_gain, wilson_interval


def test_wilson_interval_holds_the_truth_about_19_times_in_20() -> None:
    generator, truth, count = torch.Generator().manual_seed(0), 0.8, 100
    held = 0
    for _ in range(400):
        successes = int((torch.rand(count, generator=generator) < truth).sum())
        low, high = wilson_interval(successes, count)
        held += low <= truth <= high
    assert 0.91 <= held / 400 <= 0.99
    assert wilson_interval(100, 100)[1] == pytest.approx(1.0)


def test_bootstrap_resamples_episodes_not_targets() -> None:
    episodes = torch.arange(50)
    value = (torch.rand(50) < 0.5).float()
    single = cluster_bootstrap(value, episodes)
    copied = cluster_bootstrap(value.repeat_interleave(20), episodes.repeat_interleave(20))
    assert copied == pytest.approx(single, abs=1e-6)


def test_figures_separate_targets_that_ask_for_a_movement() -> None:
    records = {
        "env": torch.tensor([0.0, 0, 1, 1]),
        "reached": torch.tensor([1.0, 0, 1, 0]),
        "joint_error": torch.tensor([0.05, 0.01, 0.05, 0.2]),
        "joint_error_given": torch.tensor([0.3, 0.02, 0.3, 0.3]),
        "vision_error": torch.tensor([0.2, 0.3, 0.2, 0.9]),
        "vision_error_given": torch.tensor([1.0, 0.3, 1.0, 1.0]),
        "torque": torch.tensor([0.5, 0.7]),
        "success": torch.tensor([1.0, 0.0]),
    }
    figures = controller_figures(records)
    assert (figures["episodes"], figures["targets"], figures["moving_targets"]) == (2, 4, 3)
    assert figures["reached"] == pytest.approx(0.5)
    assert figures["reached_moving"] == pytest.approx(2 / 3)
    assert figures["joint_within_tolerance"] == pytest.approx(0.75)
    assert figures["success"] == pytest.approx(0.5)
    low, high = figures["success_ci"]
    assert low < 0.5 < high


def test_paired_gain_forgets_what_makes_episodes_hard() -> None:
    generator, episodes, targets = torch.Generator().manual_seed(0), 60, 3
    episode = torch.arange(episodes).repeat_interleave(targets).float()
    hard = (torch.rand(episodes, generator=generator) < 0.5).repeat_interleave(targets)
    lost = torch.arange(episodes * targets) % 30 == 0
    done = (torch.arange(episodes) % 4 > 0).float()
    better = {"env": episode, "reached": (~hard).float(), "success": done}
    worse = {"env": episode, "reached": (~hard & ~lost).float(), "success": done * (torch.arange(episodes) % 3 > 0)}
    expected = float((better["reached"] - worse["reached"]).mean())
    figures = paired_gain(better, worse)
    assert figures["gain"] == pytest.approx(expected) and expected > 0
    low, high = figures["gain_ci"]
    assert low <= figures["gain"] <= high
    apart = cluster_bootstrap(better["reached"], episode)
    assert high - low < 0.3 * (apart[1] - apart[0])
    assert paired_gain(worse, better)["gain"] == pytest.approx(-expected)
    assert figures["success_gain"] == pytest.approx(0.25) and figures["success_gain_ci"][0] > 0
    none = {"gain": 0.0, "gain_ci": (0.0, 0.0), "success_gain": 0.0, "success_gain_ci": (0.0, 0.0)}
    assert paired_gain(better, better) == none
