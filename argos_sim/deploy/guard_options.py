"""The guard's settings as the options of a script give them, and as they are told to who looks on."""

from __future__ import annotations

import argparse

import numpy as np

from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.safety import SafetySettings

CORNERS = ("X0", "Y0", "Z0", "X1", "Y1", "Z1")


def add_guard(parser: argparse.ArgumentParser) -> None:
    """Options for a run with less force, or in less room."""
    share = "largest share of the torque limits that anything may give, 0 to 1; a first run on an arm begins with 0.5"
    parser.add_argument("--torque-share", type=float, default=1.0, metavar="S", help=share)
    rate = "fastest that a torque may grow [N·m/s]; by default from none to its limit in one control step"
    parser.add_argument("--torque-rate", type=float, metavar="R", help=rate)
    box = "two corners of the room out of which no torque pushes a part of the arm [m], in the frame of its base"
    parser.add_argument("--box", type=float, nargs=6, metavar=CORNERS, help=box)


def guard_settings(options: argparse.Namespace) -> SafetySettings:
    """What ``add_guard``'s options ask for.

    Raises:
        ValueError: one of them makes no sense, in one sentence.
    """
    share, rate, box = options.torque_share, options.torque_rate, options.box
    if not 0 < share <= 1:
        raise ValueError(f"--torque-share is above 0 and at most 1, and not {share:g}.")
    if rate is not None and not 0 < rate < np.inf:
        raise ValueError(f"--torque-rate is a number above 0 [N·m/s], and not {rate:g}.")
    if box is None:
        return SafetySettings(torque_share=share, torque_rate=rate)
    plain, least = SafetySettings(), 2 * SafetySettings().wall
    given = f"--box {' '.join(f'{x:g}' for x in box)}"
    if not np.isfinite(box).all() or any(high - low < least for low, high in zip(box[:3], box[3:], strict=True)):
        raise ValueError(f"{given}: each of {' '.join(CORNERS[3:])} is to be {least:g} m or more above its first.")
    if plain.lowest is not None and box[5] <= plain.lowest + plain.wall:
        raise ValueError(f"{given} has no room above the table, which is at z = 0.")
    pairs = ((box[0], box[3]), (box[1], box[4]), (box[2], box[5]))
    return SafetySettings(torque_share=share, torque_rate=rate, box=pairs)


def told(settings: SafetySettings, manifest: PolicyManifest) -> str:
    """How the guard is stricter than by itself, and whether the arm can bear it; empty where it is not."""
    said = []
    if settings.torque_share < 1:
        said.append(f"{100 * settings.torque_share:g} % of the torque limits")
    if settings.torque_rate is not None:
        said.append(f"{settings.torque_rate:g} N·m/s")
    if settings.box is not None:
        sides = zip("xyz", settings.box, strict=True)
        said.append(f"in {', '.join(f'{name} {low:g} to {high:g}' for name, (low, high) in sides)} m")
    weight = () if manifest.body is None else manifest.body.gravity
    limits = zip(manifest.joint_names, weight, manifest.torque_limits, strict=False)
    weak = [name for name, gravity, limit in limits if gravity > settings.torque_share * limit]
    if weak:
        said.append(f"too little for {', '.join(weak)} to bear the arm wherever it is")
    return "; ".join(said)
