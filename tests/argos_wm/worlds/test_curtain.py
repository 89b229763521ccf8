"""The curtain hides what it should, and the memory holds what it must."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from argos_wm.worlds import curtain

CONFIG = curtain.CurtainConfig()
COMPONENTS = curtain.change_components(CONFIG)


def windows(memory: bool = True):
    return curtain.draw_windows(64, CONFIG, torch.Generator().manual_seed(0), COMPONENTS, memory)


def test_the_history_shows_no_disc_and_the_target_does() -> None:
    drawn, disc = windows()
    codec = CONFIG.codec()
    for i in range(2):
        assert (curtain.find_disc(codec.decode(drawn.history.vision[:, i])) > 2).all()
    found = curtain.find_disc(codec.decode(drawn.target.vision))
    visible = (found < 2).all(1)  # the square may hide it
    assert visible.float().mean() > 0.9
    assert (found - disc)[visible].norm(dim=1).median() < 0.01


def test_the_memory_holds_the_disc_within_its_budget() -> None:
    drawn, disc = windows()
    memory = drawn.memory
    assert memory is not None and memory.mask.shape == (64, CONFIG.budget)
    codec = CONFIG.codec()
    kept = torch.full((64, codec.rows**2, 3 * CONFIG.patch**2), -codec.mean / codec.std)
    oldest = memory.place[..., 0].argsort(1, descending=True)
    for i in range(CONFIG.budget):  # the oldest last: they show the table
        one = torch.arange(64), oldest[:, i]
        cell = (memory.place[one][:, 1] * codec.rows + memory.place[one][:, 2]).long()
        seen = memory.mask[one]
        kept[torch.arange(64)[seen], cell[seen]] = memory.vision[one][seen]
    found = curtain.find_disc(codec.decode(kept))
    assert ((found - disc).norm(dim=1) < 0.1).float().mean() > 0.8
    assert (memory.place[..., 0][memory.mask] < -curtain.PERIOD).all()


def test_it_trains_and_is_scored_with_and_without_memory(tmp_path: Path) -> None:
    base = replace(CONFIG, scenes=12, steps=1, loop=LoopConfig(steps=2, batch_size=4, warmup_steps=1))
    cfg = replace(base, model=replace(base.model, width=32, depth=1, context_depth=1, heads=2))
    for memory in (True, False):
        model = curtain.train(cfg, memory, tmp_path / str(memory), RunLogger(tmp_path))
        figures = curtain.score(model, cfg, memory)
        assert figures["scenes"] == 12 and 0 <= figures["found"] <= 1 and figures["error"] > 0
