"""A stage runs once, runs again when what it was made from changes, and reports mistakes in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from argos_sim.pipeline.evaluate import write_metrics
from argos_sim.pipeline.settings import Settings, SettingsError, settings_from
from argos_sim.pipeline.stage import require_one_chain, require_stage, run_stage, weight_files
from argos_wm.checkpoint import CheckpointError, load_json, save_json


def test_stage_is_reused_while_its_inputs_hold(tmp_path: Path) -> None:
    calls = []

    def work(folder: Path) -> dict:
        calls.append(folder)
        (folder / "output").write_text("x")
        return {"figure": len(calls)}

    first = run_stage(tmp_path / "s", "s", {"a": 1}, work)
    assert run_stage(tmp_path / "s", "s", {"a": 1}, work) == first
    assert run_stage(tmp_path / "s", "s", {"a": 2}, work)["figures"] == {"figure": 2}
    assert run_stage(tmp_path / "s", "s", {"a": 2}, work, overwrite=True)["figures"] == {"figure": 3}


def test_what_a_stage_made_for_others_are_its_weights(tmp_path: Path) -> None:
    """A trained encoder's folder holds its decoder, its curves and the training of its parts, too."""
    for name in ("encoder.json", "vision.safetensors", "stage.json", "checkpoint.safetensors", "curves.jsonl"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "proprio").mkdir()
    assert [file.name for file in weight_files(tmp_path)] == ["vision.safetensors", "encoder.json"]


def test_interrupted_stage_keeps_its_checkpoints_and_its_time(tmp_path: Path) -> None:
    def killed(folder: Path) -> dict:
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path / "s", "s", {"a": 1}, killed)
    with pytest.raises(CheckpointError, match=r"'s' has not finished in .* Run scripts/s.py first"):
        require_stage(tmp_path / "s", "s", "s.py")

    def resumed(folder: Path) -> dict:
        return {"found": (folder / "checkpoint").read_text()}

    assert run_stage(tmp_path / "s", "s", {"a": 1}, resumed)["figures"] == {"found": "half"}


def test_checkpoints_of_other_settings_are_not_continued(tmp_path: Path) -> None:
    def killed(folder: Path) -> dict:
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path / "s", "s", {"a": 1}, killed)
    record = run_stage(tmp_path / "s", "s", {"a": 2}, lambda f: {"left": (f / "checkpoint").exists()})
    assert record["figures"] == {"left": False}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"planer": {}}, "planer"),
        ({"demos": {"episodes": "many"}}, "demos.episodes"),
        ({"physics": "bullet"}, "bullet"),
        ({"planner": {"model": {"objective": "gan"}}}, "gan"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from(values)


def test_defaults_survive_a_round_trip() -> None:
    assert settings_from(Settings().to_dict()) == Settings()
    assert issubclass(SettingsError, ValueError)


def test_what_is_no_part_of_the_pipeline_is_not_counted_in_its_time(tmp_path: Path) -> None:
    for name, seconds in (("ppo", 10.0), ("adapt.camera", 100.0), ("evaluate_transfer_mujoco", 1000.0)):
        save_json(tmp_path / name / "stage.json", {"name": name, "seconds": seconds, "figures": {}})
    metrics = load_json(write_metrics(Settings(run_dir=str(tmp_path))))
    assert metrics["timing.total_s"] == 10 and metrics["timing.adapt.camera_s"] == 100


def test_a_stage_made_from_another_than_lies_there_is_told(tmp_path: Path) -> None:
    planner = run_stage(tmp_path / "planner", "planner", {"steps": 1}, lambda _: {})
    inputs = {"controllers": {"ppo": "of no stage here"}, "planner": planner["fingerprint"], "episodes": 2}
    run_stage(tmp_path / "evaluation" / "controllers", "evaluate", inputs, lambda _: {})
    require_one_chain(tmp_path)
    run_stage(tmp_path / "planner", "planner", {"steps": 2}, lambda _: {})
    with pytest.raises(CheckpointError, match="'evaluation/controllers' of .* made from another 'planner' than"):
        require_one_chain(tmp_path)


def test_a_longer_training_goes_on_and_a_shorter_one_begins_anew(tmp_path: Path) -> None:
    def train(length: int, rest: int = 0) -> dict:
        def work(folder: Path) -> dict:
            kept = folder / "checkpoint"
            begin = int(kept.read_text()) if kept.is_file() else 0
            kept.write_text(str(length))
            return {"began_at": begin}

        inputs = {"length": length, "rest": rest}
        return run_stage(tmp_path / "s", "s", inputs, work, grows=({"rest": rest}, length))["figures"]

    assert train(3) == {"began_at": 0} and train(5) == {"began_at": 3}
    assert train(5) == {"began_at": 3}, "done and the same: reused"
    assert train(4) == {"began_at": 0} and train(6, rest=1) == {"began_at": 0}
