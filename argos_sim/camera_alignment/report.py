"""What a found camera means: how far it is from the trained one, whether that is within what training drew, and what to
move.

A policy sees pixels. Where the principal point is not the picture's middle, the whole picture is shifted, as if the
camera were turned: so what is compared and told of a camera's direction is where the middle of its picture looks.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from argos_sim.camera_alignment.found import FoundCamera
from argos_sim.deploy.camera_file import DOUBT, INTERVALS, TRAINED, plain
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rotations import turn_of
from argos_sim.randomization.ranges import RandomizationRanges, get_ranges

SMALL_MM, SMALL_DEGREES, SMALL_LENS = 1.0, 0.1, 0.01
"""What need not be said."""
ASIDE = 0.01
"""Nor a principal point that is so little off, as a share of half the central square."""


@dataclass(frozen=True)
class Comparison:
    """A found camera beside the trained one."""

    shift: np.ndarray
    """(3,) of the found from the trained, in the base's frame [m]."""
    turn: np.ndarray
    """(3,) likewise, about each axis [rad]: of where the pictures' middles look."""
    focal_scale: float
    inside: dict[str, bool]
    """Whether position, turn, focal length and distortion lie where training drew them, as far as can be told."""
    instruction: str


def compared(found: FoundCamera, trained: Pinhole, ranges: RandomizationRanges) -> Comparison:
    """``found`` beside ``trained``, whose episodes drew their cameras from ``ranges``."""
    camera = found.camera
    shift, turn = camera.position - trained.position, turn_of(camera.aimed @ trained.aimed.T)
    scale = camera.focal / trained.focal * trained.half / camera.half
    bent = camera.distortion + camera.distortion_2  # at the edge of what a policy sees, where r = 1
    inside = {
        "position": _within(shift, ranges.camera_position, found.position_interval, SMALL_MM / 1e3),
        "turn": _within(turn, ranges.camera_rotation, found.turn_interval, math.radians(SMALL_DEGREES)),
        "focal_length": _within(scale, ranges.focal_length, found.focal_interval, SMALL_LENS),
        "distortion": _within(bent, ranges.distortion, max(found.distortion_interval), SMALL_LENS),
    }
    return Comparison(shift, turn, scale, inside, instruction(camera, trained, scale))


def _within(value: Any, limits: tuple[float, float], interval: Any, small: float) -> bool:
    """Whether all of a value may lie within ``limits``, given its interval, which counts no more than half of what lies
    between them: nobody is inside for being unsure."""
    low, high = limits
    slack = np.minimum(interval, 0.5 * (high - low)) + small
    return bool(np.all((value + slack >= low) & (value - slack <= high)))


def instruction(camera: Pinhole, trained: Pinhole, focal_scale: float) -> str:
    """What brings ``camera`` to where ``trained`` is: along the base's axes, then as seen from behind the camera."""
    move = 1e3 * (trained.position - camera.position)
    tilt, pan, roll = np.degrees(turn_of(camera.aimed.T @ trained.aimed))
    parts = [f"move it {value:+.0f} mm along {axis}" for value, axis in zip(move, "xyz", strict=True) if _tells(value)]
    for angle, more, less in ((tilt, "tilt it up", "tilt it down"), (pan, "turn it right", "turn it left")):
        if abs(angle) >= SMALL_DEGREES:
            parts.append(f"{more if angle > 0 else less} by {abs(angle):.1f} degrees")
    if abs(roll) >= SMALL_DEGREES:
        parts.append(f"roll it {'clockwise' if roll > 0 else 'counter-clockwise'} by {abs(roll):.1f} degrees")
    said = "; ".join(parts) or "leave it where it is"
    if abs(focal_scale - 1) > SMALL_LENS:
        said += f"; its picture shows things {100 * (focal_scale - 1):+.0f} % larger than training's: zoom or crop"
    return said[0].upper() + said[1:] + "."


def _tells(millimetres: float) -> bool:
    return abs(millimetres) >= SMALL_MM


def training_ranges(training: dict[str, Any]) -> RandomizationRanges:
    """What the run that trained a policy drew; nominal ones where ``policy.yaml`` does not say."""
    return get_ranges(str(training.get("randomization", "nominal")))


def doubt(found: FoundCamera) -> str:
    """What is not to be believed, in a sentence; empty where there is nothing."""
    if not found.bounded:
        return ""
    what = ", ".join(name.replace("_", " ") for name in found.bounded)
    return (
        f"Its {what} ended on the bound at which a lens folds within the picture: its interval is not to be "
        "believed, and the edges of rectified pictures are off, too; larger pictures or a board (--lens) tell more."
    )


def said(found: FoundCamera, comparison: Comparison) -> str:
    """A few lines for the terminal."""
    camera = found.camera
    outside = [name.replace("_", " ") for name, inside in comparison.inside.items() if not inside]
    aside = np.hypot(*camera.offset)
    middle = f"\nIts axis is {aside:.0f} px from the picture's middle; where that looks is what is compared and told."
    where = f"outside in {', '.join(outside)}" if outside else "inside"
    fits = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in found.error.items())
    interval = 1e3 * float(np.linalg.norm(found.position_interval))
    turn, unsure = (math.degrees(float(np.linalg.norm(x))) for x in (comparison.turn, found.turn_interval))
    return (
        f"The camera is {1e3 * float(np.linalg.norm(comparison.shift)):.1f} ± {interval:.1f} mm and {turn:.2f} ± "
        f"{unsure:.2f} degrees from the trained one, its focal length "
        f"{comparison.focal_scale:.3f} ± {found.focal_interval:.3f} of it ({fits}).\n"
        f"That is {where} of what training drew. {comparison.instruction}"
        f"{middle if aside >= ASIDE * camera.half else ''}" + (f"\n{doubt(found)}" if found.bounded else "")
    )


def write_camera(path: Path, found: FoundCamera, trained: Pinhole, comparison: Comparison) -> None:
    """Write ``camera.yaml``; renamed into place."""
    camera = found.camera
    data = plain(camera) | {
        INTERVALS: {
            "position_m": _plain(found.position_interval),
            "turn_degrees": _plain(np.degrees(found.turn_interval)),
            "focal_length": found.focal_interval,
            "principal_point_px": _plain(found.middle_interval),
            "distortion": _plain(found.distortion_interval),
        },
        **({DOUBT: doubt(found)} if found.bounded else {}),
        "error": {name: float(value) for name, value in found.error.items()},
        "used": found.used,
        "from_training": {
            "position_mm": _plain(1e3 * comparison.shift),
            "turn_degrees": _plain(np.degrees(comparison.turn)),
            "focal_length": float(comparison.focal_scale),
            "inside": comparison.inside,
        },
        "instruction": comparison.instruction,
        TRAINED: plain(trained),
    }
    part = path.with_name(f"{path.name}.part")
    part.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None))
    os.replace(part, path)


def _plain(values: Any) -> Any:
    return np.round(np.asarray(values, dtype=float), 6).tolist()
