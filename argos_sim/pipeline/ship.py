"""Copy a run's weights to ``assets/pretrained``, with the settings and figures that they were made with."""

from __future__ import annotations

import shutil
from pathlib import Path

from argos_sim.folders import replace_folder, temporary_folder
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline.evaluate import write_metrics
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import require_one_chain, require_stage, weight_files

PARTS = {"encoder": "encoder", "planner": "planner", "controller": "controller"}
"""Stage → folder in ``assets/pretrained``."""
BUDGET = 20_000_000
"""Bytes that the shipped weights may take in all."""


def ship(settings: Settings) -> Path:
    """Replace the shipped weights by those of a finished run."""
    for stage in (*PARTS, "evaluation/controllers"):
        require_stage(settings.folder / stage, stage, "demo.py")
    require_one_chain(settings.folder)
    _replace(settings.folder, PARTS)
    shutil.copy(write_metrics(settings), PRETRAINED / "metrics.json")
    return PRETRAINED


def ship_encoder(settings: Settings) -> Path:
    """Replace the shipped encoder alone, for runs that start from it; the other shipped weights then need theirs."""
    require_stage(settings.folder / "encoder", "encoder", "train_encoder.py")
    _replace(settings.folder, {"encoder": PARTS["encoder"]})
    return PRETRAINED


def _replace(run: Path, parts: dict[str, str]) -> None:
    """Copy the weights of ``parts`` (stage → folder), all of them or, if they are too large, none."""
    chosen = {target: weight_files(run / stage) for stage, target in parts.items()}
    stay = [f for part in PARTS.values() if part not in chosen for f in (PRETRAINED / part).glob("*")]
    size = sum(f.stat().st_size for files in (*chosen.values(), stay) for f in files)
    if size > BUDGET:
        raise ValueError(f"With the weights of {run} {size} bytes would be shipped; at most {BUDGET} may be.")
    for target, files in chosen.items():
        new = temporary_folder(PRETRAINED / target)
        for file in files:
            shutil.copy(file, new / file.name)
        replace_folder(new, PRETRAINED / target)
    print(f"Shipped {size / 1e6:.1f} MB in {PRETRAINED}")
