"""Laws of what is on disk: whole or not at all, and a full disk costs nothing that was there."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from argos_wm.checkpoint import CheckpointError, load_json, load_tensors, save_json, save_tensors
from argos_wm.data.latent_shards import LatentShards, LatentShardWriter
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, LoopConfig, fit
from tests.argos_wm.toy import SPEC


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """The system lets no file grow beyond ``size`` bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_there_before_is_as_it_was(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a.safetensors", {"a": torch.arange(4.0)})
    save_json(tmp_path / "a.json", {"a": 1})
    with room_for(10_000):
        with pytest.raises(CheckpointError, match=r"a\.safetensors cannot be written .*make room"):
            save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(10_000)})
        with pytest.raises(CheckpointError, match=r"a\.json cannot be written"):
            save_json(tmp_path / "a.json", "long" * 10_000)
    assert load_tensors(tmp_path / "a.safetensors")["a"].tolist() == [0, 1, 2, 3]
    assert load_json(tmp_path / "a.json") == {"a": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.safetensors"]


def test_encoding_goes_on_after_its_last_whole_shard(tmp_path: Path) -> None:
    rows = torch.randn(6 * 200, 4, 3)
    writer = LatentShardWriter(tmp_path, SPEC, rows_per_shard=200)
    writer.add(rows[:500])
    with room_for(2_000), pytest.raises(CheckpointError, match="cannot be written"):
        writer.add(rows[500:])
    again = LatentShardWriter(tmp_path, SPEC, rows_per_shard=200)
    assert again.rows == 400
    again.add(rows[again.rows :])
    again.finish()
    shards = LatentShards(tmp_path)
    assert torch.allclose(shards[torch.arange(len(rows))].float(), rows, atol=2e-3)


def test_training_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    cfg = LoopConfig(steps=8, batch_size=4, checkpoint_every=2, log_every=8, warmup_steps=1)

    def train(folder: Path, room: int | None = None) -> Tensor:
        torch.manual_seed(0)
        layer = nn.Linear(32, 32)

        def loss(forward: Forward, step: int) -> dict[str, Tensor]:
            if room is not None and step == 5:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
            return {"loss": forward(torch.randn(4, 32)).square().mean()}

        fit(layer, loss, cfg, folder, RunLogger(folder), "toy")
        return layer.weight.detach()

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(CheckpointError, match="cannot be written"):
            train(tmp_path / "full", room=2_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert torch.equal(train(tmp_path / "full"), train(tmp_path / "whole"))
