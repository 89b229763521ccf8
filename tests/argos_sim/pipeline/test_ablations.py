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
    tabulate,
)
from argos_sim.pipeline.evaluate import OUTCOMES
from argos_sim.pipeline.settings import Settings, settings_from
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
    run, ablated = (flattened(settings(words).to_dict()) for words in (given, given + overrides(name)))
    different = {key for key in run if run[key] != ablated[key]}
    assert different == {word.split("=")[0] for word in overrides(name)}
    assert describe(name).endswith(".")


def finished(folder: Path, figures: dict | None = None) -> None:
    folder.mkdir(parents=True)
    save_json(folder / "stage.json", {"name": folder.name, "fingerprint": "", "seconds": 1, "figures": figures or {}})


def test_what_is_not_changed_is_shared(tmp_path: Path) -> None:
    run = Settings(run_dir=str(tmp_path / "run"))
    with pytest.raises(CheckpointError, match="The stage 'encoder' has not finished"):
        prepare_ablation(run, "no_history")
    for stage in ("demos", "latents", "encoder", "planner"):
        finished(run.folder / stage)
    shared = {p.name for p in prepare_ablation(run, "no_history").iterdir()}
    assert shared == {"demos", "latents", "encoder", "planner"}
    # Demonstrations of another world are recorded anew.
    assert {p.name for p in prepare_ablation(run, "no_randomization").iterdir()} == {"encoder", "planner"}
    prepare_ablation(run, "no_history")  # as when it is begun again


def judged(folder: Path, done: dict[str, torch.Tensor]) -> None:
    figures = {}
    for policy, success in done.items():
        for cell in ("train", "unseen"):
            mean = float(success.mean())
            known = {"episodes": len(success), "reached": mean, "success": mean}
            figures |= {f"controller.{policy}.{cell}.{k}": v for k, v in known.items()}
            figures |= {f"controller.{policy}.{cell}.{k}_ci": (mean, mean) for k in ("reached", "success")}
    finished(folder, figures)
    of_each = {f"{k}.{cell}.success": v.clone() for k, v in done.items() for cell in ("train", "unseen")}
    save_tensors(folder / OUTCOMES, of_each)


def test_the_table_compares_in_pairs_of_episodes(tmp_path: Path) -> None:
    run = Settings(run_dir=str(tmp_path / "run"))
    with pytest.raises(CheckpointError, match="evaluate.py first"):
        tabulate(run, [])
    whole = (torch.arange(200) % 4 < 3).float()
    worse = whole * (torch.arange(200) % 20 != 0)  # loses 10 of the 150 that were done
    before = {"imitation": torch.zeros(200), "dagger": whole}
    judged(run.folder / "evaluation" / "controllers", before | {"ppo": whole})
    judged(ablation_folder(run, "no_history") / "evaluation" / "controllers", {"imitation": whole, "ppo": worse})
    text = tabulate(run, ablation_names()).read_text()
    rows = {row["name"]: row for row in json.loads((tmp_path / "run-ablations" / "ablations.json").read_text())["rows"]}
    assert list(rows) == ["the whole", "dagger", "imitation", "no_history"]
    assert rows["imitation"]["train"]["below"] == pytest.approx(0.75)
    assert rows["no_history"]["unseen"]["below"] == pytest.approx(0.05)
    # The episodes differ in what makes them hard, which is in both: unpaired, ±8 points and more.
    low, high = rows["no_history"]["unseen"]["below_ci"]
    assert 0.01 < low < 0.05 < high < 0.09
    assert "| no history | 70 % [70, 70] | 70 % [70, 70] | +5 [" in text
