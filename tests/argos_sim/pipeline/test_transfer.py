"""Which cells the transfer tables have, what is refused before any work, and how they are shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import tasks  # noqa: F401
from argos_sim.pipeline import transfer
from argos_sim.pipeline.settings import ControllerSettings, EvaluationSettings, Settings, SettingsError
from argos_sim.pipeline.stage import RECORD
from argos_sim.pipeline.transfer import LIGHTS, MUJOCO, JudgeCell, conditions, transfer_stage
from argos_sim.randomization.ranges import GROUPS, RandomizationRanges
from argos_sim.reporting.page import Html
from argos_sim.reporting.transfer import markdown, transfer_tables, write_tables
from argos_wm.checkpoint import CheckpointError, load_json, save_json
from argos_wm.sampler import SamplerConfig


def finished(folder: Path, *stages: str) -> Settings:
    """A run whose ``stages`` look finished."""
    for stage in stages:
        save_json(folder / stage / RECORD, {"name": stage, "fingerprint": stage, "seconds": 1.0, "figures": {}})
    return Settings(run_dir=str(folder))


def test_each_condition_changes_its_group_and_nothing_else() -> None:
    settings = Settings()
    cells = conditions(settings, "ovphysx")
    own, unseen = settings.ranges(), settings.ranges("unseen")
    assert cells["train"] == own and cells["unseen"] == unseen
    for group, names in GROUPS.items():
        for name in (f.name for f in dataclasses.fields(own)):
            assert getattr(cells[group], name) == getattr(unseen if name in names else own, name)
        assert cells[group] != own


def test_lamps_are_moved_on_mujoco_alone() -> None:
    assert set(conditions(Settings(), MUJOCO)) - set(conditions(Settings(), "ovphysx")) == set(LIGHTS)


def test_an_unknown_condition_is_answered_with_the_known_ones() -> None:
    settings = Settings(evaluation=EvaluationSettings(transfer_conditions=("night",)))
    with pytest.raises(SettingsError, match="no condition 'night'.*nominal, train, textures"):
        conditions(settings, "ovphysx")


def test_a_run_without_a_controller_ends_in_a_sentence(tmp_path: Path) -> None:
    settings = finished(tmp_path, "imitation", "dagger", "planner")
    with pytest.raises(
        CheckpointError, match=r"The stage 'ppo' has not finished in .* Run scripts/train_controller.py"
    ):
        transfer_stage(settings, MUJOCO)
    assert not (tmp_path / "transfer").exists()


def test_ranges_that_mujocos_loop_lacks_are_refused_before_any_cell(tmp_path: Path) -> None:
    settings = finished(tmp_path, "imitation", "dagger", "ppo", "planner")
    with pytest.raises(ValueError, match="MuJoCo's loop cannot randomize .*tilt.*transfer_own"):
        transfer_stage(dataclasses.replace(settings, randomization="complete"), MUJOCO)
    assert not (tmp_path / "transfer").exists()


def test_a_killed_run_goes_on_with_the_cell_that_it_was_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = finished(tmp_path, "imitation", "dagger", "ppo", "planner")
    settings = dataclasses.replace(settings, evaluation=EvaluationSettings(transfer_conditions=("nominal", "train")))
    judged: list[str] = []

    def judges(*_: object) -> JudgeCell:
        def judge_cell(condition: str, ranges: RandomizationRanges) -> dict[str, dict[str, Any]]:
            judged.append(condition)
            if judged == ["nominal", "train"]:
                raise KeyboardInterrupt
            return {"ppo": cell(0.5)}

        return judge_cell

    monkeypatch.setattr(transfer, "_isaac_lab", judges)
    with pytest.raises(KeyboardInterrupt):
        transfer_stage(settings, "ovphysx")
    transfer_stage(settings, "ovphysx")
    assert judged == ["nominal", "train", "train"]
    assert (
        load_json(tmp_path / "transfer/ovphysx/train" / RECORD)["figures"]["transfer.ppo.ovphysx.train.success"] == 0.5
    )


def test_cells_of_other_weights_leave_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = finished(tmp_path, "imitation", "dagger", "ppo", "planner")
    both, one = (EvaluationSettings(transfer_conditions=names) for names in (("nominal", "train"), ("train",)))
    monkeypatch.setattr(transfer, "_isaac_lab", lambda *_: lambda condition, ranges: {"ppo": cell(0.5)})
    transfer_stage(dataclasses.replace(settings, evaluation=both), "ovphysx")
    transfer_stage(dataclasses.replace(settings, evaluation=one), "newton_mjwarp")
    kept = tmp_path / "transfer" / "ovphysx"
    assert {path.name for path in kept.iterdir()} == {"nominal", "train"}
    save_json(tmp_path / "ppo" / RECORD, {"name": "ppo", "fingerprint": "again", "seconds": 1.0, "figures": {}})
    transfer_stage(dataclasses.replace(settings, evaluation=one), "newton_mjwarp")
    assert not list(kept.iterdir())
    figures = load_json(tmp_path / "transfer/newton_mjwarp/train" / RECORD)["figures"]
    assert figures["transfer.trained_on"] == settings.resolved_physics() and not figures["transfer.unseen_was_seen"]


def test_cells_of_other_settings_stay_until_they_may_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = finished(tmp_path, "imitation", "dagger", "ppo", "planner")
    settings = dataclasses.replace(settings, evaluation=EvaluationSettings(transfer_conditions=("train",)))
    monkeypatch.setattr(transfer, "_isaac_lab", lambda *_: lambda condition, ranges: {"ppo": cell(0.5)})
    transfer_stage(settings, "ovphysx")
    kept = tmp_path / "transfer/ovphysx/train" / RECORD
    record = load_json(kept)
    other = dataclasses.replace(settings, controller=ControllerSettings(sampling=SamplerConfig(steps=4)))
    for engine in ("ovphysx", "newton_mjwarp"):
        with pytest.raises(CheckpointError, match=r"sampling.steps is 4 and was 2\. .*overwrite=true"):
            transfer_stage(other, engine)
    fewer = dataclasses.replace(settings.evaluation, transfer_episodes=64)
    with pytest.raises(CheckpointError, match="episodes is 64 and was 512"):
        transfer_stage(dataclasses.replace(settings, evaluation=fewer), "ovphysx")
    assert load_json(kept) == record
    transfer_stage(dataclasses.replace(other, overwrite=True), "newton_mjwarp")
    assert not kept.exists() and (tmp_path / "transfer/newton_mjwarp/train" / RECORD).exists()


@pytest.mark.parametrize(("words", "seen"), [({}, False), ({"randomization": "complete"}, True)])
def test_what_training_saw_is_not_called_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: dict[str, Any], seen: bool
) -> None:
    finished(tmp_path, "imitation", "dagger", "ppo", "planner")
    monkeypatch.setattr(transfer, "_isaac_lab", lambda *_: lambda condition, ranges: {"ppo": cell(0.5)})
    wanted = EvaluationSettings(transfer_conditions=("unseen",))
    transfer_stage(Settings(run_dir=str(tmp_path), evaluation=wanted, **words), "ovphysx")
    figures = load_json(tmp_path / "transfer/ovphysx/unseen" / RECORD)["figures"]
    assert figures["transfer.unseen_was_seen"] is seen
    assert ("was not" in markdown(figures)) is seen


def cell(share: float) -> dict[str, Any]:
    return {
        "success": share,
        "success_ci": [share - 0.1, share + 0.1],
        "reached": 0.9,
        "reached_ci": [0.8, 1],
        "episodes": 512,
    }


def test_tables_show_what_was_measured_and_where_it_was_trained(tmp_path: Path) -> None:
    metrics: dict[str, Any] = {"transfer.trained_on": "ovphysx", "controller.ppo.train.success": 0.1}
    for engine, condition, share in (("ovphysx", "train", 0.8), ("mujoco", "train", 0.7), ("mujoco", "light", 0.6)):
        metrics |= {f"transfer.ppo.{engine}.{condition}.{k}": v for k, v in cell(share).items()}
    text = markdown(metrics)
    assert "| OvPhysX, trained on | PPO | 80 % [70, 90] (512) | – |" in text
    assert "| MuJoCo C, exported | PPO | 70 % [60, 80] (512) | 60 % [50, 70] (512) |" in text
    assert "Newton" not in text
    save_json(tmp_path / "metrics.json", metrics)
    folder = write_tables(tmp_path / "metrics.json")
    assert {path.name for path in folder.iterdir()} == {"table.md", "table.json", "table.png"}
    assert "80 % [70, 90]" in transfer_tables(metrics)
    assert transfer_tables({"controller.ppo.train.success": 0.1}) == Html()
