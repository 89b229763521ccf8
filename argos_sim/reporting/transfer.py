"""Transfer tables, from ``metrics.json``: for people as Markdown, HTML and a figure, for programs as JSON.

python -m argos_sim.reporting.transfer runs/demo runs/newton   prints the tables of several runs, one below the other.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from argos_sim.reporting.figures import CONTROLLERS, Metrics
from argos_sim.reporting.page import Html, table
from argos_wm.checkpoint import load_json, save_json, write_text

PREFIX = "transfer."
TRAINED_ON, UNSEEN_WAS_SEEN = "transfer.trained_on", "transfer.unseen_was_seen"
NO_TEST = "Training's own ranges contained those of `unseen`: what is called unseen here was not."
POLICIES = CONTROLLERS | {"limp": "no torque"}
ENGINES = {
    "ovphysx": "OvPhysX",
    "newton_mjwarp": "Newton",
    "isaacsim_physx": "Isaac Sim's PhysX",
    "mujoco": "MuJoCo C, exported",
}
CONDITIONS = {
    "nominal": "nominal",
    "train": "train",
    "textures": "unseen textures",
    "camera": "unseen camera",
    "dynamics": "unseen dynamics",
    "unseen": "all unseen",
    "light": "unseen lamp",
    "unseen_light": "all unseen and a lamp",
}
MEASURES = {"success": "done what was asked", "reached": "targets reached"}
Rows = list[tuple[str, ...]]


def cells(metrics: Metrics) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Figures by engine, policy and condition, those that were measured, in the order in which they are shown."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for engine in ENGINES:
        for policy in POLICIES:
            for condition in CONDITIONS:
                prefix = f"{PREFIX}{policy}.{engine}.{condition}."
                figures = {k.removeprefix(prefix): v for k, v in metrics.items() if k.startswith(prefix)}
                if figures:
                    found[engine, policy, condition] = figures
    return found


def rows(metrics: Metrics, measure: str) -> tuple[tuple[str, ...], Rows]:
    """Headers and rows of one measure: an engine and a policy each, a condition a column."""
    found = cells(metrics)
    shown = [name for name in CONDITIONS if any(name == condition for _, _, condition in found)]
    body: Rows = []
    for engine, policy in dict.fromkeys((engine, policy) for engine, policy, _ in found):
        where = ENGINES[engine] + (", trained on" if engine == metrics.get(TRAINED_ON) else "")
        body.append((where, POLICIES[policy], *(_share(found.get((engine, policy, c)), measure) for c in shown)))
    return ("engine", "policy", *(CONDITIONS[name] for name in shown)), body


def _share(figures: dict[str, Any] | None, measure: str) -> str:
    if figures is None:
        return "–"
    low, high = figures[f"{measure}_ci"]
    return f"{100 * figures[measure]:.0f} % [{100 * low:.0f}, {100 * high:.0f}] ({figures['episodes']})"


def markdown(metrics: Metrics) -> str:
    """Both measures as Markdown tables."""
    parts = []
    for measure, title in MEASURES.items():
        headers, body = rows(metrics, measure)
        lines = [f"| {' | '.join(headers)} |", "|---|---|" + "---:|" * (len(headers) - 2)]
        lines += [f"| {' | '.join(row)} |" for row in body]
        parts.append(
            f"**{title[0].upper()}{title[1:]}**, 95 % intervals, episodes in round brackets:\n\n" + "\n".join(lines)
        )
    if metrics.get(UNSEEN_WAS_SEEN):
        parts.append(NO_TEST)
    return "\n\n".join(parts) + "\n"


def transfer_tables(metrics: Metrics) -> Html:
    """Both measures for the report; empty where nothing was measured."""
    if not cells(metrics):
        return Html()
    parts = [Html(f"<h3>{title}</h3>") + table(*rows(metrics, m), text_columns=2) for m, title in MEASURES.items()]
    if metrics.get(UNSEEN_WAS_SEEN):
        parts.append(Html(f"<p>{NO_TEST}</p>"))
    return Html("".join(parts))


def draw(metrics: Metrics, path: Path) -> None:
    """A PNG: what was done, a panel for each engine, a line for each policy, with its intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = cells(metrics)
    engines = list(dict.fromkeys(engine for engine, _, _ in found))
    if not engines:
        return
    shown = [name for name in CONDITIONS if any(name == condition for _, _, condition in found)]
    figure, axes = pyplot.subplots(1, len(engines), figsize=(4.2 * len(engines), 3.6), sharey=True, squeeze=False)
    for axis, engine in zip(axes[0], engines, strict=True):
        for shift, policy in enumerate(POLICIES):
            points = [(i, found[engine, policy, c]) for i, c in enumerate(shown) if (engine, policy, c) in found]
            if points:
                at, values = [i + 0.1 * (shift - 2) for i, _ in points], [f["success"] for _, f in points]
                low, high = ([abs(f["success_ci"][k] - f["success"]) for _, f in points] for k in (0, 1))
                axis.errorbar(at, values, (low, high), fmt="o", ms=4, capsize=2, label=POLICIES[policy])
        axis.set_title(ENGINES[engine] + (", trained on" if engine == metrics.get(TRAINED_ON) else ""))
        axis.set_xticks(range(len(shown)), [CONDITIONS[c] for c in shown], rotation=40, ha="right")
        axis.grid(axis="y", alpha=0.3)
    axes[0][0].set(ylabel="done what was asked", ylim=(-0.02, 1.02))
    axes[0][-1].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def write_tables(metrics_file: Path) -> Path:
    """Write ``transfer/table.md``, ``.json`` and ``.png`` beside a run's metrics, and return their folder."""
    metrics, folder = load_json(metrics_file), metrics_file.parent / "transfer"
    write_text(folder / "table.md", markdown(metrics))
    save_json(folder / "table.json", {k: v for k, v in metrics.items() if k.startswith(PREFIX)})
    draw(metrics, folder / "table.png")
    return folder


if __name__ == "__main__":
    for run in sys.argv[1:]:
        print(f"### {run}\n\n{markdown(load_json(Path(run) / 'metrics.json'))}")
