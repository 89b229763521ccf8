"""Laws of the reinforcement-learning stage, on an environment small enough to run in memory."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensordict import TensorDict

from argos_sim.configs import PPOConfig
from argos_sim.controller.network import Controller, ControllerConfig
from argos_sim.controller.ppo import TrackingPPO, level_ages, make_ppo, train_ppo
from argos_wm.checkpoint import CheckpointError
from argos_wm.training.logger import RunLogger

N, EPISODE, WARMUP = 8, 12, 1
SIZES = ControllerConfig(patches=2, channels=3, proprio_dim=4, joints=2, history=1, attention_width=8, hidden=(16, 16))
CFG = PPOConfig(iterations=4, num_envs=N, steps=6, critic_warmup=WARMUP, epochs=2, minibatches=2, checkpoint_every=2)


class PointEnv:
    """A point that actions push and whose distance to the origin is the cost; resets are drawn from ``generator``."""

    def __init__(self, num_envs: int = N) -> None:
        self.num_envs, self.num_actions, self.device, self.max_episode_length = num_envs, 2, "cpu", EPISODE
        self.generator = torch.Generator().manual_seed(0)
        self.perception = SimpleNamespace(generator=torch.Generator().manual_seed(1))
        self.target = SimpleNamespace(
            records=[],
            source=SimpleNamespace(reseed=lambda seed: None),
            forget=lambda: None,
            path_error=lambda: self.position,
        )
        self.reset_terminated = torch.zeros(num_envs, dtype=torch.bool)
        self.unwrapped, self.widening = self, None
        self.observation_manager = SimpleNamespace(compute=self.observe)
        self.spoiled = False
        self.reset()

    def reset(self) -> None:
        self.position = torch.randn(self.num_envs, 2, generator=self.generator)
        self.episode_length_buf = torch.zeros(self.num_envs, dtype=torch.long)
        self.obs_buf = self.observe()

    def get_observations(self) -> TensorDict:
        """What was observed last, as Isaac Lab's wrapper has it."""
        return self.obs_buf

    def observe(self) -> TensorDict:
        count = self.num_envs
        proprio = torch.zeros(count, 2 * 4 + 4 + 2 + 1)
        proprio[:, :2] = self.position
        if self.spoiled:
            proprio[3] = torch.nan
        groups = {"proprio": proprio, "vision": torch.zeros(count, 6), "target_vision": torch.zeros(count, 6)}
        return TensorDict(groups | {"critic": self.position.clone()}, batch_size=[count])

    def step(self, action: torch.Tensor):
        self.position = self.position + 0.1 * action.clamp(-1, 1)
        self.episode_length_buf = self.episode_length_buf + 1
        done = self.episode_length_buf >= EPISODE
        fresh = torch.randn(self.num_envs, 2, generator=self.generator)
        self.position = torch.where(done[:, None], fresh, self.position)
        self.episode_length_buf = torch.where(done, 0, self.episode_length_buf)
        self.obs_buf = self.observe()
        return self.obs_buf, -self.position.norm(dim=-1), done.long(), {"time_outs": done}


def prior() -> Controller:
    torch.manual_seed(5)
    return Controller(SIZES, torch.ones(2))


Weights = dict[str, torch.Tensor]


def weights_of(actor: torch.nn.Module) -> Weights:
    return {k: v.detach().clone() for k, v in actor.state_dict().items()}


def train(folder: Path, cfg: PPOConfig) -> Weights:
    env = PointEnv()
    actor, _ = train_ppo(env, make_ppo(env, prior(), cfg, "cpu"), cfg, folder, RunLogger(folder, "none"))
    return weights_of(actor)


def watched(folder: Path, cfg: PPOConfig, look: Callable[[TrackingPPO], Any], env: PointEnv) -> tuple[list, Weights]:
    """What ``look`` says of the algorithm before the first iteration and after each, and the weights that come out."""
    algorithm = make_ppo(env, prior(), cfg, "cpu")
    update, seen = algorithm.update, [look(algorithm)]

    def watched_update() -> dict[str, float]:
        losses = update()
        seen.append(look(algorithm))
        return losses

    algorithm.update = watched_update
    actor, _ = train_ppo(env, algorithm, cfg, folder, RunLogger(folder, "none"))
    return seen, weights_of(actor)


def own_weights(algorithm: TrackingPPO) -> Weights:
    return weights_of(algorithm.actor)


def test_episodes_that_physics_broke_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, steps = PointEnv.step, itertools.count()

    def breaking(self: PointEnv, action: torch.Tensor):
        number = next(steps)
        self.reset_terminated = torch.tensor([number in (0, CFG.steps + 1), number == CFG.steps, *[False] * (N - 2)])
        return step(self, action)

    monkeypatch.setattr(PointEnv, "step", breaking)
    train(tmp_path, CFG)
    rows = [json.loads(row) for row in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert [row["ppo/physics_broke"] for row in rows] == [1, 2, 0, 0]


def test_resumed_run_equals_one_that_was_not_stopped(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", CFG)
    stopped = PPOConfig(**{**vars(CFG), "iterations": 2})
    half = train(tmp_path / "parts", stopped)
    resumed = train(tmp_path / "parts", CFG)
    assert any(not torch.equal(half[k], whole[k]) for k in whole)
    assert all(torch.equal(resumed[k], whole[k]) for k in whole)


def test_another_seed_leads_elsewhere_from_the_same_weights(tmp_path: Path) -> None:
    def seeded(name: str, seed: int) -> Weights:
        return train(tmp_path / name, PPOConfig(**{**vars(CFG), "iterations": 2, "seed": seed}))

    one, same, other = seeded("one", 3), seeded("same", 3), seeded("other", 4)
    assert not differs(one, same) and differs(one, other)


@pytest.mark.parametrize(
    ("told", "steps", "warmup"),
    [(3, 6, 3), (None, 6, 2), (None, 5, 3), (0, 6, 0)],
    ids=["told", "an episode", "an episode begun", "none"],
)
def test_only_the_critic_learns_while_it_warms_up(tmp_path: Path, told: int | None, steps: int, warmup: int) -> None:
    cfg = PPOConfig(**{**vars(CFG), "critic_warmup": told, "steps": steps})
    critics, _ = watched(tmp_path / "critic", cfg, lambda a: weights_of(a.critic), PointEnv())
    actors, _ = watched(tmp_path / "actor", cfg, own_weights, PointEnv())
    assert [differs(before, after) for before, after in pairwise(critics)] == [True] * 4
    assert [differs(before, after) for before, after in pairwise(actors)] == [False] * warmup + [True] * (4 - warmup)


def differs(before: Weights, after: Weights) -> bool:
    return any(not torch.equal(before[name], after[name]) for name in before)


def test_warm_up_that_leaves_the_actor_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="iterations = 4, but in the first 4 of them only the critic learns"):
        train(tmp_path, PPOConfig(**{**vars(CFG), "critic_warmup": 4}))
    with pytest.raises(ValueError, match="iterations = 2, but in the first 2 of them only the critic learns"):
        train(tmp_path, PPOConfig(**{**vars(CFG), "iterations": 2, "critic_warmup": None}))


def test_no_iterations_leave_the_prior_as_it_was(tmp_path: Path) -> None:
    weights, start = train(tmp_path, PPOConfig(**{**vars(CFG), "iterations": 0})), prior().state_dict()
    assert start.keys() - weights.keys() == {"torque_limit"}, "which no learner has a part in"
    assert all(torch.equal(weights[name], value) for name, value in start.items() if name != "torque_limit")


def test_what_comes_out_is_the_average_over_iterations(tmp_path: Path) -> None:
    # The decay binds from the second update on: the ramp is at 1/10, 2/11, 3/12.
    cfg = PPOConfig(**{**vars(CFG), "ema_decay": 0.15})
    seen, averaged = watched(tmp_path, cfg, own_weights, PointEnv())
    for name, weight in averaged.items():
        expected = seen[0][name]
        for decay, own in zip((0.1, 0.15, 0.15), seen[1 + WARMUP :], strict=True):
            expected = decay * expected + (1 - decay) * own[name]
        assert torch.allclose(weight, expected, atol=1e-6)
    assert any(not torch.allclose(weight, seen[-1][name], atol=1e-6) for name, weight in averaged.items())


def test_last_weights_come_out_where_nothing_is_averaged(tmp_path: Path) -> None:
    seen, last = watched(tmp_path, PPOConfig(**{**vars(CFG), "ema_decay": 0.0}), own_weights, PointEnv())
    assert not differs(seen[-1], last)


class SteadyEnv(PointEnv):
    """Pays 0.01 for ever, whatever is done: every state is worth 0.01 / (1 − γ), also where time runs ``out``."""

    out, steps = False, 0

    def step(self, action: torch.Tensor):
        obs, reward, done, _ = super().step(action)
        self.steps += 1
        done = torch.full_like(done, self.out and self.steps % 4 == 0)
        return obs, torch.full_like(reward, 0.01), done, {"time_outs": done}


@pytest.mark.parametrize("out", [False, True])
def test_critic_learns_the_whole_future_in_one_warm_up(tmp_path: Path, out: bool) -> None:
    truth, missing = 0.01 / (1 - CFG.gamma), {}
    for rounds in (1, 60):
        changes = {"iterations": 2, "warmup_rounds": rounds, "critic_epochs": 8, "critic_learning_rate": 3e-3}
        env, cfg = SteadyEnv(), PPOConfig(**{**vars(CFG), **changes})
        env.out = out

        @torch.no_grad()
        def error(algorithm: TrackingPPO, env: SteadyEnv = env) -> float:
            return float((algorithm.critic(env.get_observations()) - truth).abs().mean())  # pyright: ignore

        errors, _ = watched(tmp_path / str(rounds), cfg, error, env)
        missing[rounds] = errors[WARMUP] / truth
    assert missing[60] < 0.2 < 0.5 < missing[1]


def test_strong_pull_keeps_the_actor_nearer_to_imitation(tmp_path: Path) -> None:
    distance = {}
    for pull in (0.0, 100.0):
        weights = train(tmp_path / str(pull), PPOConfig(**{**vars(CFG), "pull": pull, "pull_decay": 1.0}))
        start = prior().state_dict()
        distance[pull] = sum(float((weights[k] - v).square().sum()) for k, v in start.items() if k in weights)
    assert distance[100.0] < distance[0.0]


def test_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(tmp_path, CFG)
    with pytest.raises(CheckpointError, match="other settings .gamma."):
        train(tmp_path, PPOConfig(**{**vars(CFG), "gamma": 0.5}))


def test_nan_stops_training_in_one_sentence(tmp_path: Path) -> None:
    env = PointEnv()
    algorithm = make_ppo(env, prior(), CFG, "cpu")
    env.spoiled = True
    with pytest.raises(FloatingPointError, match="The proprio of 1 environments is not finite"):
        train_ppo(env, algorithm, CFG, tmp_path, RunLogger(tmp_path, "none"))


class ForgetfulEnv(PointEnv):
    """As Isaac Lab's: where an action broke physics, another episode has begun before anything is observed."""

    def step(self, action: torch.Tensor):
        return super().step(action.nan_to_num())


@pytest.mark.parametrize(("part", "update"), [("actor", 1), ("actor", 2), ("critic", 0), ("loss", 3)])
def test_weights_that_are_not_finite_stop_training_before_they_are_saved(
    tmp_path: Path, part: str, update: int
) -> None:
    env, cfg = ForgetfulEnv(), PPOConfig(**{**vars(CFG), "checkpoint_every": 1})
    algorithm, updates = make_ppo(env, prior(), cfg, "cpu"), itertools.count()
    learn = algorithm.update

    def spoiling() -> dict[str, float]:
        losses = learn()
        if next(updates) != update:
            return losses
        if part == "loss":
            return losses | {"surrogate": math.nan}
        next(getattr(algorithm, part).parameters()).data.view(-1)[0] = math.inf
        return losses

    algorithm.update = spoiling
    with pytest.raises(FloatingPointError, match=rf"In iteration {update} of PPO the .*{part} became not finite"):
        train_ppo(env, algorithm, cfg, tmp_path, RunLogger(tmp_path, "none"))
    kept = tmp_path / "checkpoint.safetensors"
    assert kept.exists() == (update > 0)
    if update > 0:
        tensors = load_file(kept)
        assert int(tensors["iteration"]) == update and all(x.isfinite().all() for x in tensors.values())


class JudgedEnv(PointEnv):
    """Four targets are judged at every step: three of the first source, two of them reached, and one of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.target.source.names = ("planner", "demonstrations", "bank")

    def step(self, action: torch.Tensor):
        given = dict.fromkeys(("joint_error", "vision_error", "vision_error_given"), torch.ones(4))
        reached, source = torch.tensor([True, False, False, True]), torch.tensor([0, 1, 0, 0])
        self.target.records.append({"reached": reached, "source": source, **given})
        return super().step(action)


def test_curves_tell_how_many_targets_a_source_gave_and_how_many_of_them_were_reached(tmp_path: Path) -> None:
    env, cfg = JudgedEnv(), PPOConfig(**{**vars(CFG), "iterations": 2})
    train_ppo(env, make_ppo(env, prior(), cfg, "cpu"), cfg, tmp_path, RunLogger(tmp_path, "none"))
    rows = [json.loads(row) for row in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert [row[f"ppo/share_{name}"] for name in env.target.source.names] == [0.75, 0.25, 0.0]
        assert row["ppo/reached_planner"] == pytest.approx(2 / 3) and row["ppo/reached_demonstrations"] == 0.0
        assert "ppo/reached_bank" not in row, "of no targets"


@pytest.mark.parametrize(("count", "plans"), [(64, 3), (1000, 3), (256, 6)])
def test_every_camera_frame_sees_as_many_plans_made_as_any_other(count: int, plans: int) -> None:
    frame, period = 5, 40
    length = plans * period + frame
    ages = level_ages(count, length)
    ages = ages - ages % frame  # as the environment does
    loads = [int(((ages + step) % length % period == 0).sum()) for step in range(0, length, frame)]
    assert max(loads) - min(loads) <= plans + 1, "an environment more or less for each target of an episode"
    assert sum(loads) == (plans + 1) * count
    assert not torch.equal(ages, level_ages(count, length) // frame * frame), "by chance, not by number"
