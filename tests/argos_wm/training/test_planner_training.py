"""The planner's training stage: it learns, it reports whether it listens, and it resumes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from argos_wm.data.windows import WindowConfig
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from argos_wm.training.planner import train_planner
from argos_wm.world_model import WorldModel
from tests.argos_wm.toy import GROUPS, SMALL, toy_cache

LOOP = LoopConfig(steps=10, batch_size=8, warmup_steps=2, ema_decay=0.99, checkpoint_every=4, log_every=2)


def train(out: Path) -> WorldModel:
    return train_planner(
        toy_cache(), HashedNGramEncoder(), SMALL, WindowConfig(), LOOP, out, RunLogger(out), groups=GROUPS
    )


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
    resumed = train(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
