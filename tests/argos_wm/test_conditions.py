"""Laws of what a planner may be told and may lack: absence is absence, whatever stands in its place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from argos_wm.flow import Parts
from argos_wm.latents import LatentState
from argos_wm.memory import MemoryTokens
from tests.argos_wm.test_dit import B, inputs, noise, same
from tests.argos_wm.toy import toy_model

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
