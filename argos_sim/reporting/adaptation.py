"""The summary of adaptation: a figure of success over minutes for each shift, and a Markdown table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from argos_sim.pipeline.stage import RECORD
from argos_wm.checkpoint import CheckpointError, load_json

COLOURS = {"protected": "tab:blue", "unprotected": "tab:red"}
WORLDS = {"shift": ("-", "under the shift"), "old": ("--", "in the old conditions")}


def write_summary(run: Path) -> Path:
    """Write ``<run>/adapt/adaptation.md`` and ``adaptation.png`` from the finished shifts; the table's path."""
    folder = run / "adapt"
    records = {p.parent.name: load_json(p)["figures"] for p in sorted(folder.glob(f"*/{RECORD}"))}
    records.pop("before", None)
    if not records:
        raise CheckpointError(f"No shift has finished in {folder}. Run scripts/adapt.py first.")
    draw(records, folder / "adaptation.png")
    path = folder / "adaptation.md"
    path.write_text(markdown(records))
    return path


def last_round(figures: dict[str, Any]) -> str:
    """Number of the last judged round of a shift."""
    return max((k.removeprefix("minutes.") for k in figures if k.startswith("minutes.")), key=int)


def markdown(records: dict[str, dict[str, Any]]) -> str:
    """A row a shift and method, as after the last round."""
    head = "| shift | method | before it | no adaptation | adapted | recovered | forgotten, points | minutes |"
    lines = [head, "|" + "---|" * 8]
    for shift, f in records.items():
        last = last_round(f)
        if "history_only.success" in f:
            lines.append(
                f"| {shift} | history only | {_percent(f, 'history_only_old.success')} "
                f"| {_percent(f, 'history_only.success')} | – | – | – | – |"
            )
        for method in COLOURS:
            key = f"{method}.{last}"
            lines.append(
                f"| {shift} | {method} | {_percent(f, 'old.success')} | {_percent(f, 'shifted.success')} "
                f"| {_percent(f, f'{key}.shift.success')} | {_percent(f, f'{key}.recovered')} "
                f"| {_percent(f, f'{key}.forgotten', '')} | {f[f'minutes.{last}']:.1f} |"
            )
    counts = {shift: f[f"protected.{last_round(f)}.shift.episodes"] for shift, f in records.items()}
    lines += ["", f"Episodes of each rate: {counts}; in brackets 95 % intervals."]
    return "\n".join(lines) + "\n"


def _percent(f: dict[str, Any], key: str, unit: str = " %") -> str:
    if key not in f:
        return "–"
    low, high = f[f"{key}_ci"]
    return f"{100 * f[key]:.0f}{unit} [{100 * low:.0f}, {100 * high:.0f}]"


def draw(records: dict[str, dict[str, Any]], path: Path) -> None:
    """Success over minutes of one robot, a panel a shift, with 95 % intervals."""
    import matplotlib.pyplot as plt

    columns = min(3, len(records))
    legend = 0.25 * math.ceil(5 / columns)  # inches
    size = (3.6 * len(records), 3.2 + legend)
    figure, panels = plt.subplots(1, len(records), figsize=size, sharey=True, squeeze=False)
    for axes, (shift, f) in zip(panels[0], records.items(), strict=True):
        rounds = sorted((k.removeprefix("minutes.") for k in f if k.startswith("minutes.")), key=int)
        minutes = [0.0, *(f[f"minutes.{r}"] for r in rounds)]
        for method, colour in COLOURS.items():
            for world, (style, label) in WORLDS.items():
                start = "shifted" if world == "shift" else "old"
                keys = [start, *(f"{method}.{r}.{world}" for r in rounds)]
                value = [100 * f[f"{k}.success"] for k in keys]
                edges = [[100 * x for x in f[f"{k}.success_ci"]] for k in keys]
                error = [
                    [v - e[0] for v, e in zip(value, edges, strict=True)],
                    [e[1] - v for v, e in zip(value, edges, strict=True)],
                ]
                axes.errorbar(
                    minutes, value, error, color=colour, linestyle=style, capsize=2, label=f"{method}, {label}"
                )
        axes.axhline(100 * f["shifted.success"], color="grey", linestyle=":", label="no adaptation")
        axes.set(title=shift.replace("_", " "), xlabel="minutes of one robot", ylim=(0, 102))
    panels[0][0].set_ylabel("done what was asked [%]")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=columns, frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, legend / size[1], 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
