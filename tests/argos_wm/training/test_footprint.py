"""Laws of memory that is counted without being used."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from argos_wm.training.footprint import FLOAT, Footprint, _Kept, footprint, random_windows
from argos_wm.training.loop import LoopConfig
from argos_wm.world_model import WorldModel
from tests.argos_wm.toy import SMALL, SPEC

LOOP = LoopConfig(batch_size=32, ema_decay=0.9)


def of(loop: LoopConfig, processes: int = 1, goals: bool = False) -> Footprint:
    return footprint(SMALL, SPEC, 8, 4, 2, loop, processes, goals)


def test_it_is_what_a_real_loss_keeps() -> None:
    model = WorldModel(replace(SMALL, precision="bf16"), SPEC, 8, 2)
    kept = _Kept(model)
    with kept.counting():
        model.loss(*random_windows(model, 32, 4, False))
    counted = of(LOOP)
    assert counted.activations == pytest.approx(kept.outside + sum(kept.inside), rel=1e-3)
    assert counted.parameters == sum(p.numel() for p in model.parameters())
    assert counted.weights == counted.gradients == counted.average == FLOAT * counted.parameters


def test_rows_cost_activations_and_nothing_else() -> None:
    small, large = of(LOOP), of(replace(LOOP, batch_size=64))
    assert large.activations == pytest.approx(2 * small.activations, rel=0.1)
    assert large.total - large.activations == small.total - small.activations
    parts = of(replace(LOOP, batch_size=64, micro_batches=2))
    assert parts.activations == small.activations
    assert of(LOOP, goals=True).activations > small.activations


def test_recomputing_keeps_less_and_shards_hold_less() -> None:
    assert of(replace(LOOP, checkpoint_activations=True)).activations < of(LOOP).activations
    sharded = of(replace(LOOP, micro_batches=4, shard=True), processes=4)
    alone = of(replace(LOOP, micro_batches=4), processes=4)
    assert sharded.optimizer == pytest.approx(alone.optimizer / 4, rel=0.01)
    assert alone.whole == 0 < sharded.whole < alone.weights


def test_nothing_is_computed_or_drawn() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    of(LOOP)
    assert torch.equal(before, torch.get_rng_state())
