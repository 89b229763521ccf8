"""Laws of plans: they follow from their seed, and a roll-out is one step after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.latents import LatentState
from argos_wm.memory import MemoryTokens
from argos_wm.planner import Planner, recall, rollout
from argos_wm.sampler import SamplerConfig
from tests.argos_wm.toy import SMALL, toy_cache, toy_model

SAMPLER = SamplerConfig(steps=2)


def planner() -> Planner:
    return Planner(toy_model(), HashedNGramEncoder(), SAMPLER)


def history() -> tuple[LatentState, torch.Tensor]:
    windows = toy_cache().windows(torch.tensor([10, 41]), torch.tensor([8, 8]), SMALL.history, SMALL.action_steps)
    return windows.history, windows.history_mask


def test_a_plan_follows_from_its_seed() -> None:
    p, texts = planner(), ["touch red", ""]
    first, again, other = (p.plan(*history(), texts, seed=seed) for seed in (3, 3, 4))
    assert first.targets.vision.shape == (2, 3, 4, 3) and first.targets.proprio.shape == (2, 3, 4)
    assert torch.allclose(first.targets.time, torch.tensor([[0.8, 1.6, 2.4]]).expand(2, 3))
    assert torch.equal(first.targets.vision, again.targets.vision)
    assert not torch.equal(first.targets.vision, other.targets.vision)
    assert (first.seed, first.steps, first.instructions) == (3, 2, texts)


def test_the_first_target_does_not_depend_on_how_many_follow() -> None:
    one, three = (planner().plan(*history(), ["touch red"] * 2, targets=t).targets for t in (1, 3))
    assert torch.allclose(one.proprio[:, 0], three.proprio[:, 0], atol=1e-6)


def test_the_prediction_joins_the_history() -> None:
    state, mask = history()
    known = LatentState.cat(
        [state, LatentState(state.vision[:, :1] + 1, state.proprio[:, :1] + 1, state.time[:, :1] + 1.6)], 1
    )
    recalled, seen = recall(known, torch.cat([mask, mask[:, :1]], 1), torch.tensor(SMALL.history))
    assert torch.allclose(recalled.time, torch.tensor([[0.0, 0.8]]).expand(2, 2)) and seen.all()
    assert torch.equal(recalled.proprio[:, 1], state.proprio[:, 0] + 1)


def test_a_state_that_is_too_far_from_its_offset_is_not_remembered() -> None:
    state, mask = history()
    state.time = torch.tensor([[-3.0, 0.0]]).expand(2, 2)
    assert recall(state, mask, torch.tensor(SMALL.history))[1].tolist() == [[False, True]] * 2


def test_words_matter_and_an_empty_instruction_is_none() -> None:
    p = planner()
    red, blue, nothing = (p.plan(*history(), [text] * 2).targets.proprio for text in ("touch red", "touch blue", ""))
    assert not torch.allclose(red, blue, atol=1e-4)
    direct = p.world_model.sample(
        *history(),
        None,
        torch.full((2,), 0.8),
        steps=2,
        temperature=p.sampler.temperature,
        generator=torch.Generator().manual_seed(0),
    )
    assert torch.allclose(direct.proprio, nothing[:, 0], atol=1e-5)


def test_temperature_scales_the_noise_that_a_sample_starts_from() -> None:
    p = planner()
    horizon, noise = torch.full((2,), 0.8), p.world_model.noise(2, "cpu", torch.Generator().manual_seed(0))
    cool = p.world_model.sample(*history(), None, horizon, steps=2, temperature=0.5, noise=noise)
    halved = p.world_model.sample(*history(), None, horizon, steps=2, noise=tuple(0.5 * x for x in noise))
    assert torch.equal(cool.proprio, halved.proprio)
    assert not torch.equal(cool.proprio, p.world_model.sample(*history(), None, horizon, steps=2, noise=noise).proprio)


def test_a_planner_comes_back_from_disk(tmp_path: Path) -> None:
    p = planner()
    p.world_model.save(tmp_path, {"text_encoder": "hashed-ngram"})
    plans = [q.plan(*history(), ["touch red"] * 2).targets.vision for q in (p, Planner.load(tmp_path, SAMPLER))]
    assert torch.equal(*plans)


def test_another_text_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="width 32.*width 64"):
        Planner(toy_model(replace(SMALL)), HashedNGramEncoder(dim=32))


def test_where_there_is_no_proprioception_a_roll_out_does_not_see_it() -> None:
    model = toy_model()
    known, mask = history()
    without = torch.zeros(len(mask), dtype=torch.bool)

    def roll(states: LatentState) -> LatentState:
        generator = torch.Generator().manual_seed(0)
        return rollout(model, states, mask, None, 2, 0.8, generator, SamplerConfig(steps=2), without)

    other = LatentState(known.vision, known.proprio + 3.0, known.time)
    assert torch.allclose(roll(known).vision, roll(other).vision, atol=1e-5)


def test_what_is_remembered_grows_older_along_a_plan() -> None:
    p, (states, mask) = planner(), history()
    place = torch.tensor([[[-2.0, 0.0, 1.0], [-5.0, 1.0, 1.0]]]).expand(2, -1, -1)
    memory = MemoryTokens(torch.randn(2, 2, 3), place, torch.tensor([[True, True], [True, False]]))
    told = p.plan(states, mask, ["touch red"] * 2, targets=2, memory=memory).targets
    without = p.plan(states, mask, ["touch red"] * 2, targets=2).targets
    assert (told.vision - without.vision).abs().amax() > 1e-4
    generator = torch.Generator().manual_seed(0)
    text, known, seen, aged = p.features(["touch red"] * 2), states, mask, memory
    for i in range(2):
        window, window_mask = recall(known, seen, torch.tensor(SMALL.history))
        horizon = torch.full((2,), 0.8)
        state = p.world_model.sample(
            window, window_mask, text, horizon, memory=aged, generator=generator, **SAMPLER.arguments()
        )
        assert torch.allclose(state.vision, told.vision[:, i], atol=1e-5)
        known, seen = LatentState.cat([known, state[:, None]], 1), torch.cat([seen, seen[:, :1] | True], 1)
        aged = MemoryTokens(aged.vision, aged.place - torch.tensor([0.8, 0.0, 0.0]), aged.mask)
    hidden = MemoryTokens(memory.vision, memory.place, torch.zeros(2, 2, dtype=torch.bool))
    nothing = p.plan(states, mask, ["touch red"] * 2, targets=2, memory=hidden).targets
    assert torch.allclose(nothing.vision, without.vision, atol=1e-5)


def test_a_plan_with_a_goal_ends_in_it_and_begins_within_a_period() -> None:
    p, (states, mask) = planner(), history()
    goal = LatentState(states.vision[:, 0] + 1, states.proprio[:, 0] - 1, states.time[:, -1] + 3.2)
    plan = p.plan(states, mask, ["touch red"] * 2, targets=9, goal=goal).targets
    assert torch.allclose(plan.time, torch.tensor([[0.8, 1.6, 3.2]]).expand(2, 3))
    assert torch.equal(plan.vision[:, -1], goal.vision)
    other = LatentState(goal.vision + 1, goal.proprio, goal.time)
    elsewhere = p.plan(states, mask, ["touch red"] * 2, targets=1, goal=other).targets
    assert elsewhere.vision.shape[1] == 1
    assert (elsewhere.vision[:, 0] - plan.vision[:, 0]).abs().amax() > 1e-4
