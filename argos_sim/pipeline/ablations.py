"""Ablations of the controller: what each part of the recipe is worth, beside the whole of it, in the same episodes.

An ablation is a preset in ``scripts/config/ablation/``: the run's settings but for what it names. Encoder and planner
are those of the run; demonstrations, too, unless the ablation records others. Each has a folder of its own beside the
run's, where the usual stages do their work. What two trainings of the same recipe differ by can be more than what a
part is worth: ``ablation_seeds`` trains each, and the whole, as often.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import Tensor

from argos_sim.evaluation import cluster_bootstrap, paired_difference
from argos_sim.paths import ROOT
from argos_sim.pipeline.evaluate import OUTCOMES
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.pipeline.stage import require_stage
from argos_sim.reporting.provenance import flattened, made_otherwise
from argos_wm.checkpoint import save_json
from argos_wm.evaluation import wilson_interval

PRESETS = ROOT / "scripts" / "config" / "ablation"
WHOLE = "whole"
"""The run's own recipe, trained once more with another seed."""
SHARED = ("encoder", "planner")
DEMONSTRATED = ("demos", "latents")
TRAINED = ("dagger", "controller", "evaluate_controllers")
CELLS = ("train", "unseen")


def ablation_names() -> list[str]:
    """All ablations there are."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def ablation_folder(settings: Settings, name: str, number: int = 0) -> Path:
    """Where the stages of training ``number`` of an ablation of the run ``settings`` are; the whole's first training is
    the run."""
    if name == WHOLE and number == 0:
        return settings.folder
    beside = settings.folder.with_name(f"{settings.folder.name}-ablations")
    return beside / (f"{name}-{number}" if number else name)


def trainings(settings: Settings, names: Iterable[str]) -> list[tuple[str, int]]:
    """All that is to be trained, as ablation and number: the whole's further trainings first, which all others need."""
    numbers = range(settings.ablation_seeds)
    return [(WHOLE, n) for n in numbers[1:]] + [(name, n) for name in names for n in numbers]


def describe(name: str) -> str:
    """What an ablation is, in a sentence: the comment in its preset."""
    lines = (PRESETS / f"{name}.yaml").read_text().splitlines()
    return next(line.removeprefix("# ") for line in lines if line.startswith("# ") and "@package" not in line)


def overrides(settings: Settings, name: str, number: int = 0) -> list[str]:
    """What differs from the run in training ``number`` of an ablation, as words of a command line; there, at the end,
    they win over what else was given."""
    words = [f"{key}={value}" for key, value in flattened(_preset(name)).items()]
    return [*words, f"seed={settings.seed + number}"] if number else words


def processes(name: str) -> list[tuple[str, ...]]:
    """Stages of an ablation by process."""
    return [(stage,) for stage in (*(() if _shares_demos(name) else DEMONSTRATED), *TRAINED)]


def require_same_recipe(settings: Settings) -> None:
    """Refuse a run whose controller was trained with other settings than those given: its lead over an ablation would
    be theirs, too."""
    trained = ("imitation", "dagger", "ppo")
    other = [row for row in made_otherwise(settings.folder, settings.to_dict()) if row[0] in trained]
    if other:
        stage, name, then, now = other[0]
        more = f", and {len(other) - 1} more differ" if len(other) > 1 else ""
        raise SettingsError(
            f"The {stage} in {settings.folder} was trained with {name}={then}, not {now}{more}. Give the run's "
            "settings, or train it again."
        )


def prepare_ablation(settings: Settings, name: str, number: int = 0) -> Path:
    """Make a training's folder, with links to what it shares with the run; one sentence if the run lacks that."""
    folder = ablation_folder(settings, name, number)
    shared = SHARED + DEMONSTRATED if _shares_demos(name) else SHARED
    for stage in shared:
        require_stage(settings.folder / stage, stage, f"demo.py preset={settings.preset}")
    folder.mkdir(parents=True, exist_ok=True)
    for stage in shared:
        link = folder / stage
        if not link.exists():
            link.symlink_to((settings.folder / stage).resolve(), target_is_directory=True)
    return folder


def _shares_demos(name: str) -> bool:
    return not {"randomization", "demos"} & set(_preset(name))


def _preset(name: str) -> dict[str, Any]:
    values = {} if name == WHOLE else OmegaConf.to_container(OmegaConf.load(PRESETS / f"{name}.yaml"))
    assert isinstance(values, dict)
    return {str(k): v for k, v in values.items()}


def tabulate(settings: Settings, names: Iterable[str]) -> Path:
    """Write ``ablations.md`` and ``ablations.json`` beside the ablations: each one's figures and the whole's above it.

    Figures of the run itself come first: its controller, and what that was before PPO. Trainings are paired by seed,
    whose episodes are the same.
    """
    require_stage(_judged(settings, WHOLE, 0), "evaluation/controllers", "evaluate.py")
    full = _outcomes(settings, WHOLE)
    rows = [_row("the whole", "", full, None, "ppo")]
    for prior in dict.fromkeys((settings.prior, "imitation")):
        text = "what PPO began with" if prior == settings.prior else "imitation alone"
        rows.append(_row(prior, text, full, full, prior))
    for name in names:
        rows.append(_row(name, describe(name), _outcomes(settings, name), full, "ppo"))
    folder = ablation_folder(settings, "ablations.md").parent
    folder.mkdir(parents=True, exist_ok=True)
    save_json(folder / "ablations.json", {"preset": settings.preset, "task": settings.task, "rows": rows})
    path = folder / "ablations.md"
    path.write_text(_markdown(rows))
    return path


def _judged(settings: Settings, name: str, number: int) -> Path:
    return ablation_folder(settings, name, number) / "evaluation" / "controllers"


def _outcomes(settings: Settings, name: str) -> list[dict[str, Tensor]]:
    """What each episode came to, for each training of an ablation."""
    return [load_file(_judged(settings, name, number) / OUTCOMES) for number in range(settings.ablation_seeds)]


def _row(
    name: str, text: str, own: list[dict[str, Tensor]], full: list[dict[str, Tensor]] | None, policy: str
) -> dict[str, Any]:
    """Figures of all trainings together and of each; their intervals are of the episodes of one training, and say
    nothing of how far trainings lie apart, so that there are none of several."""
    row: dict[str, Any] = {"name": name, "what": text, "trainings": len(own)}
    for cell in CELLS:
        reached, done = ([one[f"{policy}.{cell}.{k}"] for one in own] for k in ("reached", "success"))
        row[cell] = {
            "episodes": sum(map(len, done)),
            "reached": float(torch.cat(reached).mean()),
            "success": float(torch.cat(done).mean()),
            "reached_of_each": [float(r.mean()) for r in reached],
            "success_of_each": [float(d.mean()) for d in done],
        }
        known = row[cell]
        if len(own) == 1:
            known["reached_ci"] = cluster_bootstrap(reached[0], torch.arange(len(reached[0])))
            known["success_ci"] = wilson_interval(int(done[0].sum()), len(done[0]))
        if full is not None:
            leads = [paired_difference(f[f"ppo.{cell}.success"], d) for f, d in zip(full, done, strict=True)]
            known["below_of_each"] = [lead for lead, _ in leads]
            known["below"] = sum(known["below_of_each"]) / len(leads)
            if len(own) == 1:
                known["below_ci"] = leads[0][1]
    return row


def _markdown(rows: list[dict[str, Any]]) -> str:
    heads = [f"{what}, {cell}" for cell in CELLS for what in ("targets reached", "done", "the whole's lead")]
    lines = [f"| | {' | '.join(heads)} |", f"|---{'|---:' * len(heads)}|"]
    for row in rows:
        figures = [_figure(row[cell], key) for cell in CELLS for key in ("reached", "success", "below")]
        lines.append(f"| {row['name'].replace('_', ' ')} | {' | '.join(figures)} |")
    episodes, number = rows[0][CELLS[0]]["episodes"], rows[0]["trainings"]
    how = "in square brackets 95 % intervals" if number == 1 else f"of {number} trainings, in round brackets of each"
    lines += ["", f"{episodes} episodes a figure, the same for all, {how}; leads in points of what was done."]
    return "\n".join(lines) + "\n"


def _figure(known: dict[str, Any], key: str) -> str:
    """A share in per cent or a lead in points, with its interval or that of each training; nothing if there is none."""
    if key not in known:
        return ""
    sign, unit = ("+", "") if key == "below" else ("", " %")
    text = f"{100 * known[key]:{sign}.0f}{unit}"
    if f"{key}_ci" in known:
        low, high = known[f"{key}_ci"]
        return f"{text} [{100 * low:{sign}.0f}, {100 * high:{sign}.0f}]"
    return f"{text} ({', '.join(f'{100 * one:{sign}.0f}' for one in known[f'{key}_of_each'])})"
