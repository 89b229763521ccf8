"""Laws of the backbone: positions matter, masking is absence, it starts as the identity, and it can learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from argos_wm.conditioning import Shapes
from argos_wm.dit import ALIGNED, SIZES, DiT, Size
from argos_wm.encoders.text import HashedNGramEncoder, TextFeatures
from argos_wm.flow import Parts
from argos_wm.latents import LatentState
from tests.argos_wm.toy import SMALL, SPEC, toy_model

B, S = 3, 2


Inputs = tuple[LatentState, Tensor, Tensor, TextFeatures, Tensor, Tensor]
"""history, history_mask, horizon, text, actions, has_actions"""


def inputs(seed: int = 0) -> Inputs:
    torch.manual_seed(seed)
    history = LatentState(torch.randn(B, S, 4, 3), torch.randn(B, S, 4), torch.tensor([[-0.8, 0.0]]).expand(B, S))
    text = HashedNGramEncoder(max_words=4)(["touch red", "go to the blue", "touch blue"])
    return (
        history,
        torch.ones(B, S, dtype=torch.bool),
        torch.full((B,), 0.8),
        text,
        torch.randn(B, 2, 2),
        torch.ones(B) > 0,
    )


def run(dit: DiT, arguments: Any, noisy: Parts) -> Parts:
    with torch.no_grad():
        return dit(noisy, torch.full((B,), 0.5), dit.encode_context(*arguments))


def noise() -> Parts:
    torch.manual_seed(7)
    return torch.randn(B, 4, 3), torch.randn(B, 4)


def same(a: Parts, b: Parts) -> bool:
    return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(a, b, strict=True))


def test_it_starts_by_repeating_the_current_state() -> None:
    arguments = inputs()
    vision, proprio = run(toy_model(scramble=False).dit, arguments, noise())
    assert torch.equal(vision, arguments[0].vision[:, -1]) and torch.equal(proprio, arguments[0].proprio[:, -1])


def test_positions_matter() -> None:
    """Without positions, permuting every state's patches would permute the output likewise."""
    dit, order = toy_model().dit, torch.tensor([2, 0, 3, 1])
    history, *rest = inputs()
    plain = run(dit, (history, *rest), noise())
    moved = LatentState(history.vision[:, :, order], history.proprio, history.time)
    permuted = run(dit, (moved, *rest), (noise()[0][:, order], noise()[1]))
    assert (permuted[0] - plain[0][:, order]).abs().max() > 1e-2
    assert (permuted[1] - plain[1]).abs().max() > 1e-2


def test_the_seed_design_knows_no_places_and_hears_words_by_attention_alone() -> None:
    dit, order = toy_model(replace(SMALL, design="seed")).dit, torch.tensor([2, 0, 3, 1])
    history, mask, horizon, text, actions, told = inputs()
    plain = run(dit, (history, mask, horizon, text, actions, told), noise())
    moved = LatentState(history.vision[:, :, order], history.proprio, history.time * 2)
    permuted = run(dit, (moved, mask, horizon, text, actions, told), (noise()[0][:, order], noise()[1]))
    assert same((permuted[0], permuted[1]), (plain[0][:, order], plain[1]))
    assert not same(plain, run(dit, (history, mask, horizon, text[[1, 2, 0]], actions, told), noise()))
    assert not same(plain, run(dit, (history, mask, horizon, text, actions * 5, told), noise()))
    one, other = (
        dit.encode_context(history, mask, horizon, text[rows], actions, told) for rows in ([0, 1, 2], [1, 2, 0])
    )
    assert torch.equal(one.vector, other.vector)


def test_a_masked_state_changes_nothing() -> None:
    dit = toy_model().dit
    history, mask, *rest = inputs()
    mask[1, 0] = False
    other = LatentState(history.vision.clone(), history.proprio.clone(), history.time.clone())
    other.vision[1, 0], other.proprio[1, 0], other.time[1, 0] = 9.0, -9.0, -3.0
    assert same(run(dit, (history, mask, *rest), noise()), run(dit, (other, mask, *rest), noise()))
    mask[1, 0] = True
    assert not same(run(dit, (history, mask, *rest), noise()), run(dit, (other, mask, *rest), noise()))


def test_masking_a_state_is_its_absence() -> None:
    dit = toy_model().dit
    history, mask, *rest = inputs()
    mask[:, 0] = False
    assert same(run(dit, (history, mask, *rest), noise()), run(dit, (history[:, 1:], mask[:, 1:], *rest), noise()))


def test_padded_words_change_nothing() -> None:
    dit = toy_model().dit
    history, mask, horizon, text, *rest = inputs()
    padded = TextFeatures(
        torch.cat([text.tokens, torch.randn(B, 3, 64)], 1), torch.cat([text.mask, torch.zeros(B, 3) > 0], 1)
    )
    assert same(
        run(dit, (history, mask, horizon, text, *rest), noise()),
        run(dit, (history, mask, horizon, padded, *rest), noise()),
    )


def test_tokens_that_fill_up_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, arguments = toy_model().dit, inputs()
    before, keys = run(model, arguments, noise()), model.encode_context(*arguments).keys_values[0][0].shape[2]
    monkeypatch.setitem(ALIGNED, "cpu", 16)
    assert model.encode_context(*arguments).keys_values[0][0].shape[2] % 16 == 0 != keys % 16
    assert same(before, run(model, arguments, noise()))


def test_absent_actions_change_nothing() -> None:
    dit = toy_model().dit
    *rest, actions, present = inputs()
    absent = ~present
    assert same(run(dit, (*rest, actions, absent), noise()), run(dit, (*rest, actions * 5, absent), noise()))
    assert not same(run(dit, (*rest, actions, present), noise()), run(dit, (*rest, actions * 5, present), noise()))


@pytest.mark.parametrize("which", ["text", "horizon", "history time"])
def test_every_condition_matters(which: str) -> None:
    dit = toy_model().dit
    history, mask, horizon, text, *rest = inputs()
    plain = run(dit, (history, mask, horizon, text, *rest), noise())
    if which == "text":
        text = text[[1, 2, 0]]
    elif which == "horizon":
        horizon = horizon * 2
    else:
        history.time = history.time * torch.tensor([0.5, 1.0])
    assert not same(plain, run(dit, (history, mask, horizon, text, *rest), noise()))


def test_the_batch_does_not_mix() -> None:
    dit, arguments = toy_model().dit, inputs()
    one: Any = tuple(a[:1] for a in arguments)
    with torch.no_grad():
        alone = dit(tuple(x[:1] for x in noise()), torch.full((1,), 0.5), dit.encode_context(*one))
    assert same(alone, tuple(x[:1] for x in run(dit, arguments, noise())))


def test_it_overfits_one_batch() -> None:
    dit, arguments = toy_model(scramble=False).dit, inputs()
    goal = (torch.randn(B, 4, 3), torch.randn(B, 4))
    optimizer = torch.optim.Adam(dit.parameters(), 3e-3)
    for _ in range(150):
        guess = dit(noise(), torch.full((B,), 0.9), dit.encode_context(*arguments))
        loss = torch.stack([(g - x).square().mean() for g, x in zip(guess, goal, strict=True)]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1e-2


def test_sizes_fit_their_heads() -> None:
    for size in SIZES.values():
        assert size.width % size.heads == 0
    shapes = Shapes(SPEC.rows, SPEC.cols, SPEC.channels, SPEC.proprio_dim, 64, SMALL.action_steps, 2)
    with pytest.raises(ValueError, match="3 heads"):
        DiT(Size(32, 1, 1, 3), shapes)
