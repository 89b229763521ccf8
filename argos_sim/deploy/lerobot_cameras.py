"""lerobot's cameras, opened as they are named; see ``cameras`` for what becomes of their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from argos_sim.deploy.cameras import camera_places, disconnect_all
from argos_sim.deploy.manifest import DeployError, PolicyManifest


def opened_cameras(named: Sequence[str], manifest: PolicyManifest) -> dict[str, Any]:
    """The policy's cameras by their names, connected; ``named`` as ``camera_places`` takes it."""
    places, opened = camera_places(named, tuple(manifest.spec.get("cameras", ("front",)))), dict[str, Any]()
    try:
        for name, place in places.items():
            opened[name] = opened_camera(place, manifest.rates["camera_hz"])
    except BaseException:
        disconnect_all(opened.values())
        raise
    return opened


def opened_camera(index: str, hz: float) -> Any:
    """lerobot's camera on OpenCV, connected; one that gives less than ``hz`` pictures a second is refused by it."""
    try:
        from lerobot.cameras.opencv import OpenCVCamera, OpenCVCameraConfig
    except ImportError as error:
        raise DeployError(f"lerobot's cameras are not installed ({error}): pip install -e '.[robot]'.") from None
    where = int(index) if index.isdecimal() else Path(index)
    try:
        camera = OpenCVCamera(OpenCVCameraConfig(index_or_path=where, fps=max(30, round(hz))))
        camera.connect()
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise DeployError(f"The camera {index} cannot be opened ({' '.join(str(error).split())}).") from None
    return camera
