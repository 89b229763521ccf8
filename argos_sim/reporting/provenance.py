"""What a run's weights were made with, where that is not what the report is written with.

Weights carry the settings of their training. Overrides given to one script and not to the next would otherwise go
unseen: a report would show settings that its figures were not made with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from argos_wm.checkpoint import load_json

LATENTS = ("demos.", "encoder.")
PLANNER = (
    *LATENTS,
    *(f"planner.{name}" for name in ("model.", "windows.", "loop.", "text_encoder", "start_from", "sources")),
    *("planner.demos_weight", "planner.self_forcing."),
)
IMITATION = (
    *LATENTS,
    *(f"controller.{name}" for name in ("history", "attention_width", "queries", "hidden", "senses", "imitation.")),
)
RECORDS = {
    "planner_mean": ("planner.json", (*PLANNER, "planner.mean_steps")),
    "planner": ("planner.json", PLANNER),
    "imitation": ("controller.json", IMITATION),
    "dagger": ("controller.json", (*PLANNER, *IMITATION, "controller.dagger.")),
    "ppo": ("controller.json", (*PLANNER, "controller.")),
    "controller": ("controller.json", (*PLANNER, "controller.")),
}
"""Stage → file that carries its settings, and the settings that matter to it beside the common ones."""
COMMON = ("task", "physics", "renderer", "randomization", "photographs", "identified", "identified_sha256", "seed")
APART = {
    "planner_mean": ("planner.start_from", "planner.self_forcing."),
    "ppo": ("controller.trial_episodes",),
}
"""Stage → settings among its own that it does not depend on."""


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def made_otherwise(run: Path, settings: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
    """Stage, setting, value that its weights were made with, and value in ``settings``, wherever these differ."""
    now, differences = flattened(settings), []
    for stage, (file, prefixes) in RECORDS.items():
        path = run / stage / file
        if not path.is_file():
            continue
        then = flattened(load_json(path).get("extra", {}).get("settings", {}))
        for name, value in then.items():
            if (name in COMMON or name.startswith(prefixes)) and not name.startswith(APART.get(stage, ())):
                current = now.get(name, "no longer a setting")
                if current != value:
                    differences.append((stage, name, value, current))
    return differences
