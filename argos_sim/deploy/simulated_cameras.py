"""Cameras other than training's before a simulated arm: what an alignment finds, and what a camera file mends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.simulated import SimulatedRobot, SimulatedRobotSettings

TRAINED = "trained"
CAMERAS: dict[str, dict[str, Any]] = {
    TRAINED: {},
    "off": {
        "image_size": (240, 320),
        "camera_shift": (0.02, -0.03, 0.015),
        "camera_turn": (0.03, 0.02, -0.03),
        "camera_focal_scale": 1.03,
    },
    "webcam": {
        "image_size": (240, 320),
        "camera_shift": (0.008, -0.006, 0.005),
        "camera_turn": (0.05, -0.04, 0.05),
        "camera_focal_scale": 0.92,
        "camera_distortion": -0.03,
        "camera_distortion_2": 0.001,
        "camera_offset": (0.05, -0.03),
    },
}
"""Fields of ``SimulatedRobotSettings``. *trained*: as in training, in pictures of the policy's size; *off*: 4 cm and 3
degrees away; *webcam*: brought to a centimetre of its place, turned by 5 degrees, wider, bent and off centre."""


def simulated_robot(folder: Path, manifest: PolicyManifest, seed: int, camera: str = TRAINED) -> SimulatedRobot:
    """The arm of the policy at ``folder``, seen by one of ``CAMERAS``."""
    settings = SimulatedRobotSettings(image_size=manifest.image_size, seed=seed)
    return SimulatedRobot(folder, manifest, replace(settings, **CAMERAS[camera]))
