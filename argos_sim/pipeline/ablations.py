"""Ablations of the controller: what each part of the recipe is worth, beside the whole of it, in the same episodes.

An ablation is a preset in ``scripts/config/ablation/``: the run's settings but for what it names. Encoder and planner
are those of the run; demonstrations, too, unless the ablation records others. Each has a folder of its own beside the
run's, where the usual stages do their work.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import Tensor

from argos_sim.evaluation import paired_difference
from argos_sim.paths import ROOT
from argos_sim.pipeline.evaluate import OUTCOMES
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import RECORD, require_stage
from argos_sim.reporting.provenance import flattened
from argos_wm.checkpoint import load_json, save_json

PRESETS = ROOT / "scripts" / "config" / "ablation"
SHARED = ("encoder", "planner")
DEMONSTRATED = ("demos", "latents")
PROCESSES = (("demos",), ("latents",), ("dagger",), ("controller",), ("evaluate_controllers",))
"""Stages of an ablation by process; those that nothing changes are reused."""
CELLS = ("train", "unseen")


def ablation_names() -> list[str]:
    """All ablations there are."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def ablation_folder(settings: Settings, name: str) -> Path:
    """Where the stages of an ablation of the run ``settings`` are."""
    return settings.folder.with_name(f"{settings.folder.name}-ablations") / name


def describe(name: str) -> str:
    """What an ablation is, in a sentence: the comment in its preset."""
    lines = (PRESETS / f"{name}.yaml").read_text().splitlines()
    return next(line.removeprefix("# ") for line in lines if line.startswith("# ") and "@package" not in line)


def overrides(name: str) -> list[str]:
    """An ablation's settings as words of a command line; there, at the end, they win over what else was given."""
    return [f"{key}={value}" for key, value in flattened(_preset(name)).items()]


def prepare_ablation(settings: Settings, name: str) -> Path:
    """Make an ablation's folder, with links to what it shares with the run; one sentence if the run lacks that."""
    folder, changed = ablation_folder(settings, name), _preset(name)
    shared = SHARED if "randomization" in changed or "demos" in changed else SHARED + DEMONSTRATED
    for stage in shared:
        require_stage(settings.folder / stage, stage, f"demo.py preset={settings.preset}")
    folder.mkdir(parents=True, exist_ok=True)
    for stage in shared:
        link = folder / stage
        if not link.exists():
            link.symlink_to((settings.folder / stage).resolve(), target_is_directory=True)
    return folder


def _preset(name: str) -> dict[str, Any]:
    values = OmegaConf.to_container(OmegaConf.load(PRESETS / f"{name}.yaml"))
    assert isinstance(values, dict)
    return {str(k): v for k, v in values.items()}


def tabulate(settings: Settings, names: Iterable[str]) -> Path:
    """Write ``ablations.md`` and ``ablations.json`` beside the ablations: each one's figures and the whole's above it.

    Figures of the run itself come first: its controller, and what that was before PPO.
    """
    whole = settings.folder / "evaluation" / "controllers"
    require_stage(whole, "evaluation/controllers", "evaluate.py")
    full = load_file(whole / OUTCOMES)
    rows = [_row("the whole", "", load_json(whole / RECORD)["figures"], full, full, "ppo")]
    for prior in dict.fromkeys((settings.prior, "imitation")):
        text = "what PPO began with" if prior == settings.prior else "imitation alone"
        rows.append(_row(prior, text, load_json(whole / RECORD)["figures"], full, full, prior))
    for name in names:
        judged = ablation_folder(settings, name) / "evaluation" / "controllers"
        if (judged / RECORD).is_file():
            own, figures = load_file(judged / OUTCOMES), load_json(judged / RECORD)["figures"]
            rows.append(_row(name, describe(name), figures, own, full, "ppo"))
    folder = ablation_folder(settings, "ablations.md").parent
    folder.mkdir(parents=True, exist_ok=True)
    save_json(folder / "ablations.json", {"preset": settings.preset, "task": settings.task, "rows": rows})
    path = folder / "ablations.md"
    path.write_text(_markdown(rows))
    return path


def _row(
    name: str, text: str, figures: dict[str, Any], own: dict[str, Tensor], full: dict[str, Tensor], policy: str
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "what": text}
    for cell in CELLS:
        known = {k: figures[f"controller.{policy}.{cell}.{k}"] for k in ("episodes", "reached", "success")}
        intervals = {f"{k}_ci": figures[f"controller.{policy}.{cell}.{k}_ci"] for k in ("reached", "success")}
        row[cell] = known | intervals
        if own is not full or policy != "ppo":
            mine, whole = own[f"{policy}.{cell}.success"], full[f"ppo.{cell}.success"]
            row[cell]["below"], row[cell]["below_ci"] = paired_difference(whole, mine)
    return row


def _markdown(rows: list[dict[str, Any]]) -> str:
    heads = [f"{what}, {cell}" for cell in CELLS for what in ("targets reached", "done", "the whole's lead")]
    lines = [f"| | {' | '.join(heads)} |", f"|---{'|---:' * len(heads)}|"]
    for row in rows:
        cells = []
        for cell in CELLS:
            known = row[cell]
            for key in ("reached", "success"):
                low, high = known[f"{key}_ci"]
                cells.append(f"{100 * known[key]:.0f} % [{100 * low:.0f}, {100 * high:.0f}]")
            if "below" in known:
                low, high = known["below_ci"]
                cells.append(f"{100 * known['below']:+.0f} [{100 * low:+.0f}, {100 * high:+.0f}]")
            else:
                cells.append("")
        lines.append(f"| {row['name'].replace('_', ' ')} | {' | '.join(cells)} |")
    episodes = rows[0][CELLS[0]]["episodes"]
    lines += [
        "",
        f"{episodes} episodes a figure, the same for all; leads in points of what was done, with 95 % intervals.",
    ]
    return "\n".join(lines) + "\n"
