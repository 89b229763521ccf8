"""A recording as one still picture, for those without a viewer: joints, how far the simulated arm is off, the loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.recording import Recording
from argos_sim.replay.happenings import guarded
from argos_sim.replay.resimulation import Played

RECORDED, SIMULATED, TARGET, GUARDED = "#222222", "#3c8cff", "#d0762b", "#e8b0b0"
MODES = {Mode.HOLD: "#fff2c4", Mode.DAMP: "#ffd9a8", Mode.STOP: "#f4c4c4"}


def draw_curves(recording: Recording, played: Sequence[Played], path: Path) -> None:
    """Write ``curves`` as a PNG."""
    temporary = path.with_name(path.name + ".tmp")
    curves(recording, played).savefig(temporary, dpi=90, format="png")
    temporary.replace(path)


def curves(recording: Recording, played: Sequence[Played]) -> Figure:
    """For each joint position, torque and difference, and below them how the loop kept time."""
    steps, names = recording.steps, recording.joint_names
    time = steps["time"] - steps["time"][0]
    figure = Figure(figsize=(15, 2.0 * (len(names) + 1)), layout="constrained")
    axes = figure.subplots(len(names) + 1, 3, sharex=True)
    for joint, name in enumerate(names):
        position, torque, difference = axes[joint]
        position.plot(time, steps["target"][:, joint], ".", ms=2, color=TARGET, label="target")
        position.plot(time, steps["position"][:, joint], color=RECORDED, label="recorded")
        torque.plot(time, steps["wanted"][:, joint], color=GUARDED, label="wanted")
        torque.plot(time, steps["sent"][:, joint], color=RECORDED, lw=0.8, label="sent")
        for part in played:
            label = "simulated" if part is played[0] else None
            position.plot(time[part.steps], part.position[:, joint], color=SIMULATED, lw=0.8, label=label)
            difference.plot(time[part.steps], part.difference[:, joint], color=SIMULATED, lw=0.8)
        position.set_ylabel(f"{name}\n[rad]")
        torque.set_ylabel("[N·m]")
        difference.set_ylabel("[rad]")
    for axis, title in zip(axes[0], ("position", "torque", "simulated less recorded"), strict=True):
        axis.set_title(title)
    for axis in axes[0, :2]:
        axis.legend(fontsize="small", loc="upper right")
    _draw_loop(axes[-1], time, steps)
    for axis in axes.ravel():
        _shade_modes(axis, time, steps["mode"])
    return figure


def _draw_loop(axes: np.ndarray, time: np.ndarray, steps: np.ndarray) -> None:
    for name in ("late", "took"):
        axes[0].plot(time, 1e3 * steps[name], lw=0.8, label=name)
    for name in ("joints_age", "camera_age"):
        axes[1].plot(time, 1e3 * steps[name], lw=0.8, label=name.replace("_", " "))
    axes[2].plot(time, steps["plan"], lw=0.8, label="number of the target")
    axes[2].plot(time, guarded(steps).sum(1), lw=0.8, label="joints whose torque the guard changed")
    for axis in axes:
        axis.legend(fontsize="small", loc="upper right")
        axis.set_xlabel("time [s]")
    for axis in axes[:2]:
        axis.set_ylabel("[ms]")


def _shade_modes(axis, time: np.ndarray, mode: np.ndarray) -> None:
    for each, colour in MODES.items():
        edges = np.flatnonzero(np.diff(np.r_[0, mode == each, 0]))
        for begin, end in edges.reshape(-1, 2):
            axis.axvspan(time[begin], time[min(end, len(time) - 1)], color=colour, lw=0)
