"""Episodes of any robot as clips: what its camera saw, and what was asked.

Reads LeRobot datasets with pictures in mp4 files, v3 and v2 (``v2.0``, ``v2.1``), local or on the hub, whatever their
states and actions are: nothing but ``meta/`` and the camera's videos is opened. Rates differ; pictures are taken at the
nearest frames to ``VideoConfig.fps``. Long episodes become several clips. What cannot be read is counted by its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from argos_wm.data.files import DatasetError, damaged, read_table
from argos_wm.data.hub_files import DatasetFiles
from argos_wm.data.image_text import clean_caption
from argos_wm.data.video_text import Clip, ClipReader, Unusable, VideoConfig, VideoCounts

NEEDED = ("codebase_version", "fps", "features", "video_path")


@dataclass(frozen=True)
class _Piece:
    """A stretch of an episode."""

    video: str
    """Name of its file; "" if it was never encoded."""
    first: float
    """Time of the episode's first frame in that file [s]."""
    start: int
    frames: int
    """The stretch, in frames of the episode."""
    text: str


class RobotClips:
    """Clips of a robot's recordings, in the order of its episodes.

    Attributes:
        counts: what became of them so far.
        consumed: clips taken so far; give it as ``skip`` to go on from there.
    """

    def __init__(
        self,
        files: DatasetFiles,
        camera: str,
        cfg: VideoConfig | None = None,
        skip: int = 0,
        most: int | None = None,
    ) -> None:
        """Read ``meta/``; ``DatasetError`` if it is not there, of another version, or has no such camera.

        ``most`` clips are taken, those skipped included; None takes all.
        """
        self.files, self.cfg = files, cfg or VideoConfig()
        self.counts, self.consumed = VideoCounts(), skip
        info = self._info()
        self.fps = float(info["fps"])
        self.key = f"observation.images.{camera}"
        cameras = [k for k, v in info["features"].items() if v.get("dtype") == "video"]
        if self.key not in cameras:
            raise DatasetError(
                f"{files.name} has no videos of a camera {camera!r}; it has "
                f"{', '.join(k.removeprefix('observation.images.') for k in cameras) or 'none'}. Name one of them."
            )
        version = str(info["codebase_version"])
        if version.startswith("v3."):
            pieces = self._pieces_v3(info)
        elif version.startswith("v2."):
            pieces = self._pieces_v2(info)
        else:
            raise DatasetError(f"{files.name} is a LeRobot {version} dataset; v2 and v3 are read.")
        self.pieces = list(islice(pieces, most))

    def __iter__(self) -> Iterator[Clip]:
        reader, open_name, path = ClipReader(self.cfg, self.fps), "", None
        try:
            for piece in self.pieces[self.consumed :]:
                self.consumed += 1
                try:
                    if not piece.text:
                        raise Unusable("no caption")
                    times = self._times(piece)
                    if piece.video != open_name:
                        reader.close()
                        self._forget(path)
                        open_name, path = piece.video, self._fetch(piece.video)
                    if path is None:
                        raise Unusable("missing video")
                    clip = Clip(reader.read(path, times), self.cfg.fps, piece.text)
                except Unusable as error:
                    self.counts.failed[str(error)] += 1
                    continue
                self.counts.read += 1
                yield clip
        finally:
            reader.close()
        self._forget(path)

    def _times(self, piece: _Piece) -> list[float]:
        """When pictures are taken [s in the file], each at the nearest of the recording's frames."""
        step = self.fps / self.cfg.fps
        taken = [round(i * step) for i in range(int((piece.frames - 1) / step + 1e-6) + 1)]
        if (taken[-1]) / self.fps < self.cfg.least_s - 0.5 / self.fps:
            raise Unusable("too short")
        return [piece.first + (piece.start + i) / self.fps for i in taken]

    def _fetch(self, name: str) -> Path | None:
        try:
            return self.files.path(name) if name else None
        except FileNotFoundError:
            return None

    def _forget(self, path: Path | None) -> None:
        if path is not None:
            self.files.forget(path)

    def _info(self) -> dict[str, Any]:
        try:
            path = self.files.path("meta/info.json")
            info = json.loads(path.read_text())
        except FileNotFoundError:
            raise DatasetError(f"{self.files.name} is no LeRobot dataset: meta/info.json is missing.") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DatasetError(f"meta/info.json of {self.files.name} is not valid JSON ({error}).") from None
        missing = [name for name in NEEDED if info.get(name) is None]
        if missing:
            raise DatasetError(
                f"meta/info.json of {self.files.name} lacks {', '.join(missing)}; datasets with their pictures in "
                "videos are read as clips."
            )
        if float(info["fps"]) < self.cfg.fps:
            raise DatasetError(
                f"{self.files.name} has {info['fps']} pictures a second and {self.cfg.fps} are asked for; lower fps."
            )
        return info

    def _pieces_v3(self, info: dict[str, Any]) -> Iterator[_Piece]:
        """Many episodes a file, listed in parquet."""
        names = [n for n in self.files.names("meta/episodes") if n.endswith(".parquet")]
        if not names:
            raise DatasetError(f"{self.files.name} holds no episodes: meta/episodes is empty.")
        chunk, file, first = (f"videos/{self.key}/{n}" for n in ("chunk_index", "file_index", "from_timestamp"))
        columns = ["episode_index", "tasks", "length", chunk, file, first]
        for name in names:
            for row in read_table(self.files.path(name), columns).to_pylist():
                video = ""
                if row[first] is not None:  # else the recording was stopped before its video was encoded
                    place = {"chunk_index": row[chunk], "file_index": row[file]}
                    video = info["video_path"].format(video_key=self.key, **place)
                yield from self._cut(video, float(row[first] or 0.0), row["length"], row["tasks"])

    def _pieces_v2(self, info: dict[str, Any]) -> Iterator[_Piece]:
        """A file an episode, listed in JSON lines."""
        path = self.files.path("meta/episodes.jsonl")
        size = int(info.get("chunks_size", 1000))
        for line in path.read_text().splitlines():
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                number = int(row["episode_index"])
                video = info["video_path"].format(
                    video_key=self.key, episode_chunk=number // size, episode_index=number
                )
                pieces = list(self._cut(video, 0.0, int(row["length"]), row["tasks"]))
            except (ValueError, KeyError, TypeError) as error:
                raise DatasetError(damaged(path, error)) from None
            yield from pieces

    def _cut(self, video: str, first: float, length: int, tasks: list[str]) -> Iterator[_Piece]:
        """An episode as clips that are at most as long as is wanted."""
        text = clean_caption(tasks[0]) if tasks else ""
        longest = int(self.cfg.most_s * self.fps) + 1
        for start in range(0, length, longest):
            yield _Piece(video, first, start, min(longest, length - start), text)
