"""A recording read, played into the simulator, and shown: what ``scripts/replay.py`` does."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import rerun as rr

from argos_sim.deploy.recording import Recording, load_recording
from argos_sim.mujoco_c.world import World
from argos_sim.replay.resimulation import HORIZONS_S, Played, Resimulation
from argos_sim.replay.viewer import Viewer


@dataclass(frozen=True)
class Replay:
    """A recording, and the simulated arm beside it."""

    recording: Recording
    world: World | None
    """None where nothing tells of one: then there are curves, but no arms."""
    played: list[Played]
    """Each segment from its start, or restarted as was asked for."""
    restarted: dict[float, np.ndarray]
    """Time after a restart [s] → RMS difference (J,) [rad] over all restarts."""

    def table(self) -> str:
        """RMS differences for a person to read."""
        if not self.played:
            return "The recording tells of no world: nothing was simulated."
        names = self.recording.joint_names
        rows = {"whole segments": _rms(np.concatenate([p.difference for p in self.played]))}
        rows |= {f"{seconds:g} s after a restart": rms for seconds, rms in self.restarted.items()}
        lines = [f"{'simulated less recorded, RMS [rad]':36s}" + "".join(f"{name:>15s}" for name in names)]
        for title, values in rows.items():
            lines.append(f"{title:36s}" + "".join(f"{value:15.4f}" for value in values))
        return "\n".join(lines)


def replay(
    folder: Path, policy: Path | None = None, world_file: Path | None = None, restart_s: float | None = None
) -> Replay:
    """Read a recording and play its segments.

    Args:
        policy: see ``load_recording``.
        world_file: another world to play in, such as a policy's ``world.json``; None takes the recording's own.
        restart_s: see ``Resimulation.play``.

    Raises:
        ValueError: in one sentence, whatever is wrong with recording or world.
    """
    recording = load_recording(folder, policy)
    world = None if world_file is None else _read_world(world_file)
    if world is None and recording.about["world"] is None:
        return Replay(recording, None, [], {})
    simulator = Resimulation(recording, world)
    segments = [s for s in recording.segments() if np.isfinite(recording.steps["position"][recording.within(s)]).any()]
    played = [simulator.play(segment, restart_s) for segment in segments]
    period, restarted = 1 / recording.about["rates"]["control_hz"], {}
    for horizon in HORIZONS_S:
        again = [simulator.play(segment, horizon) for segment in segments]
        found = np.concatenate([p.difference[np.abs(p.since - horizon) <= period] for p in again])
        if len(found):
            restarted[horizon] = _rms(found)
    return Replay(recording, simulator.world, played, restarted)


def save(replayed: Replay, path: Path) -> None:
    """Write a file for rerun's viewer, whole or not at all."""
    viewer, temporary = Viewer(replayed.recording, replayed.world), path.with_name(path.name + ".tmp")
    viewer.stream.save(temporary)
    viewer.write(replayed.played)
    viewer.stream.disconnect()
    temporary.replace(path)


def show(replayed: Replay) -> None:
    """Open rerun's viewer, the one of this environment if there is one.

    Raises:
        ValueError: in one sentence, it does not start, such as on a machine without a screen.
    """
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise ValueError("There is no screen here for rerun's viewer. Use --web, --save or --png.")
    viewer, beside = Viewer(replayed.recording, replayed.world), Path(sys.executable).with_name("rerun")
    try:
        rr.spawn(recording=viewer.stream, executable_path=str(beside) if beside.is_file() else None)
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"rerun's viewer does not start ({why}). Use --web, --save or --png.") from None
    viewer.write(replayed.played)
    viewer.stream.flush()


def serve(replayed: Replay, web_port: int, data_port: int) -> str:
    """Serve rerun's viewer to browsers for as long as this process lives; returns the address to open."""
    viewer = Viewer(replayed.recording, replayed.world)
    data = viewer.stream.serve_grpc(grpc_port=data_port)
    viewer.write(replayed.played)
    viewer.stream.flush()
    rr.serve_web_viewer(web_port=web_port, open_browser=False, connect_to=data)
    return f"http://localhost:{web_port}/?url={quote(data, safe='')}"


def _read_world(path: Path) -> World:
    try:
        return World.from_json(json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"The world {path} cannot be read ({error}).") from None


def _rms(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.nanmean(values**2, 0))
