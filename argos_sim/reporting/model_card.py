"""The model card of an exported policy: what it does, what it takes and gives, and what it was measured to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from argos_sim.deploy.manifest import MANIFEST_FILE, PolicyManifest, network_file

CARD_FILE = "README.md"
MEASURED = {
    "as trained": "closed_loop.success",
    "unseen conditions": "closed_loop.unseen.success",
    "another physics engine": "closed_loop.other_engine.success",
}
"""Figures of a run in which its policy did what it was asked for."""


def write_card(folder: Path, manifest: PolicyManifest, task: str, metrics: dict[str, Any]) -> Path:
    """Write ``README.md`` beside the networks, with those of the policy's ``metrics`` that it shows."""
    rates, joints = manifest.rates, ", ".join(manifest.joint_names)
    lines = [
        f"# Policy for {task}",
        "",
        f"Moves {len(manifest.joint_names)} joints ({joints}) by torques, {rates['control_hz']:g} times a second, "
        f"toward targets that a planner imagines every {rates['planner_period_s']:g} s from pictures of "
        f"{manifest.image_size} pixels, joint states and an instruction. `{MANIFEST_FILE}` says all that a robot must "
        "know; reading it runs nothing. Trained in simulation; it has met no real robot unless its owner says so.",
        "",
        "| network | precision | takes | gives | differs from torch by at most |",
        "|---|---|---|---|---|",
    ]
    for name, network in manifest.networks.items():
        takes, gives = (_shapes(x) for x in (network.inputs, network.outputs))
        rms = "" if network.rms is None else f", rms {network.rms:.1e}"
        found = f"{network.difference:.1e}{rms} ({network.compared} rows)"
        lines.append(f"| `{network_file(name)}` | {network.precision} | {takes} | {gives} | {found} |")
    if manifest.homography:
        lines += ["", "Of a camera that was moved: `vision.onnx` sees its pictures through a homography by itself."]
    measured = [line for name in MEASURED if (line := _success(metrics, name))]
    if measured:
        lines += ["", "Done what was asked, from text, in simulation:", "", *measured]
    lines += ["", "Licences of what the weights were made from:", ""]
    lines += [f"- {name}: {licence}" for name, licence in manifest.licences.items()]
    path = folder / CARD_FILE
    path.write_text("\n".join(lines) + "\n")
    return path


def _shapes(named: dict[str, tuple[int | str, ...]]) -> str:
    """Names and sizes; of many alike, such as keys and values, the first."""
    shown = [name for name in named if not name.rsplit("_", 1)[-1].isdigit() or name.endswith("_0")]
    return ", ".join(f"{name} ({', '.join(map(str, named[name]))})" for name in shown)


def _success(metrics: dict[str, Any], name: str) -> str:
    key = MEASURED[name]
    if key not in metrics:
        return ""
    low, high = (100 * x for x in metrics.get(f"{key}_ci", (metrics[key], metrics[key])))
    return f"- {name}: {100 * metrics[key]:.0f} % [{low:.0f}, {high:.0f}]"
