"""A stage runs once, again when what it was made from was made anew, and keeps what other settings made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    assert run_stage(tmp_path / "s", "s", {"a": 1}, work, overwrite=True)["figures"] == {"figure": 2}


def test_what_other_settings_made_is_kept_until_it_may_go(tmp_path: Path) -> None:
    def run(steps: int, planner: str = "x", **options: Any) -> dict:
        inputs = {"sampling": {"steps": steps, "solver": "heun"}, "planner": planner, "seed": 0}
        return run_stage(tmp_path / "s", "s", inputs, lambda _: {"steps": steps, "of": planner}, **options)["figures"]

    run(2)
    with pytest.raises(CheckpointError, match=r"'s' in .* with other settings: sampling.steps is 4 and was 2\. Give"):
        run(4)
    assert run(2) == {"steps": 2, "of": "x"}
    assert run(4, replaces=True) == {"steps": 4, "of": "x"}, "what takes minutes is made anew"
    assert run(2, overwrite=True) == {"steps": 2, "of": "x"}
    assert run(2, "y") == {"steps": 2, "of": "y"}, "what it was made from is gone"


def test_records_of_before_inputs_were_kept_are_kept_too(tmp_path: Path) -> None:
    record = {
        "name": "s",
        "fingerprint": "of other settings",
        "made_from": {"demos": "d"},
        "seconds": 1.0,
        "figures": {},
    }
    save_json(tmp_path / "s" / "stage.json", record)
    with pytest.raises(CheckpointError, match="with other settings: which ones, it does not say"):
        run_stage(tmp_path / "s", "s", {"a": 1, "demos": "d", "encoder": "e"}, lambda _: {})
    assert load_json(tmp_path / "s" / "stage.json") == record
    assert run_stage(tmp_path / "s", "s", {"a": 1, "demos": "of today"}, lambda _: {"new": 1})["figures"] == {"new": 1}


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


@pytest.mark.parametrize("left", ["curves.jsonl", "checkpoint.safetensors"])
def test_checkpoints_of_other_settings_are_neither_continued_nor_deleted(tmp_path: Path, left: str) -> None:
    def killed(folder: Path) -> dict:
        (folder / left).write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path / "s", "s", {"a": 1}, killed)

    def other(overwrite: bool) -> dict:
        return run_stage(tmp_path / "s", "s", {"a": 2}, lambda f: {"left": (f / left).exists()}, overwrite)["figures"]

    if left.endswith(".safetensors"):
        with pytest.raises(CheckpointError, match="a is 2 and was 1"):
            other(overwrite=False)
        assert (tmp_path / "s" / left).read_text() == "half"
        assert other(overwrite=True) == {"left": False}
    else:
        assert other(overwrite=False) == {"left": False}


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
    run_stage(tmp_path / "planner", "planner", {"steps": 2}, lambda _: {}, overwrite=True)
    with pytest.raises(CheckpointError, match="'evaluation/controllers' of .* made from another 'planner' than"):
        require_one_chain(tmp_path)


def test_a_longer_training_goes_on_and_a_shorter_one_is_asked_for_twice(tmp_path: Path) -> None:
    def train(length: int, rest: int = 0, overwrite: bool = False) -> dict:
        def work(folder: Path) -> dict:
            kept = folder / "checkpoint"
            begin = int(kept.read_text()) if kept.is_file() else 0
            kept.write_text(str(length))
            return {"began_at": begin}

        inputs = {"length": length, "rest": rest}
        return run_stage(tmp_path / "s", "s", inputs, work, overwrite, grows=({"rest": rest}, length))["figures"]

    assert train(3) == {"began_at": 0} and train(5) == {"began_at": 3}
    assert train(5) == {"began_at": 3}, "done and the same: reused"
    for length, rest, message in ((4, 0, "length is 4 and was 5"), (6, 1, r"length is 6 and was 5 \(1 more differ")):
        with pytest.raises(CheckpointError, match=message):
            train(length, rest)
    assert train(4, overwrite=True) == {"began_at": 0}
