"""Sources to latents on disk; a killed run ends with the rows of one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from argos_wm.data.caching import cache_clips, cache_pictures, clip_rows
from argos_wm.data.image_text import ImageText
from argos_wm.data.latent_shards import LatentShards, LatentShardWriter
from argos_wm.data.video_text import Span, VideoText, read_spans, write_spans
from tests.argos_wm.data.test_image_text import config, with_pictures
from tests.argos_wm.data.test_video_text import CONFIG, write_video
from tests.argos_wm.toy import SPEC

__all__ = ["with_pictures"]


def encode(images: Tensor) -> Tensor:
    """The mean colour of each quarter, (B, 4, 3)."""
    return torch.nn.functional.avg_pool2d(images.float(), images.shape[-1] // 2).flatten(2).transpose(1, 2) / 255


def writer(folder: Path) -> LatentShardWriter:
    return LatentShardWriter(folder, SPEC, rows_per_shard=3, source="test")


class Kill(Exception):
    pass


def killed_after(batches: int):
    done = [0]

    def encode_some(images: Tensor) -> Tensor:
        done[0] += 1
        if done[0] > batches:
            raise Kill
        return encode(images)

    return encode_some


def same(a: Path, b: Path) -> bool:
    one, two = LatentShards(a), LatentShards(b)
    every = torch.arange(len(one))
    return len(one) == len(two) and torch.equal(one[every], two[every]) and one.notes(every) == two.notes(every)


def test_pictures_are_cached_with_their_captions(with_pictures: Path, tmp_path: Path) -> None:
    def source(skip: int) -> ImageText:
        return ImageText(config(with_pictures), skip)

    counts = cache_pictures(source, encode, 16, writer(tmp_path / "whole"), batch=2)
    shards = LatentShards(tmp_path / "whole", SPEC)
    assert len(shards) == 9 == counts["fetched"] and sum(counts["failed"].values()) == 3
    assert shards.notes(torch.tensor([3, 0])) == [
        {"text": "a picture number 4", "row": 4},
        {"text": "a picture number 0", "row": 0},
    ]
    assert shards[torch.tensor([3])][0, 0, 0] == pytest.approx(4 / 255, abs=1e-3)
    with pytest.raises(Kill):
        cache_pictures(source, killed_after(2), 16, writer(tmp_path / "killed"), batch=2)
    cache_pictures(source, encode, 16, writer(tmp_path / "killed"), batch=2)
    assert same(tmp_path / "killed", tmp_path / "whole")


def test_clips_are_cached_frame_by_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 2.5)
    spans = [Span("a.mp4", 0.0, 1.0, "first"), Span("a.mp4", 0.5, 0.6, "blink"), Span("a.mp4", 1.0, 2.0, "second")]
    write_spans(tmp_path / "spans.jsonl", spans)

    def source(skip: int) -> VideoText:
        return VideoText(tmp_path, read_spans(tmp_path / "spans.jsonl"), CONFIG, skip)

    counts = cache_clips(source, encode, writer(tmp_path / "whole"), batch=2)
    assert counts == {"read": 2, "failed": {"too short": 1}}
    shards = LatentShards(tmp_path / "whole")
    notes = shards.notes(torch.arange(len(shards)))
    assert list(clip_rows(notes)) == [(0, 6, "first"), (6, 6, "second")]
    assert [note["time"] for note in notes[6:]] == pytest.approx([0.2 * i for i in range(6)])
    assert shards.index["extra"]["fps"] == 5.0
    with pytest.raises(Kill):
        cache_clips(source, killed_after(4), writer(tmp_path / "killed"), batch=2)
    cache_clips(source, encode, writer(tmp_path / "killed"), batch=2)
    assert same(tmp_path / "killed", tmp_path / "whole")


def test_a_note_a_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 rows came with 1 notes"):
        writer(tmp_path).add(torch.zeros(2, 4, 3), ["one"])
