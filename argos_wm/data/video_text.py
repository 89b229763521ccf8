"""Videos of people and of the world, with what is said of them: spans of mp4 files and their captions.

One JSON-lines file describes a folder, ``{"video": "a/b.mp4", "start": 3.2, "end": 5.0, "text": "opens a drawer"}`` in
each line, times in seconds, ``video`` relative to the folder; ``video_importers.py`` makes it for well-known data sets.
A span of a video that is missing, cut off or too short is counted and passed over; it never ends a run.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from av.error import FFmpegError
from torch.nn import functional as F

from argos_wm.data.files import DatasetError
from argos_wm.data.image_text import clean_caption
from argos_wm.data.video import VideoReader

AT_ONCE = 8
"""Pictures held at their full size; half a minute of 4K would take 16 GB."""


@dataclass(frozen=True)
class Span:
    """A stretch of a video and what happens in it."""

    video: str
    """Path below the videos' folder."""
    start: float
    """[s]"""
    end: float
    text: str

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class VideoConfig:
    """Which pictures are taken."""

    fps: float = 5.0
    """Pictures a second; the planner's steps are 0.8 s."""
    image_size: int = 256
    """Side of the square that is cut from the middle and scaled."""
    least_s: float = 0.8
    """Spans shorter than one planner step teach nothing of what comes next."""
    most_s: float = 30.0
    """Longer spans are cut here."""


@dataclass
class VideoCounts:
    """What became of the spans."""

    read: int = 0
    failed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Clip:
    """Pictures of one span."""

    images: np.ndarray
    """uint8 (T, 3, S, S) RGB."""
    fps: float
    text: str


def write_spans(path: Path, spans: Iterable[Span]) -> int:
    """Write spans as JSON lines, whole or not at all; returns their number."""
    temporary = path.with_name(path.name + ".tmp")
    count = 0
    with open(temporary, "w") as file:
        for span in spans:
            file.write(json.dumps(span.to_json(), ensure_ascii=False) + "\n")
            count += 1
    temporary.replace(path)
    return count


def in_order(spans: Iterable[Span]) -> list[Span]:
    """Spans by video and time, so that each video is read once from front to back."""
    return sorted(spans, key=lambda span: (span.video, span.start, span.end))


def read_spans(path: Path) -> list[Span]:
    """Spans of a JSON-lines file, in order."""
    spans = []
    if not path.is_file():
        raise DatasetError(f"There is no {path}; it should list spans of videos, one in a line of JSON.")
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            span = Span(str(row["video"]), float(row["start"]), float(row["end"]), clean_caption(row["text"]))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"Line {number} of {path} is no span ({error!r}); it needs video, start, end and text."
            ) from None
        if not (math.isfinite(span.start) and math.isfinite(span.end) and 0 <= span.start < span.end):
            raise DatasetError(f"Line {number} of {path} goes from {span.start} to {span.end} s.")
        spans.append(span)
    return in_order(spans)


class VideoText:
    """Clips of a folder of videos, in the order of ``in_order``.

    Attributes:
        spans: all of them.
        counts: what became of them so far.
        consumed: spans taken so far; give it as ``skip`` to go on from there.
    """

    def __init__(
        self,
        folder: Path,
        spans: Iterable[Span],
        cfg: VideoConfig | None = None,
        skip: int = 0,
        most: int | None = None,
    ) -> None:
        """``most`` spans are taken, those skipped included; None takes all."""
        self.folder, self.cfg = folder, cfg or VideoConfig()
        self.spans, self.counts, self.consumed = in_order(spans)[:most], VideoCounts(), skip

    def __iter__(self) -> Iterator[Clip]:
        reader = ClipReader(self.cfg, self.cfg.fps)
        try:
            for span in self.spans[self.consumed :]:
                self.consumed += 1
                try:
                    if not span.text:
                        raise Unusable("no caption")
                    clip = Clip(reader.read(self.folder / span.video, self._times(span)), self.cfg.fps, span.text)
                except Unusable as error:
                    self.counts.failed[str(error)] += 1
                    continue
                self.counts.read += 1
                yield clip
        finally:
            reader.close()

    def _times(self, span: Span) -> list[float]:
        length = min(span.end - span.start, self.cfg.most_s)
        if length < self.cfg.least_s:
            raise Unusable("too short")
        return [span.start + i / self.cfg.fps for i in range(int(length * self.cfg.fps + 1e-6) + 1)]


class Unusable(Exception):
    """A clip that is counted under this name."""


class ClipReader:
    """Pictures of one video after another; the last stays open, and one that could not be read is not tried again.

    Args:
        cfg: how large the pictures become.
        fps: how close a picture must be to its time: 0.4 of a frame at this rate.
    """

    def __init__(self, cfg: VideoConfig, fps: float) -> None:
        self.cfg, self.fps = cfg, fps
        self._reader: VideoReader | None = None
        self._broken: Path | None = None

    def close(self) -> None:
        """Close the video that is open."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def read(self, path: Path, times: list[float]) -> np.ndarray:
        """Pictures uint8 (T, 3, S, S) at ascending times [s]; ``Unusable`` if they cannot be had."""
        if path == self._broken:
            raise Unusable("unreadable video")
        if self._reader is None or self._reader.path != path:
            self.close()
            self._broken = path
            self._reader = _open(path, self.fps)
            self._broken = None
        few = [times[i : i + AT_ONCE] for i in range(0, len(times), AT_ONCE)]
        try:
            return np.concatenate([square(self._reader.read(part), self.cfg.image_size) for part in few])
        except (EOFError, LookupError):
            raise Unusable("beyond the video's end") from None
        except (FFmpegError, OSError, ValueError):
            raise Unusable("unreadable video") from None


def _open(path: Path, fps: float) -> VideoReader:
    if not path.is_file():
        raise Unusable("missing video")
    try:
        return VideoReader(path, fps)
    except (FFmpegError, OSError, IndexError, ValueError):
        raise Unusable("unreadable video") from None


def square(pictures: np.ndarray, size: int) -> np.ndarray:
    """Cut the middle square of uint8 (T, 3, H, W) and scale it to ``size``."""
    height, width = pictures.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = torch.from_numpy(np.ascontiguousarray(pictures[..., top : top + side, left : left + side]))
    if side == size:
        return cut.numpy()
    scaled = F.interpolate(cut.float(), (size, size), mode="bilinear", antialias=side > size, align_corners=False)
    return scaled.round().clamp(0, 255).to(torch.uint8).numpy()
