"""Spans of videos from the annotation files of well-known data sets, as they are published.

Each importer takes the file, or the folder, and yields spans; what has no text or no length is left out. ``name`` says
where a video lies below the videos' folder, should it differ from what the data set's own tools make.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from argos_wm.data.files import DatasetError
from argos_wm.data.image_text import clean_caption
from argos_wm.data.video_text import Span


def ego4d(path: Path, name: str = "{uid}.mp4") -> Iterator[Span]:
    """Ego4D's ``narration.json``: each narration lasts until the next of its pass, at most five seconds.

    "#C C opens a drawer" is said of the camera's wearer; tags are taken off. "#unsure" narrations are left out.
    """
    videos = dict(_items(_load(path), path))
    for uid, record in _items(videos.get("videos", videos), path):
        for key, passage in record.items():
            if not key.startswith("narration_pass") or not isinstance(passage, dict):
                continue
            said = sorted(passage.get("narrations", []), key=lambda n: n["timestamp_sec"])
            for i, narration in enumerate(said):
                start = float(narration["timestamp_sec"])
                following = float(said[i + 1]["timestamp_sec"]) if i + 1 < len(said) else start + 5.0
                text = narration["narration_text"]
                if "#unsure" not in text.lower():
                    yield from _span(name.format(uid=uid), start, min(following, start + 5.0), _untag(text))


def egodex(path: Path) -> Iterator[Span]:
    """EgoDex: a folder of ``task/0.mp4`` beside ``task/0.hdf5``, whose attributes hold the description."""
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DatasetError("EgoDex's descriptions are in HDF5 files; install h5py to read them.") from None
    import av

    for file in sorted(path.rglob("*.hdf5")):
        video = file.with_suffix(".mp4")
        if not video.is_file():
            continue
        with h5py.File(file, "r") as data:
            attributes = dict(data.attrs)
        second = str(attributes.get("which_llm_description", "1")) == "2"
        text = attributes.get("llm_description2" if second else "llm_description", "")
        with av.open(str(video)) as container:
            seconds = (container.duration or 0) / 1_000_000
        said = text.decode() if isinstance(text, bytes) else str(text)
        yield from _span(str(video.relative_to(path)), 0.0, seconds, said)


def holoassist(path: Path, name: str = "{video}/Export_py/Video_pitchshift.mp4") -> Iterator[Span]:
    """HoloAssist's ``data-annotation-*.json``: coarse actions by their sentences, fine ones by verb and noun."""
    for video in _list(_load(path), path):
        for event in video.get("events", []):
            attributes = event.get("attributes", {})
            if event.get("label") == "Coarse grained action":
                text = attributes.get("Action sentence", "")
            elif event.get("label") == "Fine grained action":
                text = f"{attributes.get('Verb', '')} {attributes.get('Noun', '')}".replace("none", "").strip()
            else:
                continue
            yield from _span(name.format(video=video["video_name"]), event["start"], event["end"], text)


def howto100m(path: Path, name: str = "{id}.mp4") -> Iterator[Span]:
    """HowTo100M's ``raw_caption.json`` or ``caption.json``: speech, by video: lists start, end and text."""
    for identity, speech in _items(_load(path), path):
        for start, end, text in zip(speech["start"], speech["end"], speech["text"], strict=True):
            yield from _span(name.format(id=identity), start, end, text)


def kinetics(path: Path, name: str = "{label}/{id}_{start:06d}_{end:06d}.mp4") -> Iterator[Span]:
    """Kinetics' CSV files (label, youtube_id, time_start, time_end): a video file is one clip, its label the text."""
    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        needed = {"label", "youtube_id", "time_start", "time_end"}
        if not needed <= set(rows.fieldnames or []):
            raise DatasetError(
                f"{path} has columns {rows.fieldnames}; Kinetics' lists have {', '.join(sorted(needed))}."
            )
        for row in rows:
            start, end = int(float(row["time_start"])), int(float(row["time_end"]))
            video = name.format(label=row["label"], id=row["youtube_id"], start=start, end=end)
            yield from _span(video, 0.0, float(end - start), row["label"])


def robovqa(path: Path, name: str = "{video}") -> Iterator[Span]:
    """RoboVQA's questions and answers (JSON or JSON lines, with ``video`` and ``text`` or ``uid`` and ``text``).

    A text holds tasks, ``<task:planning> … Q: … A: …``; the answers to what was done and to what comes next are texts
    of the span: "A: open the drawer" gives "open the drawer". Answers of yes and no are left out.
    """
    for row in _rows(path):
        video = row.get("video") or row.get("uid") or ""
        said = {clean_caption(answer) for answer in re.findall(r"A:\s*(.*?)(?=<task:|Q:|</?PRED|$)", row["text"], re.S)}
        for answer in sorted(said - {""}):
            if re.sub(r"\W", "", answer).lower() not in ("yes", "no", "done"):
                yield from _span(name.format(video=video), 0.0, float(row.get("duration", 10.0)), answer)


IMPORTERS: dict[str, Callable[..., Iterator[Span]]] = {
    "ego4d": ego4d,
    "egodex": egodex,
    "holoassist": holoassist,
    "howto100m": howto100m,
    "kinetics": kinetics,
    "robovqa": robovqa,
}


def _span(video: str, start: Any, end: Any, text: Any) -> Iterator[Span]:
    said, start, end = clean_caption(text), float(start), float(end)
    if video and said and math.isfinite(start + end) and 0 <= start < end:
        yield Span(video, start, end, said)


def _untag(text: str) -> str:
    """Ego4D's "#C C opens a drawer" as "a person opens a drawer", "#O A man X walks" as "A man X walks"."""
    said = re.sub(r"#\w+", "", text).strip()
    return re.sub(r"^C\b", "a person", said)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError(f"There is no {path}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not valid JSON ({error}); it may be cut off. Download it again.") from None


def _items(value: Any, path: Path) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise DatasetError(f"{path} should hold an object with one entry a video; it holds a {type(value).__name__}.")
    return value.items()


def _list(value: Any, path: Path) -> list[Any]:
    if not isinstance(value, list):
        raise DatasetError(f"{path} should hold a list of videos; it holds a {type(value).__name__}.")
    return value


def _rows(path: Path) -> list[Any]:
    """A JSON list, or JSON lines."""
    text = path.read_text() if path.is_file() else ""
    if text.lstrip().startswith("["):
        return _list(_load(path), path)
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path} is not valid JSON lines ({error}).") from None
