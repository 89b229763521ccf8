"""Clips of real mp4 files, by spans; every fault is counted by its name."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from argos_wm.data.files import DatasetError
from argos_wm.data.video import VideoReader
from argos_wm.data.video_text import Span, VideoConfig, VideoText, read_spans, square, write_spans

CONFIG = VideoConfig(fps=5.0, image_size=32, most_s=2.0)


def write_video(path: Path, seconds: float, fps: int = 20, size: tuple[int, int] = (64, 48)) -> Path:
    """An mp4 whose brightness says the time: 10 a tenth of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=fps, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(round(seconds * fps)):
            picture = np.full((size[1], size[0], 3), min(255, round(i / fps * 100)), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def video_text(folder: Path, spans: list[Span], skip: int = 0) -> VideoText:
    write_spans(folder / "spans.jsonl", spans)
    return VideoText(folder, read_spans(folder / "spans.jsonl"), CONFIG, skip)


def test_a_clip_shows_its_span(tmp_path: Path) -> None:
    write_video(tmp_path / "kitchen" / "a.mp4", 2.5)
    (clip,) = video_text(tmp_path, [Span("kitchen/a.mp4", 0.5, 1.5, "opens a drawer")])
    assert clip.images.shape == (6, 3, 32, 32) and clip.images.dtype == np.uint8
    assert clip.text == "opens a drawer" and clip.fps == 5.0
    times = clip.images.mean((1, 2, 3)) / 100
    assert np.diff(times) == pytest.approx(0.2, abs=0.04)
    assert times[0] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_each_picture_is_the_nearest_to_its_time(tmp_path: Path, fps: int) -> None:
    write_video(tmp_path / "a.mp4", 2.5, fps)
    reader = VideoReader(tmp_path / "a.mp4", 5.0)
    for times in ([0.0, 0.2, 0.4, 0.6], [1.3, 1.5, 1.7], [0.25, 0.45]):  # from the start, further on, and back
        shown = reader.read(times).mean((1, 2, 3)) / 100
        assert shown == pytest.approx(times, abs=0.5 / fps + 0.02), "0.02: what the codec makes of a grey"
    reader.close()


def test_long_spans_are_cut_and_overlapping_ones_are_read(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 2.5)
    spans = [Span("a.mp4", 0.0, 2.4, "all of it"), Span("a.mp4", 0.4, 1.4, "the middle")]
    lengths = [len(clip.images) for clip in video_text(tmp_path, spans)]
    assert lengths == [11, 6]


def test_every_fault_is_counted_and_nothing_ends_the_run(tmp_path: Path) -> None:
    write_video(tmp_path / "good.mp4", 2.0)
    whole = write_video(tmp_path / "cut.mp4", 2.0).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mp4").write_text("no video at all")
    spans = [
        Span("cut.mp4", 0.0, 1.0, "x"),
        Span("cut.mp4", 0.5, 1.5, "x"),
        Span("good.mp4", 0.0, 1.0, "first"),
        Span("good.mp4", 0.2, 0.5, "a blink"),
        Span("good.mp4", 0.5, 1.5, " "),
        Span("good.mp4", 0.8, 1.8, "second"),
        Span("good.mp4", 1.5, 3.0, "beyond"),
        Span("nowhere.mp4", 0.0, 1.0, "x"),
        Span("text.mp4", 0.0, 1.0, "x"),
    ]
    source = video_text(tmp_path, spans)
    assert [clip.text for clip in source] == ["first", "second"]
    assert source.counts.read == 2 and source.consumed == len(spans)
    assert source.counts.failed == {
        "unreadable video": 3,
        "too short": 1,
        "no caption": 1,
        "beyond the video's end": 1,
        "missing video": 1,
    }


def test_a_video_that_ends_early_gives_what_it_has(tmp_path: Path) -> None:
    """Cut off after its index, as a stream that stopped: the first span is there, the last is not."""
    path = write_video(tmp_path / "a.mp4", 6.0)
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    whole = (tmp_path / "b.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: int(len(whole) * 0.85)])
    source = video_text(tmp_path, [Span("b.mp4", 0.0, 1.0, "early"), Span("b.mp4", 4.8, 5.8, "late")])
    assert [clip.text for clip in source] == ["early"]
    assert sum(source.counts.failed.values()) == 1


def test_a_run_goes_on_from_a_number(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 3.0)
    spans = [Span("a.mp4", 0.3 * i, 0.3 * i + 1, f"{i}") for i in range(6)]
    source = video_text(tmp_path, spans)
    stream = iter(source)
    first = [next(stream).text for _ in range(2)]
    rest = [clip.text for clip in video_text(tmp_path, spans, skip=source.consumed)]
    assert first + rest == [str(i) for i in range(6)]


def test_spans_are_read_back_and_bad_ones_are_named(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    spans = [Span("b.mp4", 0.0, 1.0, "赤い箱を取る"), Span("a.mp4", 2.0, 3.0, "x"), Span("a.mp4", 0.0, 1.0, "y")]
    assert write_spans(path, spans) == 3
    assert read_spans(path) == [spans[2], spans[1], spans[0]]
    for line, message in (
        ("{", "Line 2 of .* is no span"),
        (json.dumps({"video": "a", "start": 0, "text": "x"}), "Line 2 .*'end'"),
        (json.dumps({"video": "a", "start": 3, "end": 2, "text": "x"}), "goes from 3.0 to 2.0"),
        (json.dumps({"video": "a", "start": "soon", "end": 2, "text": "x"}), "is no span"),
    ):
        path.write_text(json.dumps(spans[0].to_json()) + "\n" + line + "\n")
        with pytest.raises(DatasetError, match=message):
            read_spans(path)
    with pytest.raises(DatasetError, match="There is no"):
        read_spans(tmp_path / "nowhere.jsonl")


def test_squares_are_cut_from_the_middle() -> None:
    pictures = np.zeros((2, 3, 40, 80), np.uint8)
    pictures[..., 20:60] = 200
    assert (square(pictures, 40) == 200).all()
    assert (square(pictures, 20) == 200).all() and square(pictures, 20).shape == (2, 3, 20, 20)
    assert square(pictures, 64).shape == (2, 3, 64, 64)
