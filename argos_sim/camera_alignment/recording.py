"""What was seen for an alignment: a folder of pictures, and ``joints.json`` with what the joints read at each.

{"joint_names": ["pan", …],
 "pictures": [{"file": "00.png", "joints": [0.1, …]}, …],            joints [rad]; not needed for a board alone
 "touches": [{"corner": "A", "joints": [0.1, …]}, …],                the fingertip on the board's corners
 "placed": "00.png"}                                                 the picture in which the board lay there
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from argos_sim.deploy.demonstrating import next_session

FILE, SESSIONS = "joints.json", "recordings"


@dataclass(frozen=True)
class Recording:
    """N pictures of one camera, which stood still."""

    joint_names: tuple[str, ...]
    files: tuple[str, ...]
    pictures: np.ndarray
    """(N, H, W, 3) uint8 RGB."""
    joints: np.ndarray
    """(N, J) [rad]; not a number where they were not read."""
    touches: dict[str, np.ndarray] = field(default_factory=dict)
    """Joints (J,) [rad] with the fingertip on the board's corner of that name."""
    placed: str | None = None
    """File of the picture in which the board lay where it was touched."""


def recording_of(joint_names: tuple[str, ...], taken: Sequence[tuple[np.ndarray, np.ndarray]]) -> Recording:
    """Of pictures (H, W, 3) in turn, each with what the joints read at it (J,) [rad]."""
    files = tuple(f"{i:02d}.png" for i in range(len(taken)))
    pictures, joints = zip(*taken, strict=True)
    return Recording(joint_names, files, np.stack(pictures), np.stack(joints))


def write_recording(folder: Path, recording: Recording) -> None:
    """Write the pictures first, then ``joints.json``, which is renamed into place."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in zip(recording.files, recording.pictures, strict=True):
        Image.fromarray(picture).save(folder / name)
    pictures = [
        {"file": name} | ({"joints": q.tolist()} if np.isfinite(q).all() else {})
        for name, q in zip(recording.files, recording.joints, strict=True)
    ]
    touches = [{"corner": corner, "joints": q.tolist()} for corner, q in recording.touches.items()]
    plain = {"joint_names": list(recording.joint_names), "pictures": pictures, "touches": touches}
    plain |= {} if recording.placed is None else {"placed": recording.placed}
    part = folder / f"{FILE}.part"
    part.write_text(json.dumps(plain, indent=1))
    os.replace(part, folder / FILE)


def keep_recording(out: Path, recording: Recording) -> Path:
    """Write a session of its own under ``out``, beside those of before; returns its folder."""
    folder = next_session(out / SESSIONS)
    write_recording(folder, recording)
    return folder


def read_recording(folder: Path, joint_names: tuple[str, ...]) -> Recording:
    """What ``folder`` holds, of an arm with these joints.

    Raises:
        ValueError: a file is missing, cannot be read or does not fit the others, in one sentence.
    """
    data = _json(folder / FILE)
    pictures, touches, placed = data.get("pictures"), data.get("touches", []), data.get("placed")
    if not isinstance(pictures, list) or not pictures or not isinstance(touches, list):
        raise ValueError(f"{folder / FILE} lists no pictures.")
    names = tuple(data.get("joint_names", joint_names))
    if names != tuple(joint_names):
        raise ValueError(
            f"{folder / FILE} is of the joints {', '.join(names)}, the policy's: {', '.join(joint_names)}."
        )
    for entry, key in [(p, "file") for p in pictures] + [(t, "corner") for t in touches]:
        if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
            raise ValueError(f"{folder / FILE}: {entry!r} names no {key}.")
    files = tuple(entry["file"] for entry in pictures)
    if placed is not None and placed not in files:
        raise ValueError(f"{folder / FILE}: the board is said to be placed in {placed!r}, which is no picture of it.")
    seen = [_picture(folder / name) for name in files]
    other = [name for name, picture in zip(files, seen, strict=True) if picture.shape != seen[0].shape]
    if other:
        raise ValueError(f"{folder / other[0]} has another size than {files[0]}; take all with one camera, one size.")
    joints = [_joints(entry, names, folder) for entry in pictures]
    return Recording(
        names,
        files,
        np.stack(seen),
        np.stack(joints),
        {t["corner"]: _joints(t, names, folder) for t in touches},
        placed,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({' '.join(str(error).split())}).") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds no settings by name.")
    return data


def _picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"The picture {path} cannot be read ({' '.join(str(error).split())}).") from None


def _joints(entry: dict[str, Any], names: tuple[str, ...], folder: Path) -> np.ndarray:
    """(J,) [rad], not a number where the entry has none."""
    if "joints" not in entry and "file" in entry:
        return np.full(len(names), np.nan)
    try:
        found = np.array(entry["joints"], dtype=float)
    except (KeyError, TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (len(names),) or not np.isfinite(found).all():
        what = entry.get("file", entry.get("corner"))
        raise ValueError(f"{folder / FILE}: the joints of {what} should be {len(names)} finite numbers [rad].")
    return found
