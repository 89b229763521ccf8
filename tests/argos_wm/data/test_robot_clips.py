"""Any robot's episodes as clips: v3 as lerobot writes it, v2 by its layout, local and from a hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from argos_wm.data.episodes import read_episodes
from argos_wm.data.files import DatasetError
from argos_wm.data.hub_files import DatasetFiles
from argos_wm.data.robot_clips import RobotClips
from argos_wm.data.video_text import VideoConfig, square
from tests.argos_wm.data.test_episodes import FRAMES, record
from tests.argos_wm.data.test_video_text import write_video

CONFIG = VideoConfig(fps=5.0, image_size=16, least_s=0.4, most_s=1.0)


@pytest.fixture(scope="module")
def v3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("v3") / "plain"
    record(root, use_videos=True)
    return root


def clips(root: Path | str, camera: str = "front", skip: int = 0, most: int | None = None) -> RobotClips:
    return RobotClips(DatasetFiles(str(root)), camera, CONFIG, skip, most)


def test_clips_show_every_second_picture_of_a_recording_at_twice_their_rate(v3: Path) -> None:
    got, episodes = list(clips(v3)), list(read_episodes(v3))
    assert FRAMES == (9, 12, 7)
    assert [clip.text for clip in got] == ["touch block 0", "touch block 1", "touch block 0"]
    for clip, episode in zip(got, episodes, strict=True):
        assert clip.fps == 5.0
        wanted = square(episode.images[:11:2], 16)
        np.testing.assert_array_equal(clip.images, wanted)


def test_what_is_left_of_a_long_episode_is_a_clip_if_it_is_long_enough(v3: Path) -> None:
    source = clips(v3)
    lengths = [len(clip.images) for clip in source]
    assert lengths == [5, 6, 4]
    assert source.counts.failed == {"too short": 1} and source.consumed == 4
    shorter = RobotClips(DatasetFiles(str(v3)), "front", VideoConfig(5.0, 16, least_s=0.4, most_s=0.5))
    assert [len(clip.images) for clip in shorter] == [3, 3, 3, 3]  # of 9, 12 and 7 pictures at 10 Hz, six at most


def test_a_run_goes_on_from_what_it_consumed(v3: Path) -> None:
    whole = list(clips(v3))
    first = clips(v3, most=1)
    assert len(list(first)) == 1
    rest = list(clips(v3, skip=first.consumed))
    for a, b in zip(whole[1:], rest, strict=True):
        np.testing.assert_array_equal(a.images, b.images)


def v2(root: Path) -> Path:
    """Three episodes as v2.1 lays them out, two in a chunk; the second has no instruction."""
    (root / "meta").mkdir(parents=True)
    info = {
        "codebase_version": "v2.1",
        "fps": 20,
        "chunks_size": 2,
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {"observation.images.top": {"dtype": "video", "shape": [48, 64, 3]}, "action": {"shape": [14]}},
    }
    (root / "meta" / "info.json").write_text(json.dumps(info))
    rows = [{"episode_index": i, "tasks": [text], "length": 20} for i, text in enumerate(("fold", "", "pour"))]
    (root / "meta" / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for i in range(3):
        write_video(root / f"videos/chunk-{i // 2:03d}/observation.images.top/episode_{i:06d}.mp4", 1.0)
    return root


def test_v2_of_a_robot_with_other_joints_is_read(tmp_path: Path) -> None:
    source = clips(v2(tmp_path / "set"), "top")
    got = list(source)
    assert [clip.text for clip in got] == ["fold", "pour"] and source.counts.failed == {"no caption": 1}
    times = got[1].images.mean((1, 2, 3)) / 100
    assert len(times) == 5 and np.diff(times) == pytest.approx(0.2, abs=0.04)


def test_faults_are_counted_or_end_in_a_sentence(v3: Path, tmp_path: Path) -> None:
    root = v2(tmp_path / "set")
    videos = sorted(root.rglob("*.mp4"))
    videos[0].write_bytes(videos[0].read_bytes()[:900])
    videos[2].unlink()
    source = clips(root, "top")
    assert not list(source)
    assert source.counts.failed == {"unreadable video": 1, "no caption": 1, "missing video": 1}
    with pytest.raises(DatasetError, match="no videos of a camera 'wrist'; it has top"):
        clips(root, "wrist")
    with pytest.raises(DatasetError, match="5 pictures a second and 5.0|has 4 pictures a second and 5.0 are asked for"):
        _edit(root, fps=4)
        clips(root, "top")
    with pytest.raises(DatasetError, match="LeRobot v1.6 dataset; v2 and v3 are read"):
        _edit(root, fps=20, codebase_version="v1.6")
        clips(root, "top")
    with pytest.raises(DatasetError, match="no LeRobot dataset: meta/info.json is missing"):
        clips(tmp_path)
    with pytest.raises(DatasetError, match="no hub id"):
        clips(tmp_path / "nowhere" / "at" / "all")
    copy = Path(shutil.copytree(v3, tmp_path / "copy"))
    path = next((copy / "meta" / "episodes").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match="may be cut off"):
        clips(copy)


def _edit(root: Path, **changes: object) -> None:
    path = root / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def hub(v3: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that answers as the hub does, with the recording as ``robots/set`` below the folder ``me/plain``."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def answer(self, body: bool) -> None:
            path = self.path.split("?")[0]
            start = "/datasets/robots/set/resolve/main/me/plain/"
            file = v3 / path.removeprefix(start)
            if path.startswith("/api/datasets/robots/set/tree/main"):
                names = [str(p.relative_to(v3)) for p in v3.rglob("*") if p.is_file()]
                rows = [{"type": "file", "path": f"me/plain/{n}", "size": 1, "oid": "0" * 40} for n in names]
                self.send(json.dumps(rows).encode(), body)
            elif path.startswith(start) and file.is_file():
                self.send(file.read_bytes(), body)
            else:
                self.send_response(404)
                missing = "EntryNotFound" if "robots/set" in path else "RepoNotFound"
                self.send_header("X-Error-Code", missing)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def send(self, data: bytes, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hash(data) % 10**12}"')
            self.send_header("X-Repo-Commit", "1" * 40)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_dataset_on_the_hub_is_fetched_file_by_file_and_its_videos_are_not_kept(
    hub: str, v3: Path, tmp_path: Path
) -> None:
    files = DatasetFiles("robots/set", "me/plain", endpoint=hub, cache=tmp_path)
    source = RobotClips(files, "front", CONFIG)
    assert not list(tmp_path.rglob("*.mp4"))
    seen = []
    for clip in source:
        seen.append(clip)
        assert len(list(tmp_path.rglob("*.mp4"))) == 1
    assert not list(tmp_path.rglob("*.mp4"))
    assert sum(p.stat().st_size for p in (tmp_path / "datasets--robots--set" / "blobs").iterdir()) < 100_000
    for a, b in zip(seen, clips(v3), strict=True):
        np.testing.assert_array_equal(a.images, b.images)
    for name in files.names("videos"):
        files.path(name)  # now as the user's own download
    kept = len(list(tmp_path.rglob("*.mp4")))
    again = DatasetFiles("robots/set", "me/plain", endpoint=hub, cache=tmp_path)
    assert len(list(RobotClips(again, "front", CONFIG))) == len(seen)
    assert len(list(tmp_path.rglob("*.mp4"))) == kept > 0, "what was there before is the user's"
    with pytest.raises(DatasetError, match="The hub has no dataset robots/other that you may see"):
        RobotClips(DatasetFiles("robots/other", endpoint=hub, cache=tmp_path), "front", CONFIG)
    with pytest.raises(DatasetError, match="no LeRobot dataset"):
        RobotClips(DatasetFiles("robots/set", endpoint=hub, cache=tmp_path), "front", CONFIG)


def test_without_a_network_it_says_how_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="hf download --repo-type dataset robots/set"):
        RobotClips(DatasetFiles("robots/set", endpoint="http://127.0.0.1:9", cache=tmp_path), "front", CONFIG)


def test_nothing_is_fetched_for_a_clip_that_is_of_no_use(tmp_path: Path) -> None:
    """Most of a large data set may be without words; its videos must not be downloaded to find that out."""

    class Watched(DatasetFiles):
        asked: list[str] = []

        def path(self, name: str) -> Path:
            self.asked.append(name)
            return super().path(name)

    root = v2(tmp_path / "set")
    assert len(list(RobotClips(Watched(str(root)), "top", CONFIG))) == 2
    assert [name[-10:] for name in Watched.asked if name.endswith(".mp4")] == ["000000.mp4", "000002.mp4"]


def test_an_episode_whose_video_was_never_encoded_is_counted(v3: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(v3, tmp_path / "copy"))
    path = next((copy / "meta" / "episodes").rglob("*.parquet"))
    table = pq.read_table(path)
    for name in ("chunk_index", "file_index", "from_timestamp"):
        column = f"videos/observation.images.front/{name}"
        values = table[column].to_pylist()
        index = table.column_names.index(column)
        table = table.set_column(index, column, pa.array([*values[:2], None], table[column].type))
    pq.write_table(table, path)
    source = clips(copy)
    assert len(list(source)) == 2 and source.counts.failed == {"too short": 1, "missing video": 1}
