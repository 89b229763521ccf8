"""Options that several scripts have, and a real arm as they name it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from argos_sim.deploy.cameras import camera_places, disconnect_all, require_delay
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import Robot
from argos_sim.deploy.senses import SenseSettings


def seed(text: str) -> int:
    """What ``--seed`` says; argparse makes a sentence of its errors, before anything begins."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 on, and no {number}")
    return number


def add_so100(parser: argparse.ArgumentParser) -> None:
    """Options that name an arm."""
    parser.add_argument("--port", default="/dev/ttyACM0", help="so100: of the servos' bus")
    parser.add_argument("--calibration", type=Path, help="so100: lerobot's file of this arm")
    inverted = "so100: joints whose ticks fall as their angle grows"
    parser.add_argument("--inverted", nargs="*", default=[], help=inverted)


def add_cameras(parser: argparse.ArgumentParser) -> None:
    """Options that name the policy's cameras."""
    cameras = "so100: number or path of the camera, as OpenCV has it; of several, name=place of each: front=0 wrist=2"
    parser.add_argument("--camera", nargs="+", default=["0"], help=cameras)
    delay = "so100: age of a picture when it comes [s], 0.03 to 0.1 for a usual webcam"
    parser.add_argument("--camera-delay", type=float, default=0.0, metavar="S", help=delay)


def add_sight(parser: argparse.ArgumentParser) -> None:
    """How far a policy's pictures are doubted, see ``sight``."""
    limit = "pictures that show the arm further from where its joints are read are not believed; 1 is a guess"
    parser.add_argument("--sight-limit", type=_above_zero, default=1.0, metavar="L", help=f"{limit}, inf believes all")


def sense_settings(options: argparse.Namespace) -> SenseSettings:
    """What ``add_sight``'s option asks for."""
    return SenseSettings(sight=None if math.isinf(options.sight_limit) else options.sight_limit)


def _above_zero(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"it is above zero, and not {number:g}")
    return number


def so100(
    options: argparse.Namespace, manifest: PolicyManifest, cameras: Callable[[], Mapping[str, Any]] | None = None
) -> Robot:
    """The arm that ``add_so100`` names, with ``cameras``, by default those that ``add_cameras`` names.

    Raises:
        DeployError: one of them is missing or cannot be; no camera is opened where the arm is not named.
    """
    from argos_sim.deploy.lerobot_arm import LeRobotArm, LeRobotArmSettings
    from argos_sim.deploy.lerobot_cameras import opened_cameras

    if options.calibration is None:
        raise DeployError("Say with --calibration where lerobot's file of this arm is; lerobot-calibrate makes one.")
    unknown = set(options.inverted) - set(manifest.joint_names)
    if unknown:
        raise DeployError(
            f"There is no joint {sorted(unknown)[0]!r}; the policy has {', '.join(manifest.joint_names)}."
        )
    delay = getattr(options, "camera_delay", 0.0)  # no option where ``add_cameras`` was not asked
    require_delay(delay)
    if cameras is None:
        camera_places(options.camera, tuple(manifest.spec.get("cameras", ("front",))))
    if not options.calibration.is_file():  # before the cameras, which take seconds
        raise DeployError(f"There is no file {options.calibration}, which --calibration names.")
    seen = opened_cameras(options.camera, manifest) if cameras is None else cameras()
    signs, settings = dict.fromkeys(options.inverted, -1), LeRobotArmSettings(camera_delay_s=delay)
    try:
        return LeRobotArm(options.port, options.calibration, seen, manifest, signs, settings)
    except BaseException:  # nobody else knows of them
        disconnect_all(seen.values())
        raise
