"""The SO-100's tasks: what is asked, when it counts as done, and that the scripted experts do it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

import tasks  # noqa: F401
from argos_sim.configs import ExpertCfg
from argos_sim.demos import SCATTER, Rollout, _scatter, episodes_of, expert_rollout, failures
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.mdp.events import write_object
from argos_sim.pipeline.environment import environment_cfg, make_environment, make_expert
from argos_sim.pipeline.settings import Settings
from tasks.blocks import BLOCKS
from tasks.push import PushCommandsCfg
from tasks.reach import ReachCommandsCfg
from tasks.so100.robot import BLOCK_SIZE
from tasks.stack import StackCommandsCfg

N = 32
UPRIGHT = torch.tensor([0.0, 0.0, 0.0, 1.0])


def task_id(name: str) -> str:
    return f"Argos-{name}-SO100-v0"


@pytest.fixture(scope="module", params=["Push", "Lift", "Stack"])
def task(request: pytest.FixtureRequest) -> Iterator[tuple[str, LatentTrackingEnv]]:
    settings = Settings(task=task_id(request.param), randomization="nominal")
    with make_environment(environment_cfg(settings, N, physics="ovphysx")) as env:
        yield request.param, env


def test_failures_are_told_apart() -> None:
    none = torch.zeros(0)
    success, touched, named = torch.tensor([1, 0, 0, 0]) > 0, torch.tensor([2, -1, 0, 1]), torch.tensor([1, 1, 1, 1])
    rollout = Rollout(none, none, none, none, success, touched, named, [], none)
    assert list(failures(rollout).values()) == [1, 1, 1]


def test_every_goal_is_asked_for_in_every_phrasing() -> None:
    push, stack = PushCommandsCfg().instruction, StackCommandsCfg().instruction
    assert len(push.goals()) == 6 and len(stack.goals()) == 6
    assert all(thing != place for thing, place in (name.split() for name in stack.goals()))
    assert "push the red block to the left" in push.phrasings()["red left"]
    assert "put the red block on the blue one" in stack.phrasings()["red blue"]
    texts = [text for phrasings in push.phrasings().values() for text in phrasings]
    assert len(set(texts)) == len(texts) == 24
    with pytest.raises(ValueError, match=r"push the red block aside.* more than one goal"):
        push.replace(templates=("push the {object} block aside",)).phrasings()  # pyright: ignore
    reach = ReachCommandsCfg().instruction
    for templates, sentence in (
        ((), "one text or more"),
        ("touch the {object} block", "needs its comma"),
        (("touch the {objekt} block",), r"has \{objekt\}; this task fills in \{object\} only"),
        (("touch the {object} block at the {place}",), r"has \{place\}"),
        (("touch the {object block",), "cannot be read"),
    ):
        with pytest.raises(ValueError, match=sentence):
            reach.replace(templates=templates).phrasings()  # pyright: ignore


def test_the_expert_stacks_blocks_of_all_sizes() -> None:
    """Which asks more of it than to take them: where the lower one ends, there the upper one is let go."""
    cfg = environment_cfg(Settings(task=task_id("Stack"), randomization="nominal"), N, physics="ovphysx")
    cfg.ranges = replace(cfg.ranges, object_size=(0.8, 1.2))
    cfg.apply()
    with make_environment(cfg) as env:
        env.generator.manual_seed(0)
        env.reset()
        rollout = expert_rollout(env, make_expert(env, task_id("Stack"), ExpertCfg(), 0))
    assert rollout.success.float().mean() >= 0.85, "of 32; 97 % of 100"


def test_the_expert_does_what_is_asked(task: tuple[str, LatentTrackingEnv]) -> None:
    name, env = task
    env.generator.manual_seed(0)
    env.reset()
    begun = env.instruction.success.clone()
    rollout = expert_rollout(env, make_expert(env, task_id(name), ExpertCfg(), 0))
    assert not begun.any(), "nothing is done at the start"
    assert rollout.success.float().mean() >= 0.9, "of 32; over 64 episodes all experts reach 98 %"


def test_an_expert_that_is_asked_for_something_else_on_the_way_does_that(task: tuple[str, LatentTrackingEnv]) -> None:
    name, env = task
    env.generator.manual_seed(0)
    env.reset()
    asked = env.instruction.text(torch.arange(N))
    expert = make_expert(env, task_id(name), ExpertCfg(redirected=1.0, redirected_at=(0.2, 0.6)), 0)
    rollout = expert_rollout(env, expert)
    assert rollout.success.float().mean() >= 0.8
    assert sum(a != b for a, b in zip(asked, rollout.instructions, strict=True)) > N / 2
    assert rollout.begins.min() >= 1 and rollout.begins.unique().numel() > 1
    kept = rollout.success.nonzero().squeeze(-1).tolist()
    for i, episode in zip(kept, episodes_of(rollout), strict=True):
        assert len(episode.images) == len(episode.control_action) == len(rollout.images) - rollout.begins[i]
        assert episode.task == rollout.instructions[i]
    speed = rollout.control_state[rollout.begins, 0, torch.arange(N), 6:].norm(dim=-1)
    assert (speed > 0.05).float().mean() > 0.9, "they begin while the arm moves"


def test_scattered_states_end_before_the_block_is_taken(task: tuple[str, LatentTrackingEnv]) -> None:
    name, env = task
    expert = make_expert(env, task_id(name), ExpertCfg(), 0)
    _scatter(env, expert, torch.arange(N))
    ways = torch.stack([expert.approaching(share.expand(N)) for share in torch.linspace(0, 1, 50)])
    knots = expert.motion.knots
    assert torch.allclose(ways[0], knots[:, 0], atol=1e-4) and torch.allclose(ways[-1], knots[:, 1], atol=1e-4)
    assert (ways[-1, :, -1] > knots[:, 3, -1] + 0.5).all(), "the jaws are open where the approach ends"
    joints = env.perception.true_proprio()[:, :6]
    assert (joints - ways).abs().amax(-1).amin(0).max() < 5 * SCATTER, "and the arm is near it"


def test_blocks_laid_where_they_should_be_count_as_done_and_elsewhere_not(
    task: tuple[str, LatentTrackingEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, env = task
    env.reset()
    instruction, every = env.instruction, torch.arange(N)
    home = torch.tensor([[-0.05, -0.25, BLOCK_SIZE / 2], [0.0, -0.25, BLOCK_SIZE / 2], [0.05, -0.25, BLOCK_SIZE / 2]])

    def lay(place: torch.Tensor) -> torch.Tensor:
        """The named blocks at ``place (N, 3)``, the others at home."""
        for i, block in enumerate(BLOCKS):
            position = torch.where((instruction.named == i)[:, None], place, home[i])
            write_object(env, block, every, position, UPRIGHT.expand(N, 4))
        return instruction.success

    at_home = home[instruction.named]
    assert not lay(at_home).any()
    if name == "Push":
        side = 2.0 * instruction.place - 1.0
        there = torch.stack([0.15 * side, torch.full((N,), -0.22), at_home[:, 2]], -1)
        assert lay(there).all()
        assert not lay(there * torch.tensor([-1.0, 1.0, 1.0])).any(), "the other side is not what was asked"
        for height in (0.05, -0.3):
            assert not lay(there + torch.tensor([0.0, 0.0, height])).any(), "in the air or on the floor"
    elif name == "Lift":
        assert lay(at_home + torch.tensor([0.0, 0.0, 0.05])).all()
        assert not lay(at_home + torch.tensor([0.0, 0.0, 0.03])).any()
    else:
        on_top = home[instruction.place] + torch.tensor([0.0, 0.0, BLOCK_SIZE])
        assert lay(on_top).all()
        assert not lay(on_top + torch.tensor([0.02, 0.0, 0.0])).any()
        assert not lay(on_top + torch.tensor([0.0, 0.0, 0.02])).any(), "held above is not put down"
        monkeypatch.setattr(instruction.cfg, "clearance", 10.0)
        assert not lay(on_top).any(), "the hand is still there"
