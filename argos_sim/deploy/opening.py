"""A real arm as the options of a script name it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import Robot


def so100(options: argparse.Namespace, manifest: PolicyManifest, cameras: Mapping[str, Any]) -> Robot:
    """The arm at ``options.port`` with ``options.calibration`` and ``options.inverted`` joints.

    Raises:
        DeployError: one of them is missing or cannot be.
    """
    from argos_sim.deploy.lerobot_arm import LeRobotArm

    check_so100(options, manifest)
    signs = dict.fromkeys(options.inverted, -1)
    return LeRobotArm(options.port, options.calibration, cameras, manifest, signs)


def check_so100(options: argparse.Namespace, manifest: PolicyManifest) -> None:
    """Raise ``DeployError`` where the options name no arm; before a camera is opened."""
    if options.calibration is None:
        raise DeployError("Say with --calibration where lerobot's file of this arm is; lerobot-calibrate makes one.")
    unknown = set(options.inverted) - set(manifest.joint_names)
    if unknown:
        raise DeployError(
            f"There is no joint {sorted(unknown)[0]!r}; the policy has {', '.join(manifest.joint_names)}."
        )
