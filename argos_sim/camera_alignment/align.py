"""From a recording to files: ``camera.yaml``, ``overlay.png``, and what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from argos_sim.camera_alignment.board import Board
from argos_sim.camera_alignment.board_pose import Placing, board_camera, measured_placing, touched_placing
from argos_sim.camera_alignment.found import FoundCamera, KnownLens, trained_camera
from argos_sim.camera_alignment.matching import match
from argos_sim.camera_alignment.overlay import arm_overlay, with_axes, write_picture
from argos_sim.camera_alignment.recording import Recording
from argos_sim.camera_alignment.report import compared, said, training_ranges, write_camera
from argos_sim.camera_alignment.silhouette import ArmModel
from argos_sim.deploy.body import Chain
from argos_sim.deploy.camera_file import read_camera_file
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.simulated import WORLD_FILE
from argos_sim.mujoco_c.world import World


@dataclass(frozen=True)
class Asked:
    """How a recording is to be read."""

    way: str = "arm"
    """``arm`` or ``board``."""
    board_at: tuple[float, float, float] | None = None
    """x, y [m] of corner A and yaw [rad] by a ruler; None where corners were touched."""
    focal: float | None = None
    """Known focal length [pixels], for a board."""
    lens: KnownLens | None = None
    """What was found before."""


def known_lens(path: Path) -> KnownLens:
    """The lens of an earlier ``camera.yaml``.

    Raises:
        DeployError: it is no such file, or its lens is in doubt.
    """
    file = read_camera_file(path)
    if file.doubt:
        raise DeployError(f"{path} has a lens that is in doubt: {file.doubt}")
    try:
        known = (file.intervals[name] for name in ("focal_length", "principal_point_px", "distortion"))
        return KnownLens.within(file.found, *known)
    except (KeyError, TypeError, ValueError):
        raise DeployError(f"{path} does not say how well its lens is known; find it again.") from None


def policy_world(folder: Path) -> World:
    """The scene of the policy at ``folder``: where its camera stands in training, and the shapes of its arm.

    Raises:
        ValueError: it was exported without one.
    """
    path = folder / WORLD_FILE
    try:
        return World.from_json(json.loads(path.read_text()))
    except OSError:
        raise ValueError(f"The policy at {folder} has no {WORLD_FILE}, which says where its camera stands.") from None


def align(recording: Recording, world: World, manifest: PolicyManifest, asked: Asked, out: Path) -> str:
    """Find the camera and write what is told of it to ``out``; returns a few lines for the terminal.

    Raises:
        ValueError: it cannot be found, in one sentence; nothing is written.
    """
    trained = trained_camera(world, *recording.pictures.shape[1:3])
    if asked.way == "arm":
        arm = ArmModel(world)
        found = match(recording, arm, trained, lens=asked.lens)
        picture = arm_overlay(recording.pictures, recording.joints, arm, trained, found.camera)
    else:
        found, picture = _by_board(recording, manifest, asked, trained)
    comparison = compared(found, trained, training_ranges(manifest.training))
    out.mkdir(parents=True, exist_ok=True)
    write_picture(out / "overlay.png", picture)
    write_camera(out / "camera.yaml", found, trained, comparison)
    file = out / "camera.yaml"
    rest = f"run_robot.py --camera-file {file} takes turn and lens away, but not another place."
    return f"{said(found, comparison)}\n{file}, {out / 'overlay.png'}\n{rest}"


def _by_board(
    recording: Recording, manifest: PolicyManifest, asked: Asked, trained: Pinhole
) -> tuple[FoundCamera, np.ndarray]:
    board = Board()
    placing = _placing(recording, manifest, asked, board)
    found = board_camera(recording, placing, board, trained, asked.focal, asked.lens)
    number = -1 if recording.placed is None else recording.files.index(recording.placed)
    origin = placing.points(np.zeros(3))
    axes = np.column_stack([*(placing.points(np.eye(3)[:2]) - origin), [0.0, 0.0, 1.0]])
    picture = with_axes(recording.pictures[number], found.camera, origin, axes)
    return found, with_axes(picture, found.camera, np.zeros(3), np.eye(3))


def _placing(recording: Recording, manifest: PolicyManifest, asked: Asked, board: Board) -> Placing:
    """Where the board lay, by a ruler or by touches."""
    if asked.board_at is not None:
        return measured_placing(*asked.board_at)
    if manifest.body is None:
        raise ValueError("The policy does not know its arm's body, so touches tell nothing: give --board-at.")
    return touched_placing(recording.touches, board, Chain(manifest.body))
