"""A recording as a whole: what it is of, its steps, pictures and events.

Its header tells all that a replay needs, so that neither the policy nor the robot must be there any more.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from argos_sim.deploy.manifest import MANIFEST_FILE, PolicyManifest
from argos_sim.deploy.pictures import read_frames
from argos_sim.deploy.recorder import EVENTS, FRAMES, KIND, read_steps
from argos_sim.deploy.robots import Frame, Robot
from argos_sim.deploy.simulated import WORLD_FILE

FORMAT = "argos-recording-2"
"""1 had neither pictures, nor events, nor a header that tells of robot and world."""
NEEDED = ("policy", "policy_sha256", "rates", "joints", "joint_limits", "torque_limits", "cameras", "robot", "world")


@dataclass(frozen=True)
class Segment:
    """What was done between one beginning and the next."""

    begin: float
    """Monotonic [s], as all times of a recording."""
    end: float
    text: str
    """What was asked; empty where nothing was."""
    episode: int | None
    """Of a simulated robot."""
    ended: dict[str, Any] | None
    """What was told at its end, such as ``done``; None where it was broken off."""
    kept: bool
    """Whether somebody said that it is a good one, or else whether it was done."""


@dataclass(frozen=True)
class Recording:
    """What a control loop did; see ``recorder.step_kind`` for the columns of ``steps``."""

    folder: Path
    about: dict[str, Any]
    steps: np.ndarray
    events: list[dict[str, Any]]

    @property
    def joint_names(self) -> tuple[str, ...]:
        """J names."""
        return tuple(self.about["joints"])

    def frames(self, begin: float = -math.inf, end: float = math.inf) -> Iterator[Frame]:
        """The pictures that were believed, oldest first; those taken from ``begin`` to before ``end``."""
        return read_frames(self.folder / FRAMES, begin, end)

    def segments(self) -> list[Segment]:
        """From each beginning to what ended it, or the next one, or the last step; all steps where none was told."""
        begins, ends = ([e for e in self.events if e["event"] == name] for name in ("begin", "end"))
        found = []
        for event, later in zip(begins, [*(e["time"] for e in begins[1:]), np.inf], strict=False):
            ended = next((e for e in ends if event["time"] <= e["time"] < later), None)
            end = min(later, float(self.steps["time"][-1]) + 1e-6) if ended is None else ended["time"]
            kept = False if ended is None else bool(self._verdict(ended["time"], ends, ended.get("done")))
            found.append(Segment(event["time"], end, event["text"], event.get("episode"), ended, kept))
        if not begins:
            found = [Segment(float(self.steps["time"][0]), float(self.steps["time"][-1]) + 1e-6, "", None, None, False)]
        return [segment for segment in found if self.within(segment).any()]

    def _verdict(self, end: float, ends: list[dict[str, Any]], otherwise: bool | None) -> bool | None:
        """What was said of the segment that ended at ``end``, before another one did."""
        later = min((e["time"] for e in ends if e["time"] > end), default=np.inf)
        said = [e["kept"] for e in self.events if e["event"] == "verdict" and end <= e["time"] < later]
        return said[-1] if said else otherwise

    def within(self, segment: Segment) -> np.ndarray:
        """(K,) bool: the steps of a segment."""
        return (self.steps["time"] >= segment.begin) & (self.steps["time"] < segment.end)


def describe(folder: Path, manifest: PolicyManifest, robot: Robot) -> dict[str, Any]:
    """What a recording's header tells of policy, robot and world."""
    world, settings = folder / WORLD_FILE, getattr(robot, "settings", None)
    return {
        "format": FORMAT,
        "policy": str(folder),
        "policy_sha256": _digest(folder / MANIFEST_FILE),
        "networks": {name: file.sha256 for name, file in manifest.networks.items()},
        "rates": manifest.rates,
        "joints": list(manifest.joint_names),
        "joint_limits": [list(pair) for pair in manifest.joint_limits],
        "torque_limits": list(manifest.torque_limits),
        "cameras": list(manifest.spec.get("cameras", ("front",))),
        "robot": type(robot).__name__,
        "identity": getattr(robot, "identity", {}),
        "robot_settings": asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else {},
        "world": json.loads(world.read_text()) if world.is_file() else None,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def load_recording(folder: Path, policy: Path | None = None) -> Recording:
    """Read a finished or torn-off recording; with ``policy``, refuse one that was made with another.

    Raises:
        ValueError: in one sentence, there is none, it holds no step, or it is of another kind or policy.
    """
    path = folder / KIND
    if not path.is_file():
        raise ValueError(f"There is no recording in {folder}: {KIND} is missing.")
    try:
        about = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}); nothing in {folder} can be replayed without it.") from None
    made = about.get("format") if isinstance(about, dict) else None
    if made != FORMAT or any(name not in about for name in NEEDED):
        raise ValueError(
            f"{folder} is a recording of the kind {made} and {FORMAT} is read: record again with run_robot.py --log."
        )
    if policy is not None and about["policy_sha256"] != _digest(policy / MANIFEST_FILE):
        raise ValueError(
            f"{folder} was recorded with the policy {about['policy']} (SHA-256 {about['policy_sha256'][:12]}…), which "
            f"{policy} is not."
        )
    steps = read_steps(folder)
    if not len(steps):
        raise ValueError(f"The recording in {folder} holds no step: it was torn off at its beginning.")
    if steps["position"].shape[1:] != (len(about["joints"]),):
        raise ValueError(f"{path} names {len(about['joints'])} joints, and its steps are of another number.")
    return Recording(folder, about, steps, _read_events(folder / EVENTS))


def _read_events(path: Path) -> list[dict[str, Any]]:
    """All whole lines."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def _digest(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"There is no exported policy at {path.parent}: {path.name} is missing.")
    return hashlib.sha256(path.read_bytes()).hexdigest()
