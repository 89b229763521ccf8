"""Pictures to look at: the simulated arm's outline over the real one, before and after, and a board's axes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from argos_sim.camera_alignment.silhouette import NOTHING, ArmModel
from argos_sim.deploy.pinhole import Pinhole

BEFORE, AFTER = (255, 140, 0), (0, 230, 60)
AXES = ((255, 60, 60), (60, 220, 60), (80, 120, 255))
AXIS = 0.08
"""Length of a drawn axis [m]."""
MOST = 6
"""Pictures side by side, at most."""


def outlined(picture: np.ndarray, arm: ArmModel, camera: Pinhole, joints: np.ndarray, colour: tuple) -> np.ndarray:
    """A copy of ``picture`` (H, W, 3) with the arm's outline as ``camera`` sees it."""
    shown = arm.look(camera, joints) != NOTHING
    out = picture.copy()
    out[shown ^ ndimage.binary_erosion(shown, border_value=1)] = colour
    return out


def with_axes(picture: np.ndarray, camera: Pinhole, origin: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """A copy of ``picture`` with the columns of ``axes`` (3, 3) drawn from ``origin`` (3,) [m]: red, green, blue."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for axis, colour in zip(axes.T, AXES, strict=True):
        ends = camera.project(np.stack([origin, origin + AXIS * axis]))
        draw.line([tuple(end) for end in ends], fill=colour, width=3)
    return np.asarray(image)


def arm_overlay(pictures: np.ndarray, joints: np.ndarray, arm: ArmModel, before: Pinhole, after: Pinhole) -> np.ndarray:
    """Some postures side by side: above as training has the camera (orange), below as it was found (green)."""
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(MOST, len(pictures))).round().astype(int))
    rows = [
        np.concatenate([outlined(pictures[i], arm, camera, joints[i], colour) for i in chosen], 1)
        for camera, colour in ((before, BEFORE), (after, AFTER))
    ]
    return np.concatenate(rows, 0)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a PNG (H, W, 3); renamed into place."""
    part = path.with_name(f"{path.name}.part")
    Image.fromarray(picture).save(part, format="PNG")
    os.replace(part, path)
