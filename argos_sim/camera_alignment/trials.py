"""How well hidden cameras are found: pictures of the simulated arm or a board, with noise, blur and wrong joints."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
import torch
from scipy import ndimage

from argos_sim.camera_alignment.board import Board
from argos_sim.camera_alignment.board_pose import Placing, board_camera, touched_placing
from argos_sim.camera_alignment.found import FoundCamera, apart, trained_camera
from argos_sim.camera_alignment.matching import match
from argos_sim.camera_alignment.postures import chosen_postures
from argos_sim.camera_alignment.recording import Recording
from argos_sim.camera_alignment.silhouette import NOTHING, ArmModel
from argos_sim.deploy.body import Chain
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rotations import turn_of, turned
from argos_sim.mujoco_c.camera import RayCamera
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.backgrounds import composite, make_background_bank
from argos_sim.randomization.ranges import TRAIN_FAMILIES


@dataclass(frozen=True)
class TrialSettings:
    """How far from the trained camera the hidden ones are, and how bad the senses."""

    height: int = 480
    width: int = 640
    shift: float = 0.05
    """Half-width along each axis [m]."""
    turn: float = 0.0873
    """Half-width about each axis [rad]: 5 degrees."""
    focal_scale: float = 1.0
    """Middle of the hidden focal lengths in the trained one's, and their ..."""
    focal: float = 0.05
    """... half-width, relative."""
    principal_point: float = 0.0
    """Half-width along each axis of how far it is from the picture's middle [pixels]."""
    distortion: tuple[float, float] = (0.0, 0.0)
    """From and to, of k₁ as OpenCV counts it, ..."""
    distortion_2: tuple[float, float] = (0.0, 0.0)
    """... and of k₂."""
    postures: int = 14
    pixel_noise: float = 5.0
    """Standard deviation of the sensor's (of 255)."""
    blur: float = 0.7
    """Standard deviation [pixels]."""
    joint_noise: float = 0.0008
    """Standard deviation of a read-out [rad]."""
    joint_bias: float = 0.0
    """Half-width of each joint's constant error [rad]."""
    lens_from_board: bool = False
    """Whether the arm's way is told the lens that pictures of a board gave before."""
    touch_noise: float = 0.001
    """Standard deviation along each axis of a fingertip that a hand brings to a corner [m]."""


WEBCAM: dict[str, Any] = {"principal_point": 15.0, "distortion": (-0.2, 0.1), "distortion_2": (-0.05, 0.05)}
"""What the lens of a usual webcam may be wrong by, of 640 × 480 pixels."""
WIDE: dict[str, Any] = WEBCAM | {"focal_scale": 0.55, "distortion": (-0.35, -0.25), "distortion_2": (0.08, 0.14)}
"""What a wide one's may: about 100 degrees from corner to corner, and bent nearly as a fisheye."""


def hidden_camera(trained: Pinhole, cfg: TrialSettings, rng: np.random.Generator) -> Pinhole:
    """A camera that is to be found."""
    straight = replace(
        trained,
        position=trained.position + rng.uniform(-cfg.shift, cfg.shift, 3),
        rotation=turned(rng.uniform(-cfg.turn, cfg.turn, 3)) @ trained.rotation,
        focal=trained.focal * cfg.focal_scale * (1 + rng.uniform(-cfg.focal, cfg.focal)),
    )
    bent = straight.with_opencv_distortion(rng.uniform(*cfg.distortion), rng.uniform(*cfg.distortion_2))
    right, down = rng.uniform(-cfg.principal_point, cfg.principal_point, 2)
    return replace(bent, offset=(float(right), float(down)))


def developed(picture: np.ndarray, cfg: TrialSettings, rng: np.random.Generator) -> np.ndarray:
    """A picture (H, W, 3) as a sensor gives it: blurred and noisy."""
    soft = ndimage.gaussian_filter(picture.astype(float), (cfg.blur, cfg.blur, 0))
    return (soft + cfg.pixel_noise * rng.standard_normal(picture.shape)).clip(0, 255).round().astype(np.uint8)


class Sitter:
    """The arm of ``world`` before a hidden camera and a random background."""

    def __init__(self, world: World, camera: Pinhole, seed: int) -> None:
        self.arm, self.hidden = ArmModel(world), camera
        size = (camera.height, camera.width)
        self._ray = RayCamera(self.arm.model, size, world.camera, world.aperture, {"base": 1})
        generator = torch.Generator().manual_seed(seed)
        bank = make_background_bank(TRAIN_FAMILIES, len(TRAIN_FAMILIES), size, generator)
        self._background = bank[seed % len(bank)]

    def picture(self, joints: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 of the arm in a posture."""
        where = ndimage.binary_dilation(self.arm.look(self.hidden, joints) != NOTHING, iterations=2)
        mujoco.mj_forward(self.arm.model, self.arm.data)
        rgb, classes = self._ray.render_from(self.arm.data, self.hidden, where=where)
        seen, arm = torch.from_numpy(rgb)[None], torch.from_numpy(classes > 0)[None]
        return composite(seen, arm, self._background[None])[0].permute(1, 2, 0).numpy()


def arm_recording(world: World, cfg: TrialSettings, seed: int) -> tuple[Recording, Pinhole]:
    """Pictures of postures from a hidden camera, and that camera."""
    rng, trained = np.random.default_rng(seed), trained_camera(world, cfg.height, cfg.width)
    hidden = hidden_camera(trained, cfg, rng)
    sitter = Sitter(world, hidden, seed)
    postures = chosen_postures(sitter.arm, trained, cfg.postures, seed)
    pictures = np.stack([developed(sitter.picture(q), cfg, rng) for q in postures])
    bias = rng.uniform(-cfg.joint_bias, cfg.joint_bias, postures.shape[1])
    read = postures + bias + cfg.joint_noise * rng.standard_normal(postures.shape)
    files = tuple(f"{i:02d}.png" for i in range(len(postures)))
    return Recording(world.joint_names, files, pictures, read), hidden


FINE = 3
"""Rays along each side of a pixel of a board."""
LAID, REACHED = 8, 0.002
"""Pictures of a board elsewhere, for the lens; and how near the fingertip comes to a corner [m]."""


def board_picture(camera: Pinhole, board: Board, rotation: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(H, W, 3) float of a board whose corner A is at ``origin`` (3,) [m] and whose axes are the columns of
    ``rotation`` (3, 3), before grey."""
    sheet, dots = np.pad(board.image(4).astype(float), 60, constant_values=255.0), 4000.0
    ends = np.array([[x, y] for x in (0, sheet.shape[1]) for y in (0, sheet.shape[0])]) / dots - 60 / dots
    around = camera.project(origin + ends @ rotation[:, :2].T)
    pixels = camera.pixels()
    near = ((pixels > around.min(0) - 4) & (pixels < around.max(0) + 4)).all(1)
    step, total = (np.arange(FINE) + 0.5) / FINE - 0.5, np.full(len(pixels), 120.0 * FINE**2)
    total[near] = 0.0
    for right in step:
        for down in step:
            rays = camera.directions(pixels[near] + np.array([right, down])) @ camera.rotation.T
            far = ((origin - camera.position) @ rotation[:, 2]) / (rays @ rotation[:, 2])
            place = (camera.position + far[:, None] * rays - origin) @ rotation[:, :2] * dots + 59.5
            total[near] += ndimage.map_coordinates(sheet, [place[:, 1], place[:, 0]], order=1, cval=120.0)
    grey = 20 + 0.85 * total.reshape(camera.height, camera.width) / FINE**2
    return np.repeat(grey[..., None], 3, 2)


def reaching(chain: Chain, target: np.ndarray, begin: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Joints (J,) [rad] within ``limits`` (J, 2) whose fingertip is at ``target`` (3,) [m], by damped least squares."""
    q = begin.copy()
    for _ in range(200):
        tip, jacobian = chain.tip_and_jacobian(q)
        step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(3), target - tip)
        q = np.clip(q + 0.5 * step, limits[:, 0], limits[:, 1])
    return q


def board_recording(
    world: World, manifest: PolicyManifest, cfg: TrialSettings, seed: int, board: Board
) -> tuple[Recording, Pinhole]:
    """Pictures of a board from a hidden camera, the last of them where its corners were touched, and that camera."""
    assert manifest.body is not None
    rng, trained = np.random.default_rng(seed), trained_camera(world, cfg.height, cfg.width)
    hidden, chain = hidden_camera(trained, cfg, rng), Chain(manifest.body)
    limits = np.array(manifest.joint_limits)
    bias = rng.uniform(-cfg.joint_bias, cfg.joint_bias, len(limits))
    laid = _laid(hidden, board, rng)
    touches = {}
    for name, corner in board.corners.items():
        target = laid.points(corner)
        q = reaching(chain, target + cfg.touch_noise * rng.standard_normal(3), np.array(world.ready), limits)
        if np.linalg.norm(chain.tip_and_jacobian(q)[0] - target) < REACHED + 4 * cfg.touch_noise:
            touches[name] = q + bias + cfg.joint_noise * rng.standard_normal(len(q))
    views = [_held(hidden, board, rng) for _ in range(LAID)]
    across = laid.points(np.eye(3)) - laid.points(np.zeros(3))
    views.append((np.column_stack([across[0], across[1], [0, 0, -1.0]]), laid.points(np.zeros(3))))
    pictures = np.stack([developed(board_picture(hidden, board, *view), cfg, rng) for view in views])
    files = tuple(f"{i:02d}.png" for i in range(len(views)))
    unread = np.full((len(views), len(limits)), np.nan)
    return Recording(world.joint_names, files, pictures, unread, touches, files[-1]), hidden


def _laid(camera: Pinhole, board: Board, rng: np.random.Generator, tries: int = 200) -> Placing:
    """A board on the table before the arm, of which the camera sees as much as may be."""
    middle = np.array([0.5 * board.columns * board.square, -0.5 * board.rows * board.square])
    corners, best, most = np.array(list(board.corners.values())), None, -math.inf
    for _ in range(tries):
        yaw, centre = rng.uniform(-0.3, 0.3), np.array([rng.uniform(-0.05, 0.05), rng.uniform(-0.28, -0.18)])
        turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
        x, y = centre - turn @ middle
        laid = Placing(float(x), float(y), yaw, np.zeros((3, 3)))
        pixels = camera.project(laid.points(corners))
        room = min(pixels.min(), (np.array([camera.width, camera.height]) - 1 - pixels).min())
        if room > most:
            best, most = laid, room
        if most > 5:
            break
    assert best is not None
    return best


def _held(camera: Pinhole, board: Board, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Axes and corner A of a board held before the camera, tilted by up to 35 degrees."""
    rotation = camera.rotation @ turned(rng.uniform(-0.6, 0.6, 3))
    aim = np.append(rng.uniform(-0.1, 0.1, 2), 1.0) * rng.uniform(0.6, 0.9)
    half = np.array([board.columns, board.rows, 0]) * board.square / 2
    return rotation, camera.position + camera.rotation @ aim - rotation @ half


def tried(
    world: World, manifest: PolicyManifest, way: str, cfg: TrialSettings, seed: int
) -> tuple[float, float, FoundCamera, Pinhole]:
    """How far a found camera is from the hidden one [m], [rad]; and both. ``way`` is ``arm`` or ``board``."""
    trained, by_board, hidden = trained_camera(world, cfg.height, cfg.width), None, None
    if way == "board" or cfg.lens_from_board:
        assert manifest.body is not None
        board = Board()
        recording, hidden = board_recording(world, manifest, cfg, seed, board)
        placing = touched_placing(recording.touches, board, Chain(manifest.body))
        by_board = board_camera(recording, placing, board, trained)
    if way == "board":
        assert by_board is not None and hidden is not None
        return *apart(by_board.camera, hidden), by_board, hidden
    recording, hidden = arm_recording(world, cfg, seed)
    found = match(recording, ArmModel(world), trained, lens=None if by_board is None else by_board.lens)
    return *apart(found.camera, hidden), found, hidden


def summary(
    world: World, manifest: PolicyManifest, way: str, cfg: TrialSettings, count: int, show: Callable[[str], None]
) -> dict[str, float]:
    """Errors over ``count`` hidden cameras: of place, of axis, and of where the picture's middle looks.
    Each is shown as it is found."""
    errors, inside = [], []
    for seed in range(count):
        try:
            far, angle, found, hidden = tried(world, manifest, way, cfg, seed)
        except ValueError as error:
            errors.append((math.inf,) * 3)
            show(f"{way} {seed}: {error}")
            continue
        aim = math.degrees(float(np.linalg.norm(turn_of(found.camera.aimed @ hidden.aimed.T))))
        errors.append((1e3 * far, math.degrees(angle), aim))
        inside.append(np.abs(found.camera.position - hidden.position) <= found.position_interval)
        focal = 100 * (found.camera.focal / hidden.focal - 1)
        where = f"{1e3 * far:.1f} mm, {math.degrees(angle):.2f} degrees, its middle {aim:.2f}"
        show(f"{way} {seed}: {where}, focal length {focal:+.2f} %{', on a bound' if found.bounded else ''}")
    table = np.array(errors)
    return {
        "trials": count,
        "median_mm": float(np.median(table[:, 0])),
        "worst_mm": float(table[:, 0].max()),
        "median_degrees": float(np.median(table[:, 1])),
        "worst_degrees": float(table[:, 1].max()),
        "median_degrees_of_middle": float(np.median(table[:, 2])),
        "worst_degrees_of_middle": float(table[:, 2].max()),
        "within_5mm_1degree": float(((table[:, 0] <= 5) & (table[:, 1] <= 1)).mean()),
        "position_in_interval": float(np.mean(inside)) if inside else 0.0,
    }
