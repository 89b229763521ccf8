"""A world model trained on robots, clips and pictures at once; a killed run ends as a whole one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from argos_wm.data.sources import ClipWindows, PictureWindows, RobotWindows, Source
from argos_wm.data.windows import WindowConfig
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from argos_wm.training.mixture import train_on_mixture
from argos_wm.world_model import WorldModel
from tests.argos_wm.data.test_sources import clips, pictures
from tests.argos_wm.toy import SMALL, SPEC, toy_cache

LOOP = LoopConfig(steps=8, batch_size=16, ema_decay=0.9, checkpoint_every=4, log_every=2, warmup_steps=2)
TEXT = HashedNGramEncoder()


def sources(folder: Path) -> dict[str, Source]:
    shapes = (SMALL.history, SMALL.action_steps)
    cache = toy_cache()
    return {
        "robots": RobotWindows(cache, torch.arange(len(cache)), WindowConfig(), *shapes),
        "clips": ClipWindows(clips(folder / "clips"), WindowConfig(), *shapes),
        "pictures": PictureWindows(pictures(folder / "pictures"), *shapes),
    }


class Kill(Exception):
    pass


def train(data: dict[str, Source], out: Path, stop_at: int | None = None) -> WorldModel:
    torch.manual_seed(0)
    model = WorldModel(SMALL, SPEC, TEXT.dim, 2)
    calls = [0]

    class Counting:
        def __len__(self) -> int:
            return len(data["robots"])

        def __call__(self, sample: torch.Tensor):
            calls[0] += 1
            if calls[0] == stop_at:
                raise Kill
            return data["robots"](sample)

    watched: dict[str, Source] = {**data, "robots": Counting()}
    weights = {"robots": 0.5, "clips": 0.2, "pictures": 0.3}
    return train_on_mixture(model, watched, weights, TEXT, LOOP, out, RunLogger(out))


def test_a_killed_run_ends_as_a_whole_one_and_every_source_is_logged(tmp_path: Path) -> None:
    data = sources(tmp_path)
    whole = train(data, tmp_path / "whole")
    with pytest.raises(Kill):
        train(data, tmp_path / "killed", stop_at=7)
    again = train(data, tmp_path / "killed")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
    rows = [json.loads(row) for row in (tmp_path / "whole" / "curves.jsonl").read_text().splitlines()]
    shares = [sum(row[f"planner/{name}_share"] for row in rows) / len(rows) for name in ("robots", "clips", "pictures")]
    assert sum(shares) == pytest.approx(1.0) and shares[0] > 0.3
    assert rows[-1]["planner/pictures_epochs"] > rows[0]["planner/pictures_epochs"]
    assert rows[-1]["planner/robots_loss"] > 0


def test_moments_of_episodes_are_drawn_as_they_are_weighed() -> None:
    cache = toy_cache()
    config = WindowConfig(start_share=1.0, static_share=0.0)
    source = RobotWindows(cache, torch.tensor([2, 5]), config, SMALL.history, SMALL.action_steps)
    torch.manual_seed(0)
    windows, texts = source(torch.tensor([0, 1] * 50))
    assert (cache.time[windows.frame] <= config.start_length + 1e-6).all()
    assert set(windows.episode.tolist()) == {2, 5} and texts[:2] == [cache.instructions[2], cache.instructions[5]]
    assert len(windows.horizon.unique()) > 5
    anywhere = RobotWindows(
        cache, torch.arange(4), WindowConfig(static_share=1.0, start_share=0.0), SMALL.history, SMALL.action_steps
    )
    late, _ = anywhere(torch.arange(4).repeat(200))
    assert cache.time[late.frame].max() > 2.5
    with pytest.raises(ValueError, match="lasts 9.0 s"):
        RobotWindows(cache, torch.arange(4), WindowConfig(shortest_horizon=9.0), SMALL.history, SMALL.action_steps)
