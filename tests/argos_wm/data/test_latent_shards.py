"""The latent cache on disk: what was written is read, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from argos_wm.checkpoint import CheckpointError
from argos_wm.data.latent_shards import ChannelCodec, LatentShards, LatentShardWriter
from argos_wm.latents import SpecMismatch
from tests.argos_wm.toy import SPEC

ROWS = torch.randn(23, 4, 6, generator=torch.Generator().manual_seed(0))


def fill(writer: LatentShardWriter) -> None:
    """Write the rows that are not written yet."""
    for rows in ROWS[writer.rows :].split(5):
        writer.add(rows)
    writer.finish()


def written(folder: Path, **settings) -> Path:
    fill(LatentShardWriter(folder, SPEC, rows_per_shard=8, **settings))
    return folder


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rows_come_back_in_any_order_and_shape(tmp_path: Path, dtype: str) -> None:
    shards = LatentShards(written(tmp_path, dtype=dtype), SPEC)
    assert len(shards) == 23
    index = torch.tensor([[22, 0], [7, 8], [7, 3]])
    assert torch.equal(shards[index], ROWS.to(getattr(torch, dtype))[index])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json"] + [
        f"shard-0000{i}.safetensors" for i in range(3)
    ]


def test_a_killed_writer_goes_on_where_it_was(tmp_path: Path) -> None:
    writer = LatentShardWriter(tmp_path / "killed", SPEC, rows_per_shard=8)
    for rows in ROWS[:18].split(5):
        writer.add(rows)  # 16 rows reach the disk, two do not
    with pytest.raises(CheckpointError, match="not complete"):
        LatentShards(tmp_path / "killed")
    again = LatentShardWriter(tmp_path / "killed", SPEC, rows_per_shard=8)
    assert again.rows == 16
    fill(again)
    whole = LatentShards(written(tmp_path / "whole"))
    every = torch.arange(23)
    assert torch.equal(LatentShards(tmp_path / "killed")[every], whole[every])
    with pytest.raises(CheckpointError, match="is complete"):
        LatentShardWriter(tmp_path / "killed", SPEC, rows_per_shard=8)


def test_another_encoders_latents_are_refused(tmp_path: Path) -> None:
    other = replace(SPEC, encoder_hash="1")
    with pytest.raises(SpecMismatch, match="encoder_hash"):
        LatentShards(written(tmp_path), other)
    writer = LatentShardWriter(tmp_path / "b", SPEC, source="bridge")
    writer.add(ROWS)
    writer.finish()
    for source, dtype, what in (("droid", "float16", "source"), ("bridge", "bfloat16", "dtype")):
        with pytest.raises(CheckpointError, match=f"another {what}"):
            LatentShardWriter(tmp_path / "b", SPEC, dtype=dtype, source=source)
    with pytest.raises(CheckpointError, match="another spec"):
        LatentShardWriter(tmp_path / "b", other, source="bridge")


def test_a_cut_off_shard_is_found_at_once_and_an_altered_one_when_it_is_touched(tmp_path: Path) -> None:
    path = written(tmp_path) / "shard-00001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(CheckpointError, match="shard-00001.*cut off"):
        LatentShards(tmp_path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    shards = LatentShards(tmp_path)
    assert torch.equal(shards[torch.tensor([0])], ROWS[:1].half())
    with pytest.raises(CheckpointError, match="shard-00001.*altered"):
        shards[torch.tensor([9])]
    path.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        LatentShards(tmp_path)


def test_a_codec_keeps_the_variance_that_it_reports(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    spread = torch.tensor([5, 3, 1, 0.1, 0.1, 0.1])
    latents = (torch.randn(500, 4, 6, generator=generator) * spread) @ basis.T + 2.0
    codec = ChannelCodec.fit(latents, 3)
    variance = (latents - latents.mean((0, 1))).square().mean()
    lost = (codec.decode(codec.encode(latents)) - latents).square().mean() / variance
    assert lost == pytest.approx(1 - codec.kept, rel=1e-3) and codec.kept > 0.99
    everything = ChannelCodec.fit(latents, 6)
    assert torch.allclose(everything.decode(everything.encode(latents)), latents, atol=1e-4)
    writer = LatentShardWriter(tmp_path, SPEC, codec=codec)
    writer.add(latents)
    writer.finish()
    shards = LatentShards(tmp_path)
    read = shards[torch.arange(500)]
    assert read.shape == latents.shape and (read - latents).square().mean().sqrt() < 0.15
    assert shards.index["codec"]["channels"] == 3


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="int8"):
        LatentShardWriter(tmp_path, SPEC, dtype="int8")
    with pytest.raises(ValueError, match="codec of 7"):
        ChannelCodec.fit(ROWS, 7)
    with pytest.raises(IndexError, match="has 23 rows"):
        LatentShards(written(tmp_path / "a"))[torch.tensor([23])]
    with pytest.raises(CheckpointError, match="index.json"):
        LatentShards(tmp_path / "nowhere")
