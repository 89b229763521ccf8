"""``camera.yaml``: a camera as it was found, beside the one of a policy's training, in pictures of the same size."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.simulated import WORLD_FILE

TRAINED, INTERVALS, DOUBT = "trained", "interval_95", "doubt"
SAME = 1e-4
"""Two cameras are the same that differ by so little."""


@dataclass(frozen=True)
class CameraFile:
    """What the file holds."""

    found: Pinhole
    trained: Pinhole
    intervals: dict[str, Any]
    """Half-widths of 95 % intervals, by the names of ``plain``'s values."""
    doubt: str = ""
    """What of the lens is not to be believed, in a sentence."""


def plain(camera: Pinhole) -> dict[str, Any]:
    """A camera as values for YAML."""
    return {
        "position_m": np.round(camera.position, 6).tolist(),
        "rotation": np.round(camera.rotation, 9).tolist(),
        "focal_length_px": round(float(camera.focal), 4),
        "principal_point_px": np.round(camera.middle, 4).tolist(),
        "distortion": [round(float(camera.distortion), 9), round(float(camera.distortion_2), 9)],
        "picture": [camera.height, camera.width],
    }


def read_camera_file(path: Path) -> CameraFile:
    """What ``align_camera.py`` wrote to ``path``.

    Raises:
        DeployError: it is no such file.
    """
    try:
        data = yaml.safe_load(path.read_text())
        found, trained = camera_of(data), camera_of(data[TRAINED])
        if (found.height, found.width) != (trained.height, trained.width):
            raise ValueError("its two pictures are not of one size")
        return CameraFile(found, trained, dict(data[INTERVALS]), str(data.get(DOUBT, "")))
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DeployError(f"{path} is no camera.yaml of align_camera.py ({why}).") from None


def described(path: Path) -> dict[str, Any]:
    """What a recording's header tells of the file at ``path``: its name, its SHA-256, and both cameras."""
    file, digest = read_camera_file(path), hashlib.sha256(path.read_bytes()).hexdigest()
    return {"file": str(path), "sha256": digest, "found": plain(file.found), TRAINED: plain(file.trained)}


def camera_of(data: dict[str, Any]) -> Pinhole:
    """From what ``plain`` gives; ValueError, TypeError or KeyError where it is no camera."""
    height, width = (int(side) for side in data["picture"])
    k1, k2 = (float(k) for k in data["distortion"])
    arrays = [np.array(data[name], dtype=float) for name in ("position_m", "rotation", "principal_point_px")]
    position, rotation, middle = arrays
    focal = float(data["focal_length_px"])
    shapes = [array.shape for array in arrays]
    numbers = np.concatenate([array.ravel() for array in arrays] + [[focal, k1, k2]])
    if shapes != [(3,), (3, 3), (2,)] or not np.isfinite(numbers).all() or min(focal, height, width) <= 0:
        raise ValueError("its numbers describe no camera")
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
        raise ValueError("its rotation is none")
    x, y = middle - [0.5 * (width - 1), 0.5 * (height - 1)]
    return Pinhole(position, rotation, focal, height, width, k1, (float(x), float(y)), k2)


def require_same_training(file: CameraFile, path: Path, folder: Path) -> None:
    """Raise ``DeployError`` unless the policy at ``folder`` was trained with the camera that ``file`` takes for its."""
    try:
        world = json.loads((folder / WORLD_FILE).read_text())
        pose, trained = world["camera"], file.trained
        own = [*pose["position"], -math.sin(pose["pitch"]), pose["focal_length"] / world["aperture"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise DeployError(f"The policy at {folder} has no {WORLD_FILE} that says where its camera stood.") from None
    theirs = [*trained.position, trained.rotation[2, 2], trained.focal / min(trained.height, trained.width)]
    if not np.allclose(own, theirs, atol=SAME):
        raise DeployError(
            f"{path} is of another policy, whose camera stood elsewhere in training: run align_camera.py with this one."
        )
