"""Pictures and clips to latents on disk, once: what is then trained on is read, not decoded.

A run that was killed goes on after its last whole shard, with the next row of its source. Each row's note holds its
text and where in the source it came from; the rows of one clip follow each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from argos_wm.data.image_text import ImageText
from argos_wm.data.latent_shards import LatentShardWriter
from argos_wm.data.video_text import Clip, VideoConfig, VideoCounts, square

Encode = Callable[[Tensor], Tensor]
"""Pictures uint8 (B, 3, S, S) to standardised latents (B, P, C)."""


class Clips(Protocol):
    """Clips one after the other, that can be gone on with: ``VideoText``, ``RobotClips``."""

    cfg: VideoConfig
    counts: VideoCounts
    consumed: int

    def __iter__(self) -> Iterator[Clip]: ...


def cache_pictures(
    source: Callable[[int], ImageText], encode: Encode, size: int, writer: LatentShardWriter, batch: int = 64
) -> dict[str, Any]:
    """Encode every picture of a source.

    Args:
        source: makes the source, from the number of rows to skip.
        encode: the frozen encoder.
        size: side of the pictures that it is given; they are cut to the middle square.
        writer: where latents go; it is finished.

    Returns:
        what became of the rows since the run began, by name.
    """
    last = writer.last_note()
    pictures = source(0 if last is None else last["row"] + 1)
    waiting: list[tuple[Tensor, dict[str, Any]]] = []
    for image, text in tqdm(pictures, desc="encoding", unit=" pictures", mininterval=1.0):
        waiting.append((torch.from_numpy(square(image[None], size)[0]), {"text": text, "row": pictures.consumed - 1}))
        if len(waiting) == batch:
            _write(waiting, encode, writer)
    _write(waiting, encode, writer)
    counts = {"fetched": pictures.counts.fetched, "failed": dict(pictures.counts.failed)}
    writer.finish({"kind": "pictures"} | counts)
    return counts


def cache_clips(
    source: Callable[[int], Clips], encode: Encode, writer: LatentShardWriter, batch: int = 64
) -> dict[str, Any]:
    """Encode every clip of a source, a row a frame; otherwise as ``cache_pictures``.

    A shard may end within a clip. A resumed run therefore goes on within it, too: frames that are on disk are skipped.
    """
    last = writer.last_note()
    clips = source(0 if last is None else last["row"])
    done = 0 if last is None else last["frame"] + 1
    waiting: list[tuple[Tensor, dict[str, Any]]] = []
    for clip in tqdm(clips, desc="encoding", unit=" clips", mininterval=1.0):
        number = clips.consumed - 1
        first = done if last is not None and number == last["row"] else 0
        for frame in range(first, len(clip.images)):
            note = {"text": clip.text, "row": number, "frame": frame, "time": frame / clip.fps}
            waiting.append((torch.from_numpy(clip.images[frame]), note))
            if len(waiting) == batch:
                _write(waiting, encode, writer)
    _write(waiting, encode, writer)
    counts = {"read": clips.counts.read, "failed": dict(clips.counts.failed)}
    writer.finish({"kind": "clips", "fps": clips.cfg.fps} | counts)
    return counts


def _write(waiting: list[tuple[Tensor, dict[str, Any]]], encode: Encode, writer: LatentShardWriter) -> None:
    if waiting:
        writer.add(encode(torch.stack([image for image, _ in waiting])), [note for _, note in waiting])
        waiting.clear()


def clip_rows(notes: Iterable[dict[str, Any]]) -> Iterator[tuple[int, int, str]]:
    """First row, length and text of each clip in the notes of a cache's rows."""
    first = 0
    for (_, text), clip in itertools.groupby(notes, key=lambda note: (note["row"], note["text"])):
        length = sum(1 for _ in clip)
        yield first, length, text
        first += length
