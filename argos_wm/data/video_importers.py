"""Spans of videos from the annotation files of well-known data sets, as they are published.

Each importer takes the file, or the folder, and yields spans; what has no text or no length is left out. ``name`` says
where a video lies below the videos' folder, should it differ from what the data set's own tools make. A record that is
not as it should be is counted in ``broken`` by what is wrong, and passed over.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from argos_wm.data.files import DatasetError
from argos_wm.data.image_text import clean_caption
from argos_wm.data.video_text import Span

Broken = Counter[str]
"""Records that were passed over, by what is wrong with them."""


def ego4d(path: Path, name: str = "{uid}.mp4", broken: Broken | None = None) -> Iterator[Span]:
    """Ego4D's ``narration.json``: each narration lasts until the next of its pass, at most five seconds.

    "#C C opens a drawer" is said of the camera's wearer; tags are taken off. "#unsure" narrations are left out.
    """
    videos = dict(_items(_load(path), path))

    def passes(video: tuple[str, Any]) -> Iterator[tuple[str, list[tuple[float, str]]]]:
        uid, record = video
        for key, passage in record.items():
            if key.startswith("narration_pass") and isinstance(passage, dict):
                told = passage.get("narrations", [])
                yield uid, sorted(_each(told, lambda n: [(float(n["timestamp_sec"]), n["narration_text"])], broken))

    for uid, said in _each(_items(videos.get("videos", videos), path), passes, broken):
        for i, (start, text) in enumerate(said):
            following = said[i + 1][0] if i + 1 < len(said) else start + 5.0
            if "#unsure" not in text.lower():
                yield from _span(name.format(uid=uid), start, min(following, start + 5.0), _untag(text))


def egodex(path: Path, broken: Broken | None = None) -> Iterator[Span]:
    """EgoDex: a folder of ``task/0.mp4`` beside ``task/0.hdf5``, whose attributes hold the description."""
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DatasetError("EgoDex's descriptions are in HDF5 files; install h5py to read them.") from None
    import av

    def spans(file: Path) -> Iterator[Span]:
        video = file.with_suffix(".mp4")
        with h5py.File(file, "r") as data:
            attributes = dict(data.attrs)
        second = str(attributes.get("which_llm_description", "1")) == "2"
        text = attributes.get("llm_description2" if second else "llm_description", "")
        with av.open(str(video)) as container:
            seconds = (container.duration or 0) / 1_000_000
        said = text.decode() if isinstance(text, bytes) else str(text)
        yield from _span(str(video.relative_to(path)), 0.0, seconds, said)

    yield from _each((f for f in sorted(path.rglob("*.hdf5")) if f.with_suffix(".mp4").is_file()), spans, broken)


def holoassist(
    path: Path, name: str = "{video}/Export_py/Video_pitchshift.mp4", broken: Broken | None = None
) -> Iterator[Span]:
    """HoloAssist's ``data-annotation-*.json``: coarse actions by their sentences, fine ones by verb and noun."""

    def spans(named: tuple[str, Any]) -> Iterator[Span]:
        video, event = named
        attributes = event.get("attributes", {})
        if event.get("label") == "Coarse grained action":
            text = attributes.get("Action sentence", "")
        elif event.get("label") == "Fine grained action":
            text = f"{attributes.get('Verb', '')} {attributes.get('Noun', '')}".replace("none", "").strip()
        else:
            return
        yield from _span(name.format(video=video), event["start"], event["end"], text)

    def events(video: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        yield from ((video["video_name"], event) for event in video.get("events", []))

    yield from _each(_each(_list(_load(path), path), events, broken), spans, broken)


def howto100m(path: Path, name: str = "{id}.mp4", broken: Broken | None = None) -> Iterator[Span]:
    """HowTo100M's ``raw_caption.json`` or ``caption.json``: speech, by video: lists start, end and text."""

    def spans(video: tuple[str, Any]) -> Iterator[Span]:
        identity, speech = video
        for start, end, text in zip(speech["start"], speech["end"], speech["text"], strict=True):
            yield from _span(name.format(id=identity), start, end, text)

    yield from _each(_items(_load(path), path), spans, broken)


def kinetics(
    path: Path, name: str = "{label}/{id}_{start:06d}_{end:06d}.mp4", broken: Broken | None = None
) -> Iterator[Span]:
    """Kinetics' CSV files (label, youtube_id, time_start, time_end): a video file is one clip, its label the text."""

    def spans(row: dict[str, str]) -> Iterator[Span]:
        start, end = int(float(row["time_start"])), int(float(row["time_end"]))
        video = name.format(label=row["label"], id=row["youtube_id"], start=start, end=end)
        yield from _span(video, 0.0, float(end - start), row["label"])

    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        needed = {"label", "youtube_id", "time_start", "time_end"}
        if not needed <= set(rows.fieldnames or []):
            raise DatasetError(
                f"{path} has columns {rows.fieldnames}; Kinetics' lists have {', '.join(sorted(needed))}."
            )
        yield from _each(rows, spans, broken)


def robovqa(path: Path, name: str = "{video}", broken: Broken | None = None) -> Iterator[Span]:
    """RoboVQA's questions and answers (JSON or JSON lines, with ``video`` and ``text`` or ``uid`` and ``text``).

    A text holds tasks, ``<task:planning> … Q: … A: …``; the answers to what was done and to what comes next are texts
    of the span: "A: open the drawer" gives "open the drawer". Answers of yes and no are left out.
    """

    def spans(row: dict[str, Any]) -> Iterator[Span]:
        video = row.get("video") or row.get("uid") or ""
        said = {clean_caption(answer) for answer in re.findall(r"A:\s*(.*?)(?=<task:|Q:|</?PRED|$)", row["text"], re.S)}
        for answer in sorted(said - {""}):
            if re.sub(r"\W", "", answer).lower() not in ("yes", "no", "done"):
                yield from _span(name.format(video=video), 0.0, float(row.get("duration", 10.0)), answer)

    yield from _each(_rows(path), spans, broken)


IMPORTERS: dict[str, Callable[..., Iterator[Span]]] = {
    "ego4d": ego4d,
    "egodex": egodex,
    "holoassist": holoassist,
    "howto100m": howto100m,
    "kinetics": kinetics,
    "robovqa": robovqa,
}


def _each[T](records: Iterable[Any], parse: Callable[[Any], Iterable[T]], broken: Broken | None) -> Iterator[T]:
    """What is parsed of each record; one that is not as it should be is counted and passed over whole."""
    for record in records:
        try:
            parsed = list(parse(record))
        except (KeyError, TypeError, ValueError, AttributeError, OSError, IndexError) as error:
            if broken is not None:
                broken[f"{type(error).__name__}: {str(error)[:80]}"] += 1
            continue
        yield from parsed


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
