"""Laws of the ablations: each leaves out what it says, shares what it does not change, and is compared in pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import argos_sim.pipeline.command_line  # noqa: F401  tells Hydra the settings
from argos_sim.paths import ROOT
from argos_sim.pipeline.ablations import (
    ablation_folder,
    ablation_names,
    describe,
    overrides,
    prepare_ablation,
    processes,
    require_same_recipe,
    tabulate,
    trainings,
)
from argos_sim.pipeline.evaluate import OUTCOMES
from argos_sim.pipeline.settings import Settings, SettingsError, settings_from
from argos_sim.reporting.provenance import flattened
from argos_wm.checkpoint import CheckpointError, save_json, save_tensors


def settings(words: list[str]) -> Settings:
    with initialize_config_dir(str(ROOT / "scripts" / "config"), version_base=None):
        values = OmegaConf.to_container(compose("config", words), resolve=True)
    assert isinstance(values, dict)
    return settings_from({str(k): v for k, v in values.items()})


@pytest.mark.parametrize("name", ablation_names())
def test_an_ablation_is_the_run_but_for_what_it_names(name: str) -> None:
    given = ["preset=smoke", "controller.history=7", "controller.dagger.rounds=5", "controller.ppo.pull=9"]
    run = settings(given)
    words = overrides(run, name)
    values, ablated = (flattened(s.to_dict()) for s in (run, settings(given + words)))
    assert {key for key in values if values[key] != ablated[key]} == {word.split("=")[0] for word in words}
    again = settings([*given, *overrides(run, name, 2)])
    assert (again.seed, again.controller.dagger.loop.seed) == (2, run.controller.dagger.loop.seed + 2)
    assert describe(name).endswith(".")


def finished(folder: Path, figures: dict | None = None) -> None:
    folder.mkdir(parents=True)
    save_json(folder / "stage.json", {"name": folder.name, "fingerprint": "", "seconds": 1, "figures": figures or {}})


def test_what_is_not_changed_is_shared(tmp_path: Path) -> None:
    run = Settings(run_dir=str(tmp_path / "run"))
    with pytest.raises(CheckpointError, match="The stage 'encoder' has not finished"):
        prepare_ablation(run, "no_prior")
    for stage in ("demos", "latents", "encoder", "planner"):
        finished(run.folder / stage)
    shared = {p.name for p in prepare_ablation(run, "no_prior").iterdir()}
    assert shared == {"demos", "latents", "encoder", "planner"}
    # Demonstrations of another world are recorded anew.
    assert {p.name for p in prepare_ablation(run, "no_randomization").iterdir()} == {"encoder", "planner"}
    prepare_ablation(run, "no_prior")  # as when it is begun again


def test_a_run_of_another_recipe_is_not_what_ablations_are_compared_with(tmp_path: Path) -> None:
    run = Settings(run_dir=str(tmp_path / "run"))
    for stage in ("imitation", "dagger", "ppo"):
        save_json(run.folder / stage / "controller.json", {"extra": {"settings": run.to_dict()}})
    require_same_recipe(run)
    longer = settings([f"run_dir={run.folder}", "controller.ppo.iterations=60"])
    with pytest.raises(
        SettingsError, match="The ppo in .* was trained with controller.ppo.iterations=20, not 60. Give"
    ):
        require_same_recipe(longer)


def test_trainings_from_other_seeds_share_encoder_and_planner(tmp_path: Path) -> None:
    run = Settings(run_dir=str(tmp_path / "run"), ablation_seeds=3)
    assert trainings(run, ["no_prior"]) == [("whole", 1), ("whole", 2), *(("no_prior", n) for n in range(3))]
    assert trainings(Settings(), ["no_prior", "no_dagger"]) == [("no_prior", 0), ("no_dagger", 0)]
    with pytest.raises(SettingsError, match="trained once at least"):
        settings(["ablation_seeds=0"])
    for stage in ("demos", "latents", "encoder", "planner"):
        finished(run.folder / stage)
    folders = [prepare_ablation(run, name, number) for name, number in trainings(run, ["no_prior"])]
    assert len({run.folder, *folders}) == 6
    assert all((folder / "planner" / "stage.json").is_file() for folder in folders)
    # What is linked is never made again, whatever the seed.
    assert processes("no_prior") == [("dagger",), ("controller",), ("evaluate_controllers",)]
    assert ("demos",) in processes("no_randomization")


def judged(folder: Path, done: dict[str, torch.Tensor]) -> None:
    finished(folder)
    outcomes = {
        f"{policy}.{cell}.{k}": success.clone()
        for policy, success in done.items()
        for cell in ("train", "unseen")
        for k in ("reached", "success")
    }
    save_tensors(folder / OUTCOMES, outcomes)


def test_the_table_compares_in_pairs_of_episodes(tmp_path: Path) -> None:
    run = Settings(run_dir=str(tmp_path / "run"))
    with pytest.raises(CheckpointError, match="evaluate.py first"):
        tabulate(run, [])
    whole = (torch.arange(200) % 4 < 3).float()
    worse = whole * (torch.arange(200) % 20 != 0)  # loses 10 of the 150 that were done
    before = {"imitation": torch.zeros(200), "dagger": whole}
    judged(run.folder / "evaluation" / "controllers", before | {"ppo": whole})
    judged(ablation_folder(run, "no_prior") / "evaluation" / "controllers", {"imitation": whole, "ppo": worse})
    text = tabulate(run, ["no_prior"]).read_text()
    rows = {row["name"]: row for row in json.loads((tmp_path / "run-ablations" / "ablations.json").read_text())["rows"]}
    assert list(rows) == ["the whole", "dagger", "imitation", "no_prior"]
    assert rows["imitation"]["train"]["below"] == pytest.approx(0.75)
    assert rows["no_prior"]["unseen"]["below"] == pytest.approx(0.05)
    # The episodes differ in what makes them hard, which is in both: unpaired, ±8 points and more.
    low, high = rows["no_prior"]["unseen"]["below_ci"]
    assert 0.01 < low < 0.05 < high < 0.09
    assert "| no prior | 70 % [64, 76] | 70 % [63, 76] | +5 [" in text


def test_trainings_are_paired_by_seed(tmp_path: Path) -> None:
    run = Settings(run_dir=str(tmp_path / "run"), ablation_seeds=2)
    some, all_of_them = (torch.arange(100) % 2 == 0).float(), torch.ones(100)
    for number, (whole, ablated) in enumerate([(all_of_them, some), (some, some)]):
        before = {"imitation": torch.zeros(100), "dagger": some}
        judged(ablation_folder(run, "whole", number) / "evaluation" / "controllers", before | {"ppo": whole})
        judged(ablation_folder(run, "no_prior", number) / "evaluation" / "controllers", {"ppo": ablated})
    text = tabulate(run, ["no_prior"]).read_text()
    rows = {row["name"]: row for row in json.loads((tmp_path / "run-ablations" / "ablations.json").read_text())["rows"]}
    assert rows["the whole"]["train"]["success"] == 0.75
    row = rows["no_prior"]["unseen"]
    assert (row["episodes"], row["success"], row["below"], row["below_of_each"]) == (200, 0.5, 0.25, [0.5, 0.0])
    # No interval of episodes stands for what two trainings differ by.
    assert "| no prior | 50 % (50, 50) | 50 % (50, 50) | +25 (+50, +0) |" in text
    assert "200 episodes a figure, the same for all, of 2 trainings" in text
