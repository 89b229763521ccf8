"""The README's results, from the metrics of finished runs, so that no number is copied by hand.

python -m argos_sim.reporting.readme runs/demo runs/desk
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import argos_sim.pipeline.command_line  # noqa: F401  tells Hydra the settings
from argos_sim.paths import ROOT
from argos_sim.pipeline.settings import Settings, settings_from
from argos_sim.pipeline.stage import require_one_chain
from argos_sim.reporting.figures import GOALS, Metrics, plain
from argos_sim.reporting.provenance import made_otherwise
from argos_wm.checkpoint import load_json

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def results_markdown(runs: dict[str, Metrics]) -> str:
    """A table of the aims: for each run by preset, what it reached with its 95 % interval, and the aim beside it."""
    columns = [f"`{preset}` | aim" for preset in runs]
    lines = [f"| figure | {' | '.join(columns)} |", "|---|" + "---:|---|" * len(runs)]
    for goal in GOALS:
        cells = []
        for preset, metrics in runs.items():
            aim = goal.desk if preset == "desk" else goal.demo
            wanted = "" if aim is None else aim[0]
            if all(key in metrics for key in goal.keys):
                count = f" ({plain(metrics[goal.count])})" if goal.count in metrics else ""
                text = re.sub(r"<[^>]*>", "", goal.shown(metrics))
                missed = aim is not None and not aim[1](metrics)
                cells.append(f"{text}{count} | {wanted}{', not reached' if missed else ''}")
            else:
                cells.append(f"– | {wanted}")
        lines.append(f"| {goal.label} | {' | '.join(cells)} |")
    minutes = ", ".join(
        f"`{p}` {m['timing.total_s'] / 60:.0f} minutes" for p, m in runs.items() if "timing.total_s" in m
    )
    lines += [
        "",
        f"In square brackets 95 % intervals, in round ones episodes or windows. Time taken by the stages: {minutes}.",
    ]
    return "\n".join(lines)


def preset_settings(preset: str) -> Settings:
    """The settings of a preset as ``scripts/`` would have them."""
    with initialize_config_dir(str(ROOT / "scripts" / "config"), version_base=None):
        values = OmegaConf.to_container(compose("config", overrides=[f"preset={preset}"]), resolve=True)
    assert isinstance(values, dict)
    return settings_from({str(key): value for key, value in values.items()})


def require_preset(run: Path, preset: str) -> None:
    """Refuse a run whose weights were made with other settings than its preset's: its figures are not the preset's."""
    differences = made_otherwise(run, preset_settings(preset).to_dict())
    if differences:
        stage, name, then, now = differences[0]
        raise ValueError(
            f"{run} is not a run of the preset {preset!r}: its stage '{stage}' was made with {name} = {then!r} instead "
            f"of {now!r}. Run scripts/demo.py preset={preset} without overrides first."
        )


def fill_readme(readme: Path, runs: list[Path]) -> None:
    """Replace the README's results by those of ``runs``, and its picture by the first run's."""
    if not runs:
        raise ValueError("Name the runs whose results the README is to show: runs/demo runs/desk.")
    metrics = [load_json(run / "metrics.json") for run in runs]
    for run, figures in zip(runs, metrics, strict=True):
        require_one_chain(run)
        require_preset(run, figures["preset"])
    text = readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{readme} must hold {BEGIN} and {END} once each, around its results.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    table = results_markdown({m["preset"]: m for m in metrics})
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    picture = runs[0] / "play" / "demo.png"
    if picture.is_file():
        (readme.parent / "docs").mkdir(exist_ok=True)
        shutil.copy(picture, readme.parent / "docs" / "demo.png")


if __name__ == "__main__":
    fill_readme(ROOT / "README.md", [Path(run) for run in sys.argv[1:]])
