"""Laws of reading: what lerobot wrote is what is read, and a dataset that is not whole ends in one sentence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argos_wm.data.episodes import check_dataset, read_episodes
from argos_wm.data.files import DatasetError

JOINTS = ["shoulder_pan", "gripper"]
FPS, FRAMES, SIZE = 10, (9, 12, 7), 32


def pictures(episode: int, frames: int) -> np.ndarray:
    """A bright square on a gradient, moving with the frame, uint8 (T, H, W, 3)."""
    ramp = np.linspace(0, 150, SIZE)[None, :, None] + np.array([0.0, 20.0, 40.0])
    images = np.repeat(np.broadcast_to(ramp, (SIZE, SIZE, 3))[None], frames, 0).astype(np.uint8)
    for t in range(frames):
        images[t, 4 * episode + 2 : 4 * episode + 8, t : t + 6] = (220, 60 * episode, 40)
    return images


def record(root: Path, use_videos: bool, wrist: int = 0) -> None:
    """A plain dataset by lerobot's own API, as from a real arm: positions alone, no ``control.*``.

    ``wrist``: side of the pictures of a second camera, which sees the same upside down.
    """
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    names = [f"{joint}.pos" for joint in JOINTS]
    kind = "video" if use_videos else "image"
    features = {
        "observation.images.front": {"dtype": kind, "shape": (SIZE, SIZE, 3), "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": (2,), "names": names},
        "action": {"dtype": "float32", "shape": (2,), "names": names},
    }
    if wrist:
        features["observation.images.wrist"] = features["observation.images.front"] | {"shape": (wrist, wrist, 3)}
    dataset = LeRobotDataset.create("local/plain", FPS, features, root=root, use_videos=use_videos)
    for index, frames in enumerate(FRAMES):
        for t, image in enumerate(pictures(index, frames)):
            state = np.array([index + 0.1 * t, -0.2 * t], dtype=np.float32)
            frame = {"observation.images.front": image, "observation.state": state, "action": 2 * state}
            if wrist:
                frame["observation.images.wrist"] = image[::-1].repeat(wrist // SIZE, 0).repeat(wrist // SIZE, 1)
            dataset.add_frame(frame | {"task": f"touch block {index % 2}"})
        dataset.save_episode()
    dataset.finalize()
    # Started by root, SVT-AV1 makes its caller a real-time thread (SCHED_FIFO 99); whatever this process starts would
    # inherit that, and threads that wait for each other in turns would starve.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets") / "plain"
    record(root, use_videos=True)
    return root


@pytest.fixture
def copy(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "copy"))


def edit_info(root: Path, **changes: object) -> None:
    path = root / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_plain_recording_reads_at_one_control_step_a_frame_with_finite_differences(plain: Path) -> None:
    episodes = list(read_episodes(plain, joint_names=JOINTS))
    assert [len(episode) for episode in episodes] == list(FRAMES)
    assert [episode.task for episode in episodes] == ["touch block 0", "touch block 1", "touch block 0"]
    for episode in episodes:
        assert episode.state.shape == (len(episode), 4) and episode.control_state.shape == (len(episode), 1, 4)
        np.testing.assert_allclose(episode.state[1:, 2:], [[1.0, -2.0]] * (len(episode) - 1), atol=1e-4)
        np.testing.assert_array_equal(episode.action, 2 * episode.state[:, :2])
        np.testing.assert_array_equal(episode.control_action[:, 0], episode.action)
        assert episode.environment_state is None


def test_pictures_are_those_that_lerobot_itself_decodes(plain: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    theirs = LeRobotDataset("local/plain", root=plain, video_backend="pyav", return_uint8=True)
    ours = np.concatenate([episode.images for episode in read_episodes(plain)])
    for index in range(len(theirs)):
        item: Any = theirs[index]
        np.testing.assert_array_equal(ours[index], item["observation.images.front"].numpy())


def test_episodes_read_the_same_in_any_order(plain: Path) -> None:
    forward = list(read_episodes(plain))
    backward = list(read_episodes(plain, episodes=[2, 1, 0]))
    for a, b in zip(forward, reversed(backward), strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.state, b.state)


def test_pictures_stored_as_images_are_exact(tmp_path: Path) -> None:
    record(tmp_path / "images", use_videos=False)
    for index, episode in enumerate(read_episodes(tmp_path / "images")):
        np.testing.assert_array_equal(episode.images.transpose(0, 2, 3, 1), pictures(index, FRAMES[index]))


@pytest.mark.parametrize("wrist", [SIZE, 2 * SIZE])
def test_several_cameras_are_read_together_at_the_first_ones_size(tmp_path: Path, wrist: int) -> None:
    record(tmp_path / "two", use_videos=False, wrist=wrist)
    for index, episode in enumerate(read_episodes(tmp_path / "two", camera=("front", "wrist"))):
        front = pictures(index, FRAMES[index]).transpose(0, 3, 1, 2)
        assert episode.images.shape == (FRAMES[index], 2, 3, SIZE, SIZE)
        np.testing.assert_array_equal(episode.images[:, 0], front)
        close = np.abs(episode.images[:, 1].astype(int) - front[:, :, ::-1])
        assert close.max() == 0 if wrist == SIZE else np.median(close) <= 2  # resizing blurs edges


def test_several_cameras_in_videos(tmp_path: Path) -> None:
    record(tmp_path / "two", use_videos=True, wrist=SIZE)
    both = list(read_episodes(tmp_path / "two", camera=("wrist", "front")))
    front = list(read_episodes(tmp_path / "two"))
    wrist = list(read_episodes(tmp_path / "two", camera="wrist"))
    for together, first, second in zip(both, wrist, front, strict=True):
        np.testing.assert_array_equal(together.images[:, 0], first.images)
        np.testing.assert_array_equal(together.images[:, 1], second.images)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no LeRobot dataset at .*nowhere"):
        read_episodes(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"camera": "wrist"}, "lacks the features observation.images.wrist"),
        ({"camera": ("front", "wrist")}, "lacks the features observation.images.wrist"),
        ({"joint_names": ["shoulder_pan", "elbow"]}, "recorded with the joints shoulder_pan, gripper"),
        ({"joint_names": ["a", "b", "c"]}, "action .* has 2 values a frame and 3 are expected"),
        ({"fps": 30}, "recorded at 10 frames/s and 30 are expected"),
        ({"episodes": [3]}, "has no episode 3; it has 3"),
    ],
)
def test_a_mismatch_is_one_sentence_before_anything_is_decoded(plain: Path, arguments: dict, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_episodes(plain, **arguments)


def test_an_empty_dataset_and_another_format_are_refused(copy: Path) -> None:
    edit_info(copy, total_episodes=0)
    with pytest.raises(DatasetError, match="holds no episodes"):
        check_dataset(copy)
    edit_info(copy, codebase_version="v2.1")
    with pytest.raises(DatasetError, match="v2.1 dataset and v3 is read"):
        check_dataset(copy)


@pytest.mark.parametrize(
    "pattern", ["data/*/*.parquet", "videos/*/*/*.mp4", "meta/episodes/*/*.parquet", "meta/info.json"]
)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.98])
def test_a_cut_off_file_is_found_before_reading(copy: Path, pattern: str, kept: float) -> None:
    path = next(copy.glob(pattern))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(DatasetError, match="cannot be read") as error:
        check_dataset(copy)
    assert path.name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("pattern", ["data/*/*.parquet", "videos/*/*/*.mp4", "meta/tasks.parquet"])
def test_a_missing_file_is_named(copy: Path, pattern: str) -> None:
    path = next(copy.glob(pattern))
    path.unlink()
    with pytest.raises(DatasetError, match=f"{path.name} is missing"):
        check_dataset(copy)
