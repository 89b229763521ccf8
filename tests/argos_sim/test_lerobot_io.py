"""Laws of writing: what is written is read again, by us and by lerobot, and a dataset is there whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argos_sim import lerobot_io
from argos_sim.lerobot_io import EpisodeWriter, RecordedEpisode
from argos_wm.data.episodes import check_dataset, read_episodes
from argos_wm.data.files import DatasetError

JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
LENGTHS = (9, 14, 11, 8)


def recorded(index: int, frames: int) -> RecordedEpisode:
    """Random numbers, and a block of five saturated pixels that crosses a noisy picture."""
    rng = np.random.default_rng(index)
    images = rng.normal(120, 10, (frames, 64, 64, 3)).clip(0, 255).astype(np.uint8)
    for t in range(frames):
        images[t, 20:25, 3 * t : 3 * t + 5] = np.roll((230, 30, 30), index)

    def values(*shape: int) -> np.ndarray:
        return rng.normal(size=(frames, *shape)).astype(np.float32)

    return RecordedEpisode(
        images, values(12), values(6), values(21), values(5, 12), values(5, 6), f"touch the {index % 3} block"
    )


EPISODES = [recorded(index, frames) for index, frames in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets") / "demos"
    with EpisodeWriter(root, JOINTS) as writer:
        for episode in EPISODES:
            writer.add(episode)
    return root


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures [dB]."""
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def test_what_is_written_is_read(root: Path) -> None:
    read = list(read_episodes(root, joint_names=JOINTS, fps=10))
    assert len(read) == len(EPISODES)
    for ours, theirs in zip(EPISODES, read, strict=True):
        for name in ("state", "action", "environment_state", "control_state", "control_action"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
        assert ours.task == theirs.task and theirs.fps == 10
        images = theirs.images.transpose(0, 2, 3, 1)
        assert psnr(ours.images, images) > 38
        for t in range(len(images)):
            block = np.s_[t, 20:25, 3 * t : 3 * t + 5]
            assert psnr(ours.images[block], images[block]) > 28, "the colours of a small block are smeared"


def test_shards_split_between_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot_io, "SHARD_SECONDS", 2.4)
    with EpisodeWriter(tmp_path / "demos", JOINTS) as writer:
        for episode in EPISODES:
            writer.add(episode)
    assert len(list((tmp_path / "demos").glob("videos/*/*/*.mp4"))) == 2
    for ours, theirs in zip(EPISODES, read_episodes(tmp_path / "demos"), strict=True):
        assert psnr(ours.images, theirs.images.transpose(0, 2, 3, 1)) > 38
        np.testing.assert_array_equal(ours.control_action, theirs.control_action)


def test_lerobot_reads_windows_of_it(root: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    windows = {"observation.images.front": [-0.8, 0.0, 0.8], "action": [0.0, 0.1]}
    dataset = LeRobotDataset(
        "local/demos", root=root, video_backend="pyav", delta_timestamps=windows, return_uint8=True
    )
    assert len(dataset) == sum(LENGTHS) and dataset.num_episodes == len(LENGTHS)
    frame = 5
    item: Any = dataset[LENGTHS[0] + frame]
    episode = next(read_episodes(root, episodes=[1]))
    np.testing.assert_array_equal(item["observation.images.front"].numpy(), episode.images[[0, frame, frame + 8]])
    assert item["observation.images.front_is_pad"].tolist() == [True, False, False]
    np.testing.assert_array_equal(item["action"].numpy(), episode.action[frame : frame + 2])
    assert item["task"] == episode.task and item["control.action"].shape == (5, 6)


def test_statistics_are_those_of_the_data(root: Path) -> None:
    stats = json.loads((root / "meta" / "stats.json").read_text())
    state = np.concatenate([episode.state for episode in EPISODES])
    np.testing.assert_allclose(stats["observation.state"]["mean"], state.mean(0), atol=1e-5)
    np.testing.assert_allclose(stats["observation.state"]["std"], state.std(0), atol=1e-5)
    np.testing.assert_allclose(stats["observation.state"]["max"], state.max(0), atol=1e-5)
    assert np.shape(stats["observation.images.front"]["mean"]) == (3, 1, 1)
    assert np.shape(stats["control.action"]["q99"]) == (5, 6)


def test_nothing_is_there_before_finalize_and_nothing_remains_after_an_exception(tmp_path: Path) -> None:
    root = tmp_path / "demos"
    with pytest.raises(RuntimeError, match="killed"), EpisodeWriter(root, JOINTS) as writer:
        writer.add(EPISODES[0])
        assert not root.exists()
        raise RuntimeError("killed")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_dataset_is_kept_unless_overwritten(tmp_path: Path) -> None:
    root = tmp_path / "demos"
    with EpisodeWriter(root, JOINTS) as writer:
        writer.add(EPISODES[0])
    with pytest.raises(DatasetError, match="exists already"):
        EpisodeWriter(root, JOINTS)
    writer = EpisodeWriter(root, JOINTS, overwrite=True)
    with pytest.raises(DatasetError, match="No episode was recorded"):
        writer.finalize()
    assert check_dataset(root).frames == LENGTHS[0]
    with EpisodeWriter(root, JOINTS, overwrite=True) as writer:
        writer.add(EPISODES[1])
    assert check_dataset(root).frames == LENGTHS[1]
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize("name", ["images", "state", "control_action"])
def test_arrays_of_another_shape_are_refused(tmp_path: Path, name: str) -> None:
    episode = replace(EPISODES[0], **{name: getattr(EPISODES[0], name)[..., :-1]})
    with EpisodeWriter(tmp_path / "demos", JOINTS) as writer:
        writer.add(EPISODES[1])
        with pytest.raises(DatasetError, match="of episode 1 is .* and should be"):
            writer.add(episode)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = EPISODES[0].state.copy()
    state[2, 3] = np.nan
    with EpisodeWriter(tmp_path / "demos", JOINTS) as writer:
        writer.add(EPISODES[1])
        with pytest.raises(DatasetError, match="observation.state of episode 1 holds NaN"):
            writer.add(replace(EPISODES[0], state=state))
