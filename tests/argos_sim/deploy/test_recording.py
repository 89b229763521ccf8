"""Laws of what a recording keeps beside its steps: pictures to the bit, events in order, and a word about what is not
one."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argos_sim.deploy.manifest import read_manifest
from argos_sim.deploy.pictures import packed, read_frames
from argos_sim.deploy.recorder import EVENTS, FRAMES, KIND, STEPS, Recorder, read_steps
from argos_sim.deploy.recording import Recording, Segment, describe, load_recording
from argos_sim.deploy.robots import Frame
from tests.argos_sim.deploy.pilots import StandIn, flying, until


def moments(count: int, cameras: int = 1) -> list[Frame]:
    rng = np.random.default_rng(0)
    shapes = [(12, 17, 3), (8, 8, 3)][:cameras]
    return [Frame(tuple(rng.integers(0, 256, s, dtype=np.uint8) for s in shapes), 1.0 + i) for i in range(count)]


def same(one: list[Frame], other: list[Frame]) -> bool:
    def content(frames: list[Frame]) -> list:
        return [(f.time, [(p.shape, p.tobytes()) for p in f.pictures]) for f in frames]

    return content(one) == content(other)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.integers(1, 256))
def test_pictures_are_read_again_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int, most: int
) -> None:
    picture = np.random.default_rng(seed).integers(0, most, (height, width, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("p") / FRAMES
    path.write_bytes(packed(Frame((picture,), 0.1)))
    assert same(list(read_frames(path)), [Frame((picture,), 0.1)])


@pytest.mark.parametrize("cameras", [1, 2])
def test_a_torn_off_file_has_the_moments_that_are_whole(tmp_path: Path, cameras: int) -> None:
    frames, path = moments(4, cameras), tmp_path / FRAMES
    parts = [packed(frame) for frame in frames]
    for lost in (1, 20, len(parts[-1]) - 1):
        path.write_bytes(b"".join(parts)[:-lost])
        assert same(list(read_frames(path)), frames[:3])
    spoilt = bytearray(b"".join(parts))
    spoilt[len(parts[0]) + len(parts[1]) + 40] ^= 1
    path.write_bytes(spoilt)
    assert same(list(read_frames(path)), frames[:2]), "what was written wrongly is not shown"
    assert list(read_frames(tmp_path / "none")) == []


def test_pictures_of_some_time_are_read_without_the_others(tmp_path: Path) -> None:
    frames, path = moments(5, 2), tmp_path / FRAMES
    path.write_bytes(b"".join(map(packed, frames)))
    assert same(list(read_frames(path, 2.0, 4.0)), frames[1:3])


def test_what_a_pilot_sees_and_does_is_in_its_recording(policy: Path, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 3, describe(policy, read_manifest(policy), StandIn()))
    with flying(policy, recorder=recorder) as (pilot, robot):
        until(lambda: pilot.counts["targets"] >= 1 and pilot.counts["frames"] >= 4, "a fourth picture")
        robot.bent_joints = lambda _: None
        until(lambda: pilot.fallback.mode > 0, "another mode")
        pilot.stop("by hand")
        until(lambda: pilot.fallback.mode == 3, "a stop")
        time.sleep(0.1)
        frames = pilot.counts["frames"]
    recording = load_recording(tmp_path, policy)
    seen = list(recording.frames())
    assert frames <= len(seen) <= frames + 1 and seen[-1].pictures[0].shape == (32, 32, 3)
    assert np.array_equal(seen[-1].pictures[0], robot._newest.pictures[0])
    assert [event["event"] for event in recording.events[:2]] == ["begin", "begin"]
    modes = [(event["mode"], bool(event["reason"])) for event in recording.events if event["event"] == "mode"]
    changes = recording.steps["mode"][np.diff(recording.steps["mode"].astype(int), prepend=0) != 0]
    assert modes == [(mode, mode > 0) for mode in changes] and modes[-1][0] == 3
    about = recording.about
    assert about["robot"] == "StandIn" and about["world"] is None and about["cameras"] == ["front"]
    assert about["networks"]["controller"] == read_manifest(policy).networks["controller"].sha256
    (segment,) = recording.segments()
    assert segment.text == "touch the red block" and segment.ended is None and not segment.kept


def test_pictures_can_be_left_out(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 3, {}, pictures=False)
    recorder.see(moments(1)[0])
    recorder.close()
    assert (tmp_path / FRAMES).read_bytes() == b""


def test_a_slow_disk_loses_pictures_before_it_loses_steps(tmp_path: Path) -> None:
    recorder, slow = Recorder(tmp_path, 3, {}), threading.Event()
    write = recorder._frames.write
    recorder._frames = SimpleNamespace(  # pyright: ignore[reportAttributeAccessIssue]
        write=lambda data: (slow.wait(20.0), write(data)), close=lambda: None
    )
    for frame in moments(200):
        recorder.see(frame)
    for i in range(500):
        recorder.add(time=float(i))
    assert recorder.problem == "the disk is too slow" and recorder._blocks.qsize() < 50
    slow.set()
    recorder.close()
    assert len(read_steps(tmp_path)) == 500 and 32 <= len(list(read_frames(tmp_path / FRAMES))) <= 34


def test_what_was_before_an_event_is_on_disk_with_the_next_step(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 3, {})
    for i in range(7):
        recorder.add(time=float(i))
    recorder.tell("end", done=True)
    recorder.add(time=7.0)
    until(lambda: (tmp_path / STEPS).stat().st_size == 8 * recorder.kind.itemsize, "what a kill would leave")
    assert json.loads((tmp_path / EVENTS).read_text())["done"] is True
    recorder.close()


def recorded(folder: Path, policy: Path, events: list[dict], count: int = 50) -> Recording:
    """Steps at 0 s, 0.1 s, ...; events as they are given."""
    recorder = Recorder(folder, 3, describe(policy, read_manifest(policy), StandIn()))
    for i in range(count):
        recorder.add(time=0.1 * i)
    for event in events:
        recorder._put(event)
    recorder.close()
    return load_recording(folder)


def test_segments_go_from_a_beginning_to_its_end_and_are_kept_as_was_said(policy: Path, tmp_path: Path) -> None:
    def begin(at: float, text: str, episode: int | None = None) -> dict:
        return {"time": at, "event": "begin", "text": text, "episode": episode}

    def end(at: float, done: bool | None) -> dict:
        return {"time": at, "event": "end", "done": done}

    events = [begin(-1.0, ""), begin(0.05, "a", 7), end(0.95, True), begin(1.0, ""), begin(1.45, "b"), end(1.95, None)]
    events += [begin(2.0, ""), {"time": 2.05, "event": "verdict", "kept": True}, begin(2.45, "c"), end(2.95, True)]
    events += [{"time": 3.0, "event": "verdict", "kept": False}, begin(3.05, "d"), begin(3.55, "e")]
    recording = recorded(tmp_path, policy, events)
    found = [(s.text, round(s.begin, 2), round(s.end, 2), s.kept) for s in recording.segments() if s.text]
    assert found == [
        ("a", 0.05, 0.95, True),
        ("b", 1.45, 1.95, True),
        ("c", 2.45, 2.95, False),
        ("d", 3.05, 3.55, False),
        ("e", 3.55, 4.9, False),
    ]
    (everything,) = dataclasses.replace(recording, events=[]).segments()
    assert recording.within(everything).all() and not everything.kept
    first = recording.segments()[1]
    assert first.episode == 7 and recording.within(first).nonzero()[0].tolist() == list(range(1, 10))
    assert isinstance(recording.segments()[0], Segment) and recording.segments()[0].end == 0.05


def test_what_is_no_such_recording_is_one_sentence(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no recording in .*: steps.json is missing"):
        load_recording(tmp_path)
    recorded(tmp_path / "a", policy, [], count=1)
    header = json.loads((tmp_path / "a" / KIND).read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "policy.yaml").write_text((policy / "policy.yaml").read_text() + "\n")
    with pytest.raises(ValueError, match=r"was recorded with the policy .* \(SHA-256 .*…\), which .*other is not"):
        load_recording(tmp_path / "a", other)
    load_recording(tmp_path / "a", policy)
    for content, message in (
        (
            json.dumps(header | {"format": "argos-recording-1"}),
            "of the kind argos-recording-1 and argos-recording-2",
        ),
        (json.dumps({k: v for k, v in header.items() if k != "world"}), "is a recording of the kind"),
        ("[1]", "is a recording of the kind None"),
        (json.dumps(header)[:-3], "cannot be read"),
        (json.dumps(header | {"joints": ["pan"]}), "names 1 joints, and its steps are of another number"),
    ):
        (tmp_path / "a" / KIND).write_text(content)
        with pytest.raises(ValueError, match=message):
            load_recording(tmp_path / "a")
    recorded(tmp_path / "b", policy, [{"time": 0.0, "event": "begin", "text": "x"}])
    path = tmp_path / "b" / EVENTS
    path.write_bytes(path.read_bytes() + b'{"time": 1.0, "ev')
    assert [event["text"] for event in load_recording(tmp_path / "b").events] == ["x"]
    (tmp_path / "b" / STEPS).write_bytes(b"torn")
    with pytest.raises(ValueError, match="holds no step: it was torn off at its beginning"):
        load_recording(tmp_path / "b")
