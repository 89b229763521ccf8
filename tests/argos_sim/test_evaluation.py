"""The intervals are what they say, and a controller's figures follow the definitions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from argos_sim.evaluation import cluster_bootstrap, controller_figures, paired_gain, run_episodes, wilson_interval


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


@pytest.mark.parametrize("reached", [0.0, 1.0])
def test_a_few_episodes_that_all_end_alike_leave_doubt(reached: float) -> None:
    some = torch.full((6,), 0.5)
    records = {
        "env": torch.arange(6) // 3,
        "reached": torch.full((6,), reached),
        **dict.fromkeys(("joint_error", "joint_error_given", "vision_error", "vision_error_given"), some),
        **dict.fromkeys(("torque", "success"), torch.ones(2)),
    }
    figures = controller_figures(records)
    assert figures["reached_ci"] == figures["reached_moving_ci"] == wilson_interval(2 * int(reached), 2)


class ThreeRooms:
    """Three environments in which all is done at once; in one physics breaks, so that its episode begins anew."""

    num_envs, max_episode_length, device = 3, 6, "cpu"
    broken: int | slice = 1

    def __init__(self, breaks_at: int) -> None:
        self.breaks_at, self.steps = breaks_at, 0
        self.instruction = SimpleNamespace(success=torch.ones(3, dtype=torch.bool))
        self.target = SimpleNamespace(cfg=SimpleNamespace(record=False), records=[])
        self.reset_buf = torch.zeros(3, dtype=torch.bool)

    def reset(self) -> tuple[dict, dict]:
        return {}, {}

    def step(self, action: torch.Tensor) -> tuple[dict]:
        self.reset_buf[self.broken] = self.steps == self.breaks_at
        self.steps += 1
        self.target.records.append({"env": torch.arange(3), "reached": torch.ones(3)})
        return ({},)


def test_what_is_done_after_broken_physics_is_not_counted() -> None:
    policy: Any = SimpleNamespace(torque_limit=torch.ones(2), act=lambda obs: torch.full((3, 2), 0.5))
    env: Any = ThreeRooms(breaks_at=2)
    records = run_episodes(env, policy, "")
    assert records["success"].tolist() == [1, 0, 1]
    assert records["torque"].isnan().tolist() == [False, True, False]
    assert records["env"].long().bincount().tolist() == [5, 2, 5], "of the broken episode the targets of before remain"


def test_physics_that_broke_everywhere_is_a_sentence() -> None:
    """Before any target was judged: there is nothing to take figures of."""
    policy: Any = SimpleNamespace(torque_limit=torch.ones(2), act=lambda obs: torch.full((3, 2), 0.5))
    env: Any = ThreeRooms(breaks_at=0)
    env.broken = slice(None)
    with pytest.raises(ValueError, match="train: physics broke in every episode before a target was judged"):
        run_episodes(env, policy, "train")


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
    same = paired_gain(better, better)
    assert same["gain"] == same["success_gain"] == 0
    low, high = same["success_gain_ci"]
    assert -0.05 < low < 0 < high < 0.05, "that none of these episodes changed does not mean that none ever would"
