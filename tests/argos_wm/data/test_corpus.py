"""Every kind of source from its files to training windows, and mistakes in a sentence before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from argos_wm.data.corpus import SourceConfig, encode_source, windows_of
from argos_wm.data.files import DatasetError
from argos_wm.data.latent_shards import LatentShards
from argos_wm.data.robot_datasets import ROBOT_DATASETS
from argos_wm.data.video_text import VideoConfig
from argos_wm.data.windows import WindowConfig
from tests.argos_wm.data.test_caching import encode
from tests.argos_wm.data.test_episodes import record
from tests.argos_wm.data.test_image_text import with_pictures
from tests.argos_wm.data.test_video_text import write_video
from tests.argos_wm.toy import SMALL, SPEC

__all__ = ["with_pictures"]
CLIPS = VideoConfig(fps=5.0, least_s=0.4, most_s=2.0)


def kinetics(folder: Path) -> SourceConfig:
    write_video(folder / "juggling balls" / "ab_000001_000003.mp4", 2.2)
    (folder / "list.csv").write_text(
        "label,youtube_id,time_start,time_end,split\n"
        "juggling balls,ab,1,3,train\njuggling balls,lost,0,9,train\njuggling balls,,x,y,train\n"
    )
    return SourceConfig("videos", str(folder), 1.0, str(folder / "list.csv"), "kinetics", clips=CLIPS)


def test_every_kind_becomes_windows_with_its_words(with_pictures: Path, tmp_path: Path) -> None:
    record(tmp_path / "robot", use_videos=True)
    sources = {
        "pictures": (SourceConfig("pictures", str(with_pictures)), 9, None),
        "videos": (kinetics(tmp_path / "kinetics"), 11, "juggling balls"),
        "robots": (SourceConfig("robots", str(tmp_path / "robot"), camera="front", clips=CLIPS), 15, "touch block 0"),
    }
    for name, (cfg, rows, text) in sources.items():
        figures = encode_source(cfg, encode, 16, SPEC, tmp_path / name, batch=4)
        assert figures["rows"] == rows == len(LatentShards(tmp_path / name, SPEC)), name
        assert encode_source(cfg, encode, 16, SPEC, tmp_path / name)["rows"] == rows  # killed just after its end
        source = windows_of(cfg, tmp_path / name, SPEC, WindowConfig(), SMALL.history, SMALL.action_steps)
        windows, texts = source(torch.tensor([0]))
        assert windows.target.vision.shape == (1, 4, 3) and (text is None or texts == [text])
        if name == "videos":
            assert figures["broken_annotations"] == 1 and figures["failed"] == {"missing video": 1}
    few = encode_source(replace(sources["pictures"][0], most=3), encode, 16, SPEC, tmp_path / "few")
    assert few["rows"] + sum(few["failed"].values()) == 3


def test_a_source_of_which_nothing_could_be_used_is_tried_again(tmp_path: Path) -> None:
    cfg, folder = kinetics(tmp_path / "kinetics"), tmp_path / "latents"
    (video,) = (tmp_path / "kinetics").rglob("*.mp4")
    there = video.rename(tmp_path / "elsewhere.mp4")
    for _ in range(2):
        with pytest.raises(DatasetError, match="Nothing in .* could be used: 2 missing video"):
            encode_source(cfg, encode, 16, SPEC, folder)
    there.rename(video)
    assert encode_source(cfg, encode, 16, SPEC, folder)["rows"] == 11


def test_mistakes_are_sentences_and_nothing_is_written(with_pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "latents"
    cases = [
        (SourceConfig("pictures", str(tmp_path / "nowhere")), "cannot be opened"),
        (SourceConfig("videos", str(tmp_path / "nowhere"), annotations="a"), "no folder"),
        (SourceConfig("robots", "agibot"), "convert it to LeRobot"),
        (SourceConfig("robots", str(tmp_path)), "Name the camera"),
        (SourceConfig("robots", str(tmp_path), camera="top"), "meta/info.json is missing"),
    ]
    for cfg, sentence in cases:
        with pytest.raises(DatasetError, match=sentence):
            encode_source(cfg, encode, 16, SPEC, folder)
        assert not folder.exists()
    with pytest.raises(ValueError, match="kind 'sounds'"):
        SourceConfig("sounds", "x")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="format 'ego5d'"):
        SourceConfig("videos", "x", annotations="a", format="ego5d")
    with pytest.raises(ValueError, match="need annotations"):
        SourceConfig("videos", "x")


def test_the_documented_table_is_the_one_that_is_used() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "planner.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for name, dataset in ROBOT_DATASETS.items():
        row = next((row for row in rows if f"`{name}`" in row), None)
        assert row is not None, name
        if dataset.hub_id:
            assert dataset.hub_id in row and dataset.camera in row and f"{dataset.fps:g} Hz" in row
