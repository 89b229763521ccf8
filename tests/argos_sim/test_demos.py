"""Laws of recordings: the expert does what is asked, and what physics broke is not recorded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch

import tasks  # noqa: F401
from argos_sim.configs import ExpertCfg
from argos_sim.demos import _view_poses, expert_rollout, record_demonstrations
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.mdp.events import write_joints
from argos_sim.pipeline.collect import _view_cameras
from argos_sim.pipeline.environment import environment_cfg, make_environment, make_expert
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import RandomizationRanges, get_ranges

N, TASK = 8, "Argos-Reach-SO100-v0"


@pytest.fixture(scope="module")
def env() -> Iterator[LatentTrackingEnv]:
    with make_environment(environment_cfg(Settings(task=TASK), N, physics="ovphysx")) as env:
        yield env


def test_expert_touches_the_named_block_first(env: LatentTrackingEnv) -> None:
    env.reset()
    rollout = expert_rollout(env, make_expert(env, TASK, ExpertCfg(), 0))
    assert rollout.success.float().mean() >= 0.95
    frames = env.max_episode_length // env.cfg.rates.control_per_frame
    assert rollout.images.shape == (frames, N, 3, 64, 64)


def test_mistakes_in_a_task_end_in_a_sentence(
    env: LatentTrackingEnv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expert, every = make_expert(env, TASK, ExpertCfg(), 0), torch.arange(N)
    tips, values = expert.waypoints(every)
    with monkeypatch.context() as patch:
        patch.setattr(expert, "waypoints", lambda ids: (tips.repeat(1, 2, 1), values))
        with pytest.raises(ValueError, match=rf"waypoints of 1 legs are \({N}, 2, 3\) tips"):
            expert.begin(every)
    done = type(env.instruction)
    for wrong in (torch.ones(N, 1, dtype=torch.bool), torch.ones(N)):
        monkeypatch.setattr(done, "success", property(lambda _, wrong=wrong: wrong))
        with pytest.raises(ValueError, match=rf"TouchCommand.success is .* as \({N},\) of torch.bool"):
            env.instruction._update_metrics()
    monkeypatch.setattr(done, "success", property(lambda _: torch.zeros(N, dtype=torch.bool)))
    with pytest.raises(ValueError, match=rf"failed in all {N} .*failed_.*: \d+.* up to [\d.]+ cm from where"):
        record_demonstrations(env, expert, tmp_path / "dataset", 1)


def test_an_episode_that_physics_broke_is_no_demonstration_and_leaves_the_next_whole(
    env: LatentTrackingEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.reset()
    expert, step, ids = make_expert(env, TASK, ExpertCfg(), 0), env.step, torch.tensor([2])
    steps: list[bool] = []

    def breaks(action: torch.Tensor):
        if len(steps) == 3:  # so early that its successor has time to do what is asked, though nobody plans it anew
            joints = env.scene["robot"].data.joint_pos.torch[ids].clone()
            write_joints(env, ids, joints * math.nan, torch.zeros_like(joints))
        seen = step(action)
        steps.append(bool(env.reset_buf[ids]))
        return seen

    monkeypatch.setattr(env, "step", breaks)
    monkeypatch.setattr(type(env.instruction), "success", property(lambda _: torch.ones(N, dtype=torch.bool)))
    rollout = expert_rollout(env, expert)
    assert steps.index(True) == 3
    assert rollout.success.tolist() == [i != 2 for i in range(N)]
    assert env.episode_length_buf.tolist() == [0] * N


@pytest.mark.parametrize("name", ["train", "complete"])
def test_views_are_of_cameras_moved_as_far_as_the_runs_ranges_say(name: Literal["train", "complete"]) -> None:
    drawn: list[RandomizationRanges] = []
    env: Any = SimpleNamespace(cfg=SimpleNamespace(ranges=get_ranges(name)), num_envs=2, device="cpu")
    env.camera_poses = lambda every, draws: drawn.append(draws.ranges)
    assert list(_view_poses(env, torch.arange(2))) == ["a", "b", "canonical"]
    assert drawn == [get_ranges(name), get_ranges(name), get_ranges("nominal")]
    moved = _view_cameras(Settings(randomization=name))
    assert (moved == {}) == (name == "train"), "views of before are what they were; others are not"
