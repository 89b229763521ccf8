"""Annotation files in the shapes in which they are published, small."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from argos_wm.data.files import DatasetError
from argos_wm.data.video_importers import IMPORTERS, ego4d, egodex, holoassist, howto100m, kinetics, robovqa
from argos_wm.data.video_text import Span
from tests.argos_wm.data.test_video_text import write_video


def saved(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_ego4d(tmp_path: Path) -> None:
    narrations = [
        {"timestamp_sec": 3.0, "narration_text": "#C C opens the drawer", "annotation_uid": "1"},
        {"timestamp_sec": 1.0, "narration_text": "#C C looks around"},
        {"timestamp_sec": 4.0, "narration_text": "#C C picks #unsure"},
        {"timestamp_sec": 60.0, "narration_text": "#O A man X walks"},
    ]
    record = {"narration_pass_1": {"narrations": narrations}, "status": "complete"}
    path = saved(tmp_path / "narration.json", {"version": "1", "videos": {"abc": record}})
    assert list(ego4d(path)) == [
        Span("abc.mp4", 1.0, 3.0, "a person looks around"),
        Span("abc.mp4", 3.0, 4.0, "a person opens the drawer"),
        Span("abc.mp4", 60.0, 65.0, "A man X walks"),
    ]


def test_egodex(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    write_video(tmp_path / "stack_cups" / "0.mp4", 1.5)
    for number, second in ((0, "2"), (1, "1")):
        with h5py.File(tmp_path / "stack_cups" / f"{number}.hdf5", "w") as file:
            file.attrs["llm_description"] = "Stack a cup."
            file.attrs["llm_description2"] = "Unstack a cup."
            file.attrs["which_llm_description"] = second
    (span,) = egodex(tmp_path)
    assert span.video == "stack_cups/0.mp4" and span.text == "Unstack a cup."
    assert span.end == pytest.approx(1.5, abs=0.1)


def test_holoassist(tmp_path: Path) -> None:
    events = [
        {"label": "Narration", "start": 0, "end": 9, "attributes": {"Long form description": "…"}},
        {
            "label": "Coarse grained action",
            "start": 1.0,
            "end": 4.0,
            "attributes": {"Action sentence": "The student opens the printer."},
        },
        {"label": "Fine grained action", "start": 1.0, "end": 2.0, "attributes": {"Verb": "press", "Noun": "button"}},
        {"label": "Fine grained action", "start": 2.0, "end": 3.0, "attributes": {"Verb": "none", "Noun": "none"}},
    ]
    path = saved(tmp_path / "data.json", [{"video_name": "R1", "events": events}])
    assert list(holoassist(path, "{video}.mp4")) == [
        Span("R1.mp4", 1.0, 4.0, "The student opens the printer."),
        Span("R1.mp4", 1.0, 2.0, "press button"),
    ]


def test_howto100m(tmp_path: Path) -> None:
    path = saved(tmp_path / "raw_caption.json", {"xy": {"start": [0, 2], "end": [2, 5], "text": ["so first", " "]}})
    assert list(howto100m(path)) == [Span("xy.mp4", 0.0, 2.0, "so first")]


def test_kinetics(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("label,youtube_id,time_start,time_end,split\nwashing dishes,ab,12,22,train\n")
    assert list(kinetics(path)) == [Span("washing dishes/ab_000012_000022.mp4", 0.0, 10.0, "washing dishes")]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match="youtube_id"):
        list(kinetics(path))


def test_robovqa(tmp_path: Path) -> None:
    text = (
        "<task:planning> Q: what comes next? A: open the drawer <task:success> Q: done? A: yes "
        "<task:description> Q: what was done? A: put the cup on the table"
    )
    path = tmp_path / "robovqa.jsonl"
    path.write_text(json.dumps({"video": "7.mp4", "text": text, "duration": 4}) + "\n")
    assert [(span.video, span.end, span.text) for span in robovqa(path)] == [
        ("7.mp4", 4.0, "open the drawer"),
        ("7.mp4", 4.0, "put the cup on the table"),
    ]


@pytest.mark.parametrize("name", ["ego4d", "holoassist", "howto100m"])
def test_files_of_another_kind_or_cut_off_are_refused(tmp_path: Path, name: str) -> None:
    wrong = "a string" if name == "holoassist" else [1, 2]
    path = tmp_path / "annotations.json"
    for content in (json.dumps(wrong), '{"videos": {"a": ', ""):
        path.write_text(content)
        with pytest.raises((DatasetError, AttributeError)) as error:
            list(IMPORTERS[name](path))
        assert isinstance(error.value, DatasetError)
    with pytest.raises(DatasetError, match="There is no"):
        list(IMPORTERS[name](tmp_path / "nowhere.json"))


def test_a_broken_record_is_counted_and_the_others_are_read(tmp_path: Path) -> None:
    good = {"start": [0.0], "end": [2.0], "text": ["cut the onion"]}
    path = saved(tmp_path / "caption.json", {"a": good, "b": {"start": [0]}, "c": 3, "d": good})
    broken: Counter[str] = Counter()
    assert [span.video for span in howto100m(path, broken=broken)] == ["a.mp4", "d.mp4"]
    assert sum(broken.values()) == 2 and any("end" in reason for reason in broken)
    narrations = [{"timestamp_sec": 1.0, "narration_text": "#C C sits"}, {"narration_text": "lost"}, None]
    passes = {"narration_pass_1": {"narrations": narrations}}
    path = saved(tmp_path / "narration.json", {"videos": {"x": passes, "y": None}})
    broken.clear()
    assert [span.text for span in ego4d(path, broken=broken)] == ["a person sits"]
    assert sum(broken.values()) == 3
