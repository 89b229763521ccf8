"""Laws of self-forcing: what is imagined takes the place of what was, at its times, where there is a past."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import argos_wm.training.planner
from argos_wm.data.windows import WindowConfig, Windows
from argos_wm.encoders.text import HashedNGramEncoder, TextFeatures
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from argos_wm.training.planner import train_planner
from argos_wm.training.self_forcing import SelfForcingConfig, self_forced
from tests.argos_wm.toy import GROUPS, SMALL, toy_cache, toy_model

CACHE = toy_cache()
ALWAYS = SelfForcingConfig(share=1.0, most=1)
FRAMES = torch.tensor([2, 20, 31 + 15, 62 + 8])
"""The first has no period of past; the others have."""


def batch() -> tuple[Windows, TextFeatures]:
    windows = CACHE.windows(FRAMES, torch.full((4,), 8), SMALL.history, SMALL.action_steps)
    return windows, HashedNGramEncoder()([CACHE.instructions[i] for i in windows.episode])


def test_a_model_that_repeats_imagines_the_state_of_a_period_ago() -> None:
    """Untrained it repeats the current state, so that the imagined present is the past."""
    windows, text = batch()
    torch.manual_seed(0)
    forced = self_forced(toy_model(scramble=False), windows, text, CACHE, 0.8, ALWAYS, 0)
    assert torch.equal(forced.history.vision[0], windows.history.vision[0])
    before = CACHE.states(FRAMES[1:] - 8)
    assert torch.allclose(forced.history.proprio[1:, -1], before.proprio, atol=1e-5)
    assert torch.allclose(forced.history.proprio[1:, 0], before.proprio, atol=1e-5)
    assert torch.allclose(forced.history.time, windows.history.time, atol=1e-5)
    assert torch.equal(forced.history_mask, windows.history_mask)
    assert torch.equal(forced.target.vision, windows.target.vision)


def test_no_share_and_no_past_change_nothing() -> None:
    windows, text = batch()
    torch.manual_seed(0)
    assert self_forced(toy_model(), windows, text, CACHE, 0.8, replace(ALWAYS, share=0.0), 0) is windows
    early = windows[:1]
    assert self_forced(toy_model(), early, text[:1], CACHE, 0.8, ALWAYS, 0) is early


class Kill(Exception):
    pass


def test_it_trains_and_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = LoopConfig(steps=6, batch_size=8, checkpoint_every=3, log_every=1, warmup_steps=1)

    def train(out: Path, forcing: SelfForcingConfig) -> torch.Tensor:
        settings = (SMALL, WindowConfig(), loop, out, RunLogger(out), GROUPS)
        model = train_planner(CACHE, HashedNGramEncoder(), *settings, self_forcing=forcing)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    forcing = replace(ALWAYS, start=0.5)
    forced = train(tmp_path / "a", forcing)
    assert not torch.equal(forced, train(tmp_path / "c", SelfForcingConfig()))
    calls = [0]

    def killing(*arguments):
        calls[0] += 1
        if calls[0] == 2:  # in the fifth step, after the checkpoint of the third
            raise Kill
        return self_forced(*arguments)

    monkeypatch.setattr(argos_wm.training.planner, "self_forced", killing)
    with pytest.raises(Kill):
        train(tmp_path / "b", forcing)
    calls[0] = 10
    assert torch.equal(forced, train(tmp_path / "b", forcing))


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="share 1.5"):
        SelfForcingConfig(share=1.5)
