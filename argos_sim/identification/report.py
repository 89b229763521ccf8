"""What was found of an arm, as files: ``identified.yaml``, ``ranges.yaml`` for training, and a picture."""

# matplotlib's stubs are partial
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import dataclasses
import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from argos_sim.identification.fit import COARSE, Fit
from argos_sim.identification.shooting import Shooter
from argos_sim.identification.windows import WINDOW_S, Recording, Windows
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.ranges import get_ranges

FOUND, RANGES, PICTURE = "identified.yaml", "ranges.yaml", "identified.png"
UNITS = {"friction": "N·m", "armature": "kg·m²", "back_emf": "N·m·s/rad", "strength": "1"}
MARGIN = 0.1
"""By which ranges go beyond the intervals, in shares: warmth, wear and voltage of another day."""
SHOWN = 6
"""Windows in the picture."""


def write(folder: Path, found: Fit, windows: Windows, shooter: Shooter, recording: Recording) -> None:
    """All three files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    world = shooter.world
    _write_yaml(folder / FOUND, described(found, recording, world))
    _write_yaml(folder / RANGES, ranges(found, recording, world))
    draw(folder / PICTURE, found, windows, shooter)


def described(found: Fit, recording: Recording, world: World) -> dict[str, Any]:
    """What ``identified.yaml`` holds."""
    joints: dict[str, Any] = {}
    for j, name in enumerate(found.joint_names):
        joints[name] = {parameter: _entry(found.value(parameter, j), UNITS[parameter]) for parameter in UNITS}
        joints[name]["residual"] = {
            "value": _round(found.after[j]), "before": _round(found.before[j]), "unit": "rad, root mean square"
        }  # fmt: skip
        if (mass := found.mass(j)) is not None:
            joints[name]["link_mass"] = _entry(mass, "1, of the modelled one")
        if not found.strength_known(j):
            joints[name]["per_strength"] = {
                parameter: _entry(found.ratio(parameter, j), UNITS[parameter]) for parameter in list(UNITS)[:3]
            }
    return {
        "robot": recording.robot,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": _round(recording.seconds),
        "intervals": "95 %, of noise and of links that are believed to be as modelled but for link_deviation",
        "link_deviation": dataclasses.asdict(found.parameters.links),
        "settled": bool(found.settled),
        "windows": {"value": len(found.start), "of": int(recording.seconds / WINDOW_S)},
        "windows_that_count": _round(float(found.weight.mean())),
        "joints": joints,
        "delay": _entry(found.delay(), "s, from a command to what it does, as read"),
        "read_out_age": {"value": _round(float(np.median(recording.age))), "unit": "s, median"},
        "physics_step": {"value": world.rates.physics_dt, "unit": "s; the values are right for this step"},
        "not_identifiable": not_identifiable(found),
    }


def not_identifiable(found: Fit) -> list[str]:
    """Sentences about what the data cannot tell."""
    out = [
        "Viscous damping and back-EMF are one slope of torque over speed; all of it is stated as back_emf.",
        "A delay of commands and a wrong time stamp of read-outs are one delay.",
        "Where all links are heavier by a share, so is everything of their joints: only relative masses are seen, the "
        "rest is believed.",
    ]
    weak = [name for j, name in enumerate(found.joint_names) if not found.strength_known(j)]
    if not found.settled:
        out.append("The search did not come to rest: believe nothing, and record again or longer.")
    if weak:
        out.append(
            f"strength of {', '.join(weak)}: the joint carries too little to tell it; what is known is friction, "
            "armature and back_emf per strength (per_strength), and ranges.yaml leaves its strength to train's range."
        )
    return out


def ranges(found: Fit, recording: Recording, world: World) -> dict[str, list[Any]]:
    """Ranges for training, by their names in ``RandomizationRanges``: each joint's interval and ``MARGIN``;
    masses, which are believed to be about the modelled ones already, without it."""
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in UNITS}
    for j in range(len(found.joint_names)):
        known = found.strength_known(j)
        for parameter, of in ends.items():
            if parameter != "strength":
                of.append((found.value if known else found.ratio)(parameter, j)[1:])
            else:
                of.append(found.value(parameter, j)[1:] if known else (1.0, 1.0))
    low = {name: (1 - MARGIN) * min(pair[0] for pair in of) for name, of in ends.items()}
    high = {name: (1 + MARGIN) * max(pair[1] for pair in of) for name, of in ends.items()}
    if not all(found.strength_known(j) for j in range(len(found.joint_names))):
        least, most = get_ranges("train").motor_strength
        low["strength"], high["strength"] = min(low["strength"], least), max(high["strength"], most)
    unit, dt = {"back_emf": world.back_emf}, world.rates.physics_dt
    named = {
        "joint_friction": "friction", "joint_armature": "armature",
        "back_emf_scale": "back_emf", "motor_strength": "strength",
    }  # fmt: skip
    out: dict[str, list[Any]] = {
        name: [_round(x[of] / unit.get(of, 1.0)) for x in (low, high)] for name, of in named.items()
    }
    young, old = np.percentile(recording.age, (5, 95))
    if masses := [mass for j in range(len(found.joint_names)) if (mass := found.mass(j))]:
        out["mass_scale"] = [_round(min(mass[1] for mass in masses)), _round(max(mass[2] for mass in masses))]
    out["action_delay"] = _steps(*found.delay()[1:], dt)
    out["observation_delay"] = _steps(float(young), float(old), dt)
    return out


def draw(path: Path, found: Fit, windows: Windows, shooter: Shooter) -> None:
    """Measured and simulated trajectories, with the parameters that the search began with and with those found."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    few = windows.some(COARSE)
    own = found.start[COARSE // 2 :: COARSE]
    candidates = found.parameters.candidates
    first = shooter.simulate(candidates(found.first[None]), few, found.first_start[None])[0]
    last = shooter.simulate(candidates(found.mean[None]), few, own[None])[0]
    joints = len(found.joint_names)
    figure, axes = plt.subplots(joints, 1, figsize=(9, 1.8 * joints), sharex=True, squeeze=False)
    for j, axis in enumerate(axes[:, 0]):
        for w, known in enumerate(few.known[:SHOWN]):
            time = few.offset[w, known] + 0.55 * w
            middle = few.position[w, known, j].mean()
            axis.plot(
                time, few.position[w, known, j] - middle, "k.", markersize=3, label="measured" if w == 0 else None
            )
            axis.plot(time, first[w, known, j] - middle, "C1-", linewidth=1, label="before" if w == 0 else None)
            axis.plot(time, last[w, known, j] - middle, "C0-", linewidth=1, label="found" if w == 0 else None)
        axis.set_ylabel("rad, from its mean", fontsize=7)
        residual = f"off by {1e3 * found.before[j]:.2f} before, {1e3 * found.after[j]:.2f} mrad with what was found"
        axis.set_title(f"{found.joint_names[j]}: {residual}", fontsize=8, loc="left")
    axes[0, 0].legend(fontsize=7, ncols=3)
    axes[-1, 0].set_xlabel("s; some windows of half a second")
    figure.tight_layout()
    part = path.with_name(f".{path.name}")
    figure.savefig(part, dpi=110, format="png")
    plt.close(figure)
    part.replace(path)


def table(found: Fit) -> str:
    """For a terminal."""
    lines = [f"{'':16}" + "".join(f"{f'{name} [{unit}]':>32}" for name, unit in UNITS.items())]
    for j, joint in enumerate(found.joint_names):
        cells = [found.value(parameter, j) for parameter in UNITS]
        lines.append(f"{joint:16}" + "".join(f"{f'{v:.4f} [{low:.4f}, {high:.4f}]':>32}" for v, low, high in cells))
    value, low, high = (1e3 * x for x in found.delay())
    return "\n".join([*lines, f"delay {value:.1f} ms [{low:.1f}, {high:.1f}]"])


def _entry(triple: tuple[float, float, float], unit: str) -> dict[str, Any]:
    return {"value": _round(triple[0]), "interval": [_round(triple[1]), _round(triple[2])], "unit": unit}


def _steps(low: float, high: float, dt: float) -> list[int]:
    """A delay in whole physics steps; less than none is none."""
    return [max(0, math.floor(low / dt)), max(0, math.ceil(high / dt))]


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def _write_yaml(path: Path, data: dict[str, Any]) -> None:
    part = path.with_name(f".{path.name}")
    part.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None))
    part.replace(path)
