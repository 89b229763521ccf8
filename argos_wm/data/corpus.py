"""What a planner learns from besides its own robot's recordings: pictures, people's videos, other robots' episodes.

Each source is encoded once to latents on disk and then trained on as windows; ``training/mixture.py`` mixes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from argos_wm.checkpoint import load_json
from argos_wm.data.caching import Clips, Encode, cache_clips, cache_pictures
from argos_wm.data.files import DatasetError
from argos_wm.data.hub_files import DatasetFiles
from argos_wm.data.image_text import ImageText, ImageTextConfig
from argos_wm.data.images import FetchConfig
from argos_wm.data.latent_shards import INDEX, LatentShards, LatentShardWriter
from argos_wm.data.robot_clips import RobotClips
from argos_wm.data.robot_datasets import ROBOT_DATASETS
from argos_wm.data.sources import ClipWindows, PictureWindows, Source
from argos_wm.data.video_importers import IMPORTERS
from argos_wm.data.video_text import Span, VideoConfig, VideoText, read_spans
from argos_wm.data.windows import WindowConfig
from argos_wm.latents import LatentSpec

SPANS = "spans"
KINDS = ("pictures", "videos", "robots")


@dataclass(frozen=True)
class SourceConfig:
    """One source of the mixture."""

    kind: Literal["pictures", "videos", "robots"]
    path: str
    """pictures: a hub id, or a file or folder of parquet, JSON lines or CSV. videos: the folder of mp4 files. robots: a
    name from ``robot_datasets.py``, a hub id, or a folder."""
    weight: float = 1.0
    """Its share of the rows, beside the other sources' and the demonstrations'."""
    annotations: str | None = None
    """videos: the file, or for EgoDex the folder, that says what happens when."""
    format: str = SPANS
    """videos: ``spans``, our JSON lines, or whose annotations these are: ego4d, egodex, holoassist, howto100m,
    kinetics, robovqa."""
    folder: str = ""
    """robots: where the data set begins in a repository that holds many."""
    camera: str | None = None
    """robots: name after ``observation.images.``; None takes the one of the table."""
    most: int | None = None
    """Rows or clips to take at most, from the front."""
    clips: VideoConfig = field(default_factory=VideoConfig)
    """videos and robots: rate and length; ``image_size`` is the encoder's."""
    fetch: FetchConfig = field(default_factory=FetchConfig)
    """pictures: how addresses are asked."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"A source cannot be of the kind {self.kind!r}; choose {', '.join(KINDS)}.")
        if self.format != SPANS and self.format not in IMPORTERS:
            raise ValueError(
                f"Annotations in the format {self.format!r} are not known; choose {', '.join((SPANS, *IMPORTERS))}."
            )
        if self.kind == "videos" and self.annotations is None:
            raise ValueError(f"The videos in {self.path} need annotations, a file that says what happens when.")

    def decides(self) -> dict[str, Any]:
        """What the latents depend on: all but the weight and how addresses are asked."""
        return {k: v for k, v in asdict(self).items() if k not in ("weight", "fetch")}


def encode_source(
    cfg: SourceConfig, encode: Encode, image_size: int, spec: LatentSpec, folder: Path, batch: int = 64
) -> dict[str, Any]:
    """Encode a source into ``folder``; a run that was killed goes on where it was.

    Returns:
        ``rows`` of latents, and what became of the source's rows since the run began, by name.
    """
    if (folder / INDEX).is_file() and load_json(folder / INDEX).get("complete"):  # killed after its last write
        done = LatentShards(folder, spec, verify=False)
        return {"rows": len(done)} | {k: v for k, v in done.index["extra"].items() if k not in ("kind", "fps")}
    broken: Counter[str] = Counter()
    if cfg.kind == "pictures":
        pictures = ImageTextConfig(cfg.path, fetch=cfg.fetch, most=cfg.most)
        ImageText(pictures)  # a mistake is found before anything is written
        writer = LatentShardWriter(folder, spec, source=cfg.decides())
        counts = cache_pictures(lambda skip: ImageText(pictures, skip), encode, image_size, writer, batch)
    else:
        clips = replace(cfg.clips, image_size=image_size)
        opened = _robots(cfg, clips) if cfg.kind == "robots" else _videos(cfg, clips, broken)
        opened(0)
        writer = LatentShardWriter(folder, spec, source=cfg.decides())
        counts = cache_clips(opened, encode, writer, batch)
    if not writer.rows:
        raise DatasetError(f"Nothing in {cfg.path} could be used: {_said(counts['failed'])}.")
    return {"rows": writer.rows} | counts | ({"broken_annotations": sum(broken.values())} if broken else {})


def windows_of(
    cfg: SourceConfig,
    folder: Path,
    spec: LatentSpec,
    windows: WindowConfig,
    history: Sequence[float],
    action_steps: int,
    cameras: int = 1,
) -> Source:
    """An encoded source as training windows of a world model with this history and as many action steps.

    ``spec`` is of the first of the world model's ``cameras``; of the others a source shows nothing.
    """
    shards = LatentShards(folder, spec)
    if cfg.kind == "pictures":
        return PictureWindows(shards, history, action_steps, cameras)
    return ClipWindows(shards, windows, history, action_steps, cameras)


def _videos(cfg: SourceConfig, clips: VideoConfig, broken: Counter[str]) -> Callable[[int], Clips]:
    """People's videos, by spans or by a data set's own annotations."""
    folder, annotations = Path(cfg.path), Path(str(cfg.annotations))
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder} of videos.")
    found: Iterable[Span]
    found = read_spans(annotations) if cfg.format == SPANS else IMPORTERS[cfg.format](annotations, broken=broken)
    spans = list(found)
    if not spans:
        raise DatasetError(f"{annotations} names no span with a text and a length: {_said(broken)}.")
    return lambda skip: VideoText(folder, spans, clips, skip, cfg.most)


def _robots(cfg: SourceConfig, clips: VideoConfig) -> Callable[[int], Clips]:
    """Another robot's recordings, by name, hub id or folder."""
    known = ROBOT_DATASETS.get(cfg.path)
    if known is not None and not known.hub_id:
        raise DatasetError(f"{cfg.path} cannot be read as it is published: {known.note}.")
    source = cfg.path if known is None else known.hub_id
    camera = cfg.camera or (None if known is None else known.camera)
    if camera is None:
        raise DatasetError(f"Name the camera of {cfg.path} whose pictures are to be taken, after observation.images.")
    files = DatasetFiles(source, cfg.folder)
    return lambda skip: RobotClips(files, camera, clips, skip, cfg.most)


def _said(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "it is empty"
