"""Ranges from a file take their place in presets, and a file that is none is one sentence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from isaaclab.managers import CurriculumTermCfg

import tasks  # noqa: F401
from argos_sim.configs import CurriculumConfig
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings, SettingsError, settings_from
from argos_sim.pipeline.stage import fingerprint
from argos_sim.randomization.curriculum import WidenRanges, widen
from argos_sim.randomization.draws import Draws
from argos_sim.randomization.ranges import range_names
from argos_sim.reporting.provenance import made_otherwise
from argos_wm.checkpoint import save_json


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


def test_a_file_that_changed_is_another_run_and_its_record_says_so(tmp_path: Path) -> None:
    one = written(tmp_path, "joint_friction: [0.04, 0.06]\n")
    again = Settings(identified=one.identified)
    assert again == one and fingerprint(again.drawn_from()) == fingerprint(one.drawn_from())
    drawn = fingerprint(one.drawn_from())
    save_json(tmp_path / "ppo" / "controller.json", {"extra": {"settings": one.to_dict()}})
    assert made_otherwise(tmp_path, again.to_dict()) == []
    other = written(tmp_path, "joint_friction: [0.04, 0.07]\n")
    assert fingerprint(other.drawn_from()) != drawn, "its stages are done again"
    differing = made_otherwise(tmp_path, other.to_dict())
    assert [(stage, name) for stage, name, _, _ in differing] == [("ppo", "identified_sha256")]
    with pytest.raises(SettingsError, match="identified_sha256 is not that of the file"):
        settings_from(one.to_dict())
    assert settings_from(other.to_dict()) == other


def test_the_curriculum_leads_to_ranges_that_hold_what_was_identified(tmp_path: Path) -> None:
    settings = written(tmp_path, "motor_strength: [0.5, 0.6]\n")
    cfg = environment_cfg(settings, 2)
    curriculum = CurriculumConfig(widest="complete")
    widen(cfg, curriculum, settings.ranges("complete"))
    term: Any = cfg.curriculum["ranges"]  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
    assert term.params["widest"].motor_strength == (0.5, 1.25)
    env = SimpleNamespace(
        num_envs=2,
        device="cpu",
        generator=torch.Generator().manual_seed(0),
        cfg=cfg,
        require_timely=lambda ranges: None,
    )
    env.draws = Draws(cfg.ranges, 2)
    made = WidenRanges(term, env)  # pyright: ignore[reportArgumentType]
    at = range_names().index("motor_strength")
    assert made.inner[at].tolist() == pytest.approx([0.5, 0.6]) and made.outer[at].tolist() == [0.5, 1.25]
    plain = CurriculumTermCfg(func=WidenRanges, params={"settings": curriculum})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="range motor_strength of the curriculum's widest preset"):
        WidenRanges(plain, env)  # pyright: ignore[reportArgumentType]
