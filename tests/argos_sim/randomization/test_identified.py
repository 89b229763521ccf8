"""Ranges from a file take their place in presets, and a file that is none is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from argos_sim.pipeline.settings import Settings


def written(folder: Path, text: str) -> Settings:
    (folder / "ranges.yaml").write_text(text)
    return Settings(identified=str(folder / "ranges.yaml"))


def test_train_takes_them_and_wider_presets_hold_them(tmp_path: Path) -> None:
    settings = written(tmp_path, "joint_friction: [0.04, 0.2]\naction_delay: [2, 3]\n")
    train, plain = settings.ranges("train"), Settings().ranges("train")
    assert train.joint_friction == (0.04, 0.2) and train.action_delay == (2, 3)
    assert train.joint_armature == plain.joint_armature and train.hue == plain.hue
    for wider in ("unseen", "complete"):
        assert settings.ranges(wider).joint_friction == (0.01, 0.2) and settings.ranges(wider).action_delay == (0, 6)
        assert settings.ranges(wider).contains(train)
    assert settings.ranges("nominal") == Settings().ranges("nominal")


def test_a_file_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file of identified ranges .*nowhere"):
        Settings(identified=str(tmp_path / "nowhere")).ranges()
    for text, message in (
        ("hue: [0, 1]", "'hue'; what is identified is joint_friction"),
        ("joint_friction: 3", "joint_friction = 3 should be two numbers"),
        ("action_delay: [0.5, 2]", "should be two whole numbers"),
        ("joint_friction: [0.2, 0.1]", "joint_friction = .* makes no sense"),
        ("[", "is not valid YAML"),
        ("", "should hold ranges by name"),
    ):
        with pytest.raises(ValueError, match=message):
            written(tmp_path, text).ranges("train")
