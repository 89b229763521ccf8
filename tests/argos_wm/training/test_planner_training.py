"""The planner's training stage: it learns, it reports whether it listens, and it resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from argos_wm.checkpoint import CheckpointError
from argos_wm.data.windows import WindowConfig
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.latents import LatentSpec, SpecMismatch
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from argos_wm.training.planner import train_planner
from argos_wm.world_model import WorldModel
from tests.argos_wm.toy import GROUPS, SMALL, SPEC, toy_cache

LOOP = LoopConfig(steps=10, batch_size=8, warmup_steps=2, ema_decay=0.99, checkpoint_every=4, log_every=2)


def train(out: Path, loop: LoopConfig = LOOP, start_from: Path | None = None, spec: LatentSpec = SPEC) -> WorldModel:
    return train_planner(
        replace(toy_cache(), spec=spec),
        HashedNGramEncoder(),
        SMALL,
        WindowConfig(),
        loop,
        out,
        RunLogger(out),
        groups=GROUPS,
        start_from=start_from,
    )


def test_it_goes_on_from_a_trained_planner_of_the_same_latents(tmp_path: Path) -> None:
    first = train(tmp_path / "first")
    first.save(tmp_path / "first")
    resting = replace(LOOP, steps=1, learning_rate=0.0, ema_decay=0.0)
    again = train(tmp_path / "again", resting, tmp_path / "first")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    with pytest.raises(SpecMismatch, match="encoder_hash"):
        train(tmp_path / "other", resting, tmp_path / "first", replace(SPEC, encoder_hash="1"))
    with pytest.raises(CheckpointError, match="design='argos', and 'seed' is trained"):
        WorldModel(replace(SMALL, design="seed"), SPEC, HashedNGramEncoder().dim, 2).start_from(tmp_path / "first")
    with pytest.raises(CheckpointError, match="There is no"):
        train(tmp_path / "nothing", resting, tmp_path / "nowhere")


def test_it_learns_reports_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(tmp_path / "whole")
    rows = [json.loads(row) for row in (tmp_path / "whole" / "curves.jsonl").read_text().splitlines()]
    assert rows[-1]["planner/loss"] < rows[0]["planner/loss"]
    sensitivities = {"planner/text_sensitivity", "planner/action_sensitivity", "planner/proprio_error_ratio"}
    assert sensitivities <= set(rows[0]) and sensitivities <= set(rows[-1])
    loss, calls = WorldModel.loss, []

    def interrupted(self: WorldModel, *arguments):
        calls.append(0)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return loss(self, *arguments)

    monkeypatch.setattr(WorldModel, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut")
    # Resumed with batches that others draw ahead, it ends as if nothing had happened.
    resumed = train(tmp_path / "cut", replace(LOOP, workers=2))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
