"""Laws of what a planner may be told and may lack: absence is absence, whatever stands in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.flow import Parts
from argos_wm.hierarchy import Bridge, bridge, implausibility
from argos_wm.latents import LatentState, patch_cells
from argos_wm.memory import MemoryTokens
from argos_wm.sampler import SamplerConfig
from argos_wm.world_model import WorldModel
from tests.argos_wm.test_dit import B, inputs, noise, same
from tests.argos_wm.toy import SMALL, SPEC, toy_cache, toy_model

ALL, NONE = torch.ones(B, dtype=torch.bool), torch.zeros(B, dtype=torch.bool)
FIRST = torch.tensor([True, False, False])


def run(arguments: Any, noisy: Parts, **conditions: Any) -> Parts:
    dit = toy_model().dit
    with torch.no_grad():
        return dit(noisy, torch.full((B,), 0.5), dit.encode_context(*arguments, **conditions))


def a_state(seed: int = 3) -> LatentState:
    generator = torch.Generator().manual_seed(seed)
    return LatentState(
        torch.randn(B, 4, 3, generator=generator), torch.randn(B, 4, generator=generator), torch.full((B,), 2.0)
    )


def rows(parts: Parts, mask: Tensor) -> Parts:
    return tuple(part[mask] for part in parts)


def test_where_there_is_no_proprioception_its_values_do_not_matter() -> None:
    arguments, noisy = inputs(), noise()
    history = arguments[0]
    other = (LatentState(history.vision, history.proprio + 5.0, history.time), *arguments[1:])
    other_noise = (noisy[0], noisy[1] - 3.0)
    without = run(arguments, noisy, has_proprio=NONE)[0]
    assert torch.allclose(without, run(other, other_noise, has_proprio=NONE)[0], atol=1e-5)
    assert not torch.allclose(without, run(arguments, noisy, has_proprio=ALL)[0], atol=1e-3)
    assert same(run(arguments, noisy), run(arguments, noisy, has_proprio=ALL))


def test_a_batch_may_mix_those_that_have_it_with_those_that_have_not() -> None:
    arguments, noisy = inputs(), noise()
    mixed = run(arguments, noisy, has_proprio=FIRST)
    assert same(rows(mixed, FIRST), rows(run(arguments, noisy), FIRST))
    assert torch.allclose(mixed[0][~FIRST], run(arguments, noisy, has_proprio=NONE)[0][~FIRST], atol=1e-5)


def two_cameras() -> WorldModel:
    """A model whose toy states are those of two cameras of two patches each."""
    torch.manual_seed(0)
    model = WorldModel(SMALL, replace(SPEC, rows=1, cameras=("front", "wrist")), HashedNGramEncoder().dim, 2)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def with_cameras(arguments: Any, noisy: Parts, has_cameras: Tensor, elsewhere: float = 0.0) -> Parts:
    """As ``run``, with a goal and a memory; ``elsewhere`` is added to what the second camera sees of both."""
    dit, goal = two_cameras().dit, a_state()
    goal.vision[:, 2:] += elsewhere
    cells = patch_cells(1, 2, 2)
    place = torch.cat([torch.full((B, 4, 1), -3.0), cells.expand(B, -1, -1)], -1)
    memory = MemoryTokens(a_state(4).vision, place, torch.ones(B, 4, dtype=torch.bool))
    memory.vision[:, 2:] += elsewhere
    with torch.no_grad():
        context = dit.encode_context(*arguments, goal=goal, has_cameras=has_cameras, memory=memory)
        return dit(noisy, torch.full((B,), 0.5), context)


def test_what_a_camera_sees_that_is_not_there_does_not_matter() -> None:
    arguments, noisy, patch = inputs(), noise(), torch.arange(4)[None, None, :, None] >= 2
    history = arguments[0]
    other = (LatentState(history.vision + 5.0 * patch, history.proprio, history.time), *arguments[1:])
    other_noise = (noisy[0] - 3.0 * patch[0], noisy[1])
    front, both = torch.tensor([[True, False]]).expand(B, 2), torch.ones(B, 2, dtype=torch.bool)
    without, again = with_cameras(arguments, noisy, front), with_cameras(other, other_noise, front, 7.0)
    assert torch.allclose(without[0][:, :2], again[0][:, :2], atol=1e-5)
    assert torch.allclose(without[1], again[1], atol=1e-5)
    seen = with_cameras(arguments, noisy, both)
    assert not torch.allclose(seen[0][:, :2], without[0][:, :2], atol=1e-3)
    mixed = with_cameras(arguments, noisy, torch.where(FIRST[:, None], both, front))
    assert same(rows(mixed, FIRST), rows(seen, FIRST))
    assert torch.allclose(mixed[0][~FIRST, :2], without[0][~FIRST, :2], atol=1e-5)


def test_ways_to_a_goal_are_drawn_and_compared_without_an_absent_camera() -> None:
    """What a camera that is not there shows, now and at the goal, changes neither the way nor the candidate taken."""
    model, (history, mask, *_) = two_cameras(), inputs()
    front = torch.tensor([[True, False]]).expand(B, 2)

    def way(elsewhere: float) -> Bridge:
        patch = torch.arange(4)[None, None, :, None] >= 2
        past = LatentState(history.vision + elsewhere * patch, history.proprio, history.time)
        goal = LatentState(a_state().vision + elsewhere * patch[0], a_state().proprio, torch.full((B,), 3.2))
        generator = torch.Generator().manual_seed(0)
        return bridge(
            model, past, mask, None, goal, 0.8, generator, SamplerConfig(steps=2), candidates=3, has_cameras=front
        )

    a, b = way(0.0), way(5.0)
    assert torch.allclose(a.states.vision[:, :-1, :2], b.states.vision[:, :-1, :2], atol=1e-4)
    assert torch.allclose(a.states.proprio, b.states.proprio, atol=1e-4)
    assert torch.allclose(a.spread, b.spread, atol=1e-4) and (a.spread > 0).all()


def test_ways_are_compared_without_joints_that_are_not_there() -> None:
    model, states = toy_model(), [a_state(seed) for seed in range(4)]
    way = LatentState.stack(states)
    way.time[:] = torch.arange(4) * 0.8
    other = LatentState(way.vision, way.proprio + torch.arange(4)[:, None], way.time)
    for felt, matters in ((NONE, False), (ALL, True)):
        one, another = (implausibility(model, w, None, has_proprio=felt) for w in (way, other))
        assert torch.allclose(one, another, rtol=1e-4) != matters
    # A way to a goal is chosen among several by the same rule.
    history, mask, *_ = inputs()
    drawn = [
        bridge(
            model, LatentState(history.vision, history.proprio + off, history.time), mask, None, a_state(), 0.8,
            torch.Generator().manual_seed(0), SamplerConfig(steps=2), candidates=9, has_proprio=NONE,
        ).states.vision[:, :-1]
        for off in (0.0, 5.0)
    ]  # fmt: skip
    assert torch.allclose(drawn[0], drawn[1], atol=1e-4)


def test_the_two_cameras_are_told_apart() -> None:
    """Exchanging what they see exchanges nothing but that: the model knows which is which."""
    arguments, noisy, both = inputs(), noise(), torch.ones(B, 2, dtype=torch.bool)
    history = arguments[0]
    swapped = (LatentState(history.vision[:, :, [2, 3, 0, 1]], history.proprio, history.time), *arguments[1:])
    straight = with_cameras(arguments, noisy, both)
    crossed = with_cameras(swapped, (noisy[0][:, [2, 3, 0, 1]], noisy[1]), both)
    assert not torch.allclose(straight[0], crossed[0][:, [2, 3, 0, 1]], atol=1e-3)


def test_an_absent_camera_has_no_loss_and_the_other_weighs_the_same() -> None:
    torch.manual_seed(0)
    spec = replace(SPEC, rows=1, cameras=("front", "wrist"))
    model = WorldModel(replace(SMALL, objective="mean"), spec, HashedNGramEncoder().dim, 2)  # says: nothing changes
    windows = toy_cache().windows(torch.tensor([3, 40]), torch.tensor([8, 8]), SMALL.history, SMALL.action_steps)
    windows.has_cameras = torch.tensor([[True, False]]).expand(2, 2)
    text = HashedNGramEncoder()(["touch red"] * 2)
    model.config = replace(model.config, context_noise_share=0.0)
    wrong = (windows.history.vision[:, -1] - windows.target.vision)[:, :2].square().mean()
    assert torch.allclose(model.loss(windows, text)["vision_loss"], wrong, atol=1e-6)
    windows.target.vision[:, 2:] += 9.0
    assert torch.allclose(model.loss(windows, text)["vision_loss"], wrong, atol=1e-6)


def test_where_there_are_no_joints_there_is_no_loss_on_them_and_elsewhere_it_has_its_weight() -> None:
    """Half of the batch has joints; predicting that nothing changes, each loss is known."""
    still = toy_model(replace(SMALL, objective="mean", context_noise_share=0.0, proprio_weight=3.0), scramble=False)
    windows = toy_cache().windows(torch.tensor([3, 40]), torch.tensor([8, 8]), SMALL.history, SMALL.action_steps)
    windows.has_proprio = torch.tensor([True, False])
    text = HashedNGramEncoder()(["touch red"] * 2)
    now, then = windows.history[:, -1], windows.target
    vision, proprio = (now.vision - then.vision).square().mean(), (now.proprio - then.proprio)[0].square().mean() / 2
    losses = still.loss(windows, text)
    assert torch.allclose(losses["proprio_loss"], proprio, rtol=1e-4)
    assert torch.allclose(losses["loss"], (vision + 3 * proprio) / 4, rtol=1e-4)
    then.proprio[1] += 9.0
    assert torch.allclose(still.loss(windows, text)["loss"], losses["loss"], rtol=1e-5)


def test_a_goal_is_heard_and_a_masked_one_is_absent() -> None:
    arguments, noisy = inputs(), noise()
    without, told = run(arguments, noisy), run(arguments, noisy, goal=a_state())
    assert not same(without, told)
    assert same(without, run(arguments, noisy, goal=a_state(), has_goal=NONE))
    mixed = run(arguments, noisy, goal=a_state(), has_goal=FIRST)
    assert same(rows(mixed, FIRST), rows(told, FIRST)) and same(rows(mixed, ~FIRST), rows(without, ~FIRST))


def test_when_the_goal_is_due_matters() -> None:
    arguments, noisy, goal = inputs(), noise(), a_state()
    later = LatentState(goal.vision, goal.proprio, goal.time + 1.0)
    assert not same(run(arguments, noisy, goal=goal), run(arguments, noisy, goal=later))


def test_masked_memory_is_absent_and_order_does_not_matter() -> None:
    arguments, noisy = inputs(), noise()
    generator = torch.Generator().manual_seed(1)
    place = torch.cat([-5 * torch.rand(B, 6, 1, generator=generator), torch.ones(B, 6, 2)], -1)
    memory = MemoryTokens(torch.randn(B, 6, 3, generator=generator), place, torch.ones(B, 6, dtype=torch.bool))
    with_memory = run(arguments, noisy, memory=memory)
    assert not same(run(arguments, noisy), with_memory)
    memory.mask = torch.zeros_like(memory.mask)
    assert same(run(arguments, noisy), run(arguments, noisy, memory=memory))
    memory.mask = ~memory.mask
    shuffled = torch.randperm(6, generator=generator)
    again = MemoryTokens(memory.vision[:, shuffled], memory.place[:, shuffled], memory.mask[:, shuffled])
    assert same(with_memory, run(arguments, noisy, memory=again))


def test_a_remembered_state_is_the_same_in_the_history_and_in_the_memory() -> None:
    """All patches of a state, remembered one by one, are that state; without joints, which memory does not keep."""
    history, mask, *rest = inputs()
    cells = torch.cartesian_prod(torch.arange(2), torch.arange(2)).float()
    place = torch.cat([torch.full((B, 4, 1), -0.8), cells.expand(B, -1, -1)], -1)
    memory = MemoryTokens(history.vision[:, 0], place, torch.ones(B, 4, dtype=torch.bool))
    whole = run((history, mask, *rest), noise(), has_proprio=NONE)
    told = run((history[:, 1:], mask[:, 1:], *rest), noise(), has_proprio=NONE, memory=memory)
    assert torch.allclose(whole[0], told[0], atol=1e-4)
