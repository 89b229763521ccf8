"""Laws of planning, on world models that are known exactly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from argos_wm.cem import CEMConfig, CEMPlanner
from argos_wm.hierarchy import bridge, implausibility, whole_ways
from argos_wm.latents import LatentState
from argos_wm.sampler import SamplerConfig
from argos_wm.world_model import WorldModel

B = 5
SAMPLER = SamplerConfig(steps=1, temperature=1.0)


class Straight:
    """A world in which states move by the sum of the actions, or, toward a goal, in a straight line with noise."""

    config = SimpleNamespace(action_steps=2, objective="mean")
    action_dim = 3

    def __init__(self, noise: float = 0.0) -> None:
        self.noise_scale = noise

    def sample(self, history, mask, text, horizon, actions=None, *, goal=None, generator=None, noise=None, **_) -> Any:
        now = history[:, -1]
        if actions is not None:
            moved = actions.sum(1)
            return LatentState(now.vision + moved[:, None], now.proprio + moved, now.time + horizon)
        assert goal is not None
        share = horizon / (goal.time - now.time)
        vision = torch.lerp(now.vision, goal.vision, share[:, None, None])
        if noise is None:
            vision = vision + self.noise_scale * torch.randn(vision.shape, generator=generator)
        return LatentState(vision, torch.lerp(now.proprio, goal.proprio, share[:, None]), now.time + horizon)


def model(noise: float = 0.0) -> WorldModel:
    return cast(WorldModel, Straight(noise))


def state(value: Tensor | float, time: float = 0.0) -> LatentState:
    vision = torch.zeros(B, 1, 3) + torch.as_tensor(value).reshape(-1, 1, 1)
    return LatentState(vision, vision[:, 0].clone(), torch.full((B,), time))


def draw(world: Any, goal: LatentState, reach: float = 0.5, candidates: int = 1) -> Any:
    generator = torch.Generator().manual_seed(0)
    known = torch.ones(B, 1, dtype=torch.bool)
    return bridge(world, state(0.0)[:, None], known, None, goal, reach, generator, SAMPLER, candidates)


def test_ways_of_all_lengths_are_filled_from_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a straight world each state lies where its share of the time says, and eight periods take three draws."""
    world, periods, calls = model(), torch.tensor([1, 2, 3, 5, 8]), []
    sample = world.sample
    monkeypatch.setattr(world, "sample", lambda *a, **k: calls.append(len(a[0].time)) or sample(*a, **k))
    generator = torch.Generator().manual_seed(0)
    way = whole_ways(world, state(0.0, time=2.0), state(1.0), periods, 0.5, generator, SAMPLER)
    assert way.proprio.shape == (B, 8, 3) and len(calls) == 3 and sum(calls) == int((periods - 1).sum())
    share = (1 + torch.arange(8.0)).minimum(periods[:, None]) / periods[:, None]
    assert torch.allclose(way.proprio[..., 0], share, atol=1e-6)
    assert torch.allclose(way.vision[:, :, 0, 1], share, atol=1e-6)
    assert torch.allclose(way.time, 2.0 + 0.5 * share * periods[:, None])


def test_search_finds_the_actions_that_lead_to_a_goal() -> None:
    planner = CEMPlanner(model(), 0.5, CEMConfig(samples=100, elites=10, iterations=15))
    goal = state(torch.linspace(-2, 2, B))
    actions = planner.plan(state(0.0), goal, 3, torch.Generator().manual_seed(0))
    assert actions.shape == (B, 3, 2, 3) and actions.abs().max() <= 1
    reached = planner.roll_out(state(0.0), actions)
    assert (reached.proprio - goal.proprio).abs().max() < 0.15
    assert torch.equal(reached.time, torch.full((B,), 1.5))


def test_search_begins_where_it_is_told_and_does_not_lose_it() -> None:
    planner = CEMPlanner(model(), 0.5, CEMConfig(samples=10, elites=1, iterations=1, std=0.01))
    right = torch.full((B, 2, 2, 3), 0.25)
    found = planner.plan(state(0.0), state(1.0), 2, torch.Generator().manual_seed(0), start=right)
    assert planner.cost(state(0.0), state(1.0), found[:, None]).max() < 1e-3


def test_costs_do_not_depend_on_how_many_are_asked_for_at_once() -> None:
    actions = torch.rand(B, 7, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    costs = [CEMPlanner(model(), 0.5, CEMConfig(batch=n)).cost(state(0.0), state(1.0), actions) for n in (4, 1000)]
    assert torch.equal(*costs)


@pytest.mark.parametrize(("seconds", "times"), [(0.5, [0.5]), (1.0, [0.5, 1.0]), (2.5, [0.5, 1.0, 2.5])])
def test_a_bridge_leads_from_the_nearest_state_to_the_goal(seconds: float, times: list[float]) -> None:
    way = draw(model(), state(torch.arange(B).float(), seconds))
    assert way.states.time.shape == (B, len(times))
    assert torch.allclose(way.states.time, torch.tensor(times).expand(B, -1))
    assert torch.equal(way.states.vision[:, -1], state(torch.arange(B).float()).vision)
    line = torch.arange(B)[:, None] * torch.tensor(times) / seconds
    assert torch.allclose(way.states.vision[..., 0, 0], line, atol=1e-5)
    assert (way.spread == 0).all()


def test_of_several_ways_the_likeliest_is_taken_and_their_spread_is_told() -> None:
    goal = state(1.0, 1.0)  # one state in between, the one that is then followed
    one, many = draw(model(0.3), goal), draw(model(0.3), goal, candidates=16)
    off = [implausibility(model(), LatentState.cat([state(0.0)[:, None], w.states], dim=1), None) for w in (one, many)]
    assert (off[1] < 0.5 * off[0]).float().mean() > 0.5
    assert many.states.vision.shape == one.states.vision.shape
    assert many.spread == pytest.approx(0.3, rel=0.5)
    sure = draw(model(), goal, candidates=4)
    assert sure.spread.max() < 1e-6
