"""Batches that workers draw ahead are those that would be drawn without them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from argos_wm.training.ahead import Ahead
from argos_wm.training.loop import LoopConfig
from argos_wm.training.parallel import Parallel

LOOP = LoopConfig(steps=6, batch_size=4, micro_batches=2)


def draw(number: int) -> tuple[int, Tensor]:
    return number, torch.rand(3)


def drawn(loop: LoopConfig, numbers: range) -> list[tuple[int, list[float]]]:
    ahead = Ahead(draw, loop)
    return [(number, batch.tolist()) for number, batch in map(ahead, numbers)]


def test_workers_draw_what_would_be_drawn() -> None:
    alone = drawn(LOOP, range(12))
    assert [number for number, _ in alone] == list(range(12))
    assert len({tuple(batch) for _, batch in alone}) == 12
    assert drawn(replace(LOOP, workers=2), range(12)) == alone
    assert drawn(replace(LOOP, workers=3), range(4, 12)) == alone[4:]  # resumed after two steps


def test_each_process_draws_its_own_parts() -> None:
    second: Any = Parallel(SimpleNamespace(process_index=1, num_processes=2))
    ahead = Ahead(draw, replace(LOOP, workers=1), second)
    assert [ahead(number)[0] for number in (5, 7, 9)] == [5, 7, 9]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_models_own_randomness_is_left_alone(workers: int) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    batch = Ahead(draw, replace(LOOP, workers=workers))(0)[1]
    assert torch.equal(torch.rand(2), wanted) and not torch.equal(batch[:2], wanted)


def test_what_goes_wrong_in_a_worker_is_told() -> None:
    def fails(number: int) -> None:
        raise ValueError(f"batch {number} cannot be read")

    with pytest.raises(ValueError) as caught:
        Ahead(fails, replace(LOOP, workers=1))(0)
    assert str(caught.value) == "batch 0 cannot be read"  # a sentence, without the worker's traceback
