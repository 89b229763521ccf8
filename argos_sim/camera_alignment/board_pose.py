"""The camera from pictures of a board, and the board's place from the fingertip on its corners.

Pictures of the board in several places and tilts tell focal length, principal point and distortion (Zhang 2000); with
one alone they are taken for those of training, or for a focal length that is given. Where the board lies relative to
the base is told by the arm: brought by hand, limp, to corners A to D, its joints and its body's kinematics say where
those are, on a table that is level with the base.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.optimize import least_squares

from argos_sim.camera_alignment.board import Board
from argos_sim.camera_alignment.found import FoundCamera
from argos_sim.camera_alignment.recording import Recording
from argos_sim.deploy.body import Chain
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rotations import turn_of, turned

SEVERAL = 5
"""Pictures of the board from which on the lens is found, too."""
TOUCHES = 3
"""Corners to be touched, at least."""
MISSED = 0.015
"""A touch may be so far from its corner [m]; more is a mistake."""
BENT = 0.02
"""Standard deviation of k₁ that is assumed where the lens is not found."""
CORNER_NOISE = 0.2
"""Of a found corner [pixels], at least."""


@dataclass(frozen=True)
class Placing:
    """Where the board lies flat on the table: its x axis leads ``yaw`` from the base's, and it is seen from above."""

    x: float
    y: float
    """Of corner A [m]."""
    yaw: float
    """[rad]."""
    covariance: np.ndarray
    """(3, 3) of the three."""
    error: float = 0.0
    """RMS distance of touches from their corners [m]."""

    def points(self, places: np.ndarray) -> np.ndarray:
        """In the base's frame (…, 3) [m], of places (…, 3) on the board, whose y leads toward its reader."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        x, y = places[..., 0], -places[..., 1]
        return np.stack([self.x + c * x - s * y, self.y + s * x + c * y, np.zeros_like(x)], -1)


def touched_placing(touches: dict[str, np.ndarray], board: Board, chain: Chain) -> Placing:
    """Where the board lies, from joints (J,) [rad] at the touch of each corner.

    Raises:
        ValueError: too few or unknown corners, or touches that do not fit the board.
    """
    unknown = sorted(set(touches) - set(board.corners))
    if unknown or len(touches) < TOUCHES:
        what = f"there is no corner {unknown[0]!r}" if unknown else f"{len(touches)} corners were touched"
        raise ValueError(f"The board's place needs the fingertip on {TOUCHES} or all of its corners A to D: {what}.")
    tips = np.array([chain.tip_and_jacobian(q)[0] for q in touches.values()])
    flat = np.array([board.corners[name] for name in touches])[:, :2] * (1, -1)
    centre, middle = tips[:, :2].mean(0), flat.mean(0)
    a, b = flat - middle, tips[:, :2] - centre
    yaw = float(np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum()))
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    x, y = centre - turn @ middle
    missed = np.linalg.norm(np.c_[b - a @ turn.T, tips[:, 2]], axis=1)  # the board lies as high as the foot
    if missed.max() > MISSED:
        name = list(touches)[int(missed.argmax())]
        raise ValueError(
            f"The touch of corner {name} is {1e3 * missed.max():.0f} mm from where the others have it: the wrong "
            "corner, a print that was scaled, a board that lies higher or lower than the arm's foot, or joints whose "
            "signs or zeros are wrong."
        )
    sigma = np.sqrt((missed**2).sum() / max(1, 2 * len(tips) - 3))
    rows = np.concatenate([np.array([[1, 0, -p[1]], [0, 1, p[0]]]) for p in flat @ turn.T])
    covariance = max(sigma, 1e-3) ** 2 * np.linalg.inv(rows.T @ rows)
    return Placing(float(x), float(y), yaw, covariance, float(np.sqrt((missed**2).mean())))


def measured_placing(x: float, y: float, yaw: float) -> Placing:
    """Where a ruler says that the board lies, to a millimetre or two and half a degree."""
    return Placing(x, y, yaw, np.diag([0.0015, 0.0015, 0.005]) ** 2)


def board_camera(
    recording: Recording, placing: Placing, board: Board, trained: Pinhole, focal: float | None = None
) -> FoundCamera:
    """The camera that took ``recording``, in whose ``placed`` picture (or only one) the board lies as ``placing`` says.

    Args:
        trained: gives the lens where too few pictures do.
        focal: known focal length [pixels].

    Raises:
        ValueError: no board is seen where it must be.
    """
    seen = [board.find(picture) for picture in recording.pictures]
    name = recording.placed or recording.files[-1]
    places, pixels = seen[recording.files.index(name)]
    if not len(places):
        raise ValueError(f"No board is seen in {name}: is it whole, flat, sharp and evenly lit, and printed by this?")
    views = [view for view in seen if len(view[0])]
    lens, spread = _lens(views, trained, focal)
    camera = _posed(lens, placing.points(places), pixels)
    spread_of_pose = _spread(camera, placing, places, pixels, spread)
    error = np.linalg.norm(camera.project(placing.points(places)) - pixels, axis=1)
    return FoundCamera(
        camera=camera,
        position_interval=1.96 * spread_of_pose[3:],
        turn_interval=1.96 * spread_of_pose[:3],
        focal_interval=1.96 * spread[0] / camera.focal,
        distortion_interval=1.96 * spread[1],
        error={"reprojection_px": float(np.sqrt((error**2).mean())), "touches_mm": 1e3 * placing.error},
        used={"way": "board", "pictures": len(views), "corners": len(places), "touches": len(recording.touches)},
    )


def _lens(views: list[tuple[np.ndarray, np.ndarray]], trained: Pinhole, focal: float | None) -> tuple[Pinhole, list]:
    """The lens, and standard deviations of focal length [pixels], k₁ and principal point [pixels]."""
    if len(views) < SEVERAL:
        guess = 0.05 * trained.focal if focal is None else 0.005 * focal
        return replace(trained, focal=focal or trained.focal), [guess, BENT, 0.01 * trained.width]
    flags = cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3
    flags |= cv2.CALIB_USE_INTRINSIC_GUESS
    flags |= 0 if focal is None else cv2.CALIB_FIX_FOCAL_LENGTH
    begin = focal or trained.focal
    matrix = np.array([[begin, 0, trained.middle[0]], [0, begin, trained.middle[1]], [0, 0, 1]])
    _, matrix, bent, _, _, spread, _, _ = cv2.calibrateCameraExtended(
        [places.astype(np.float32) for places, _ in views],
        [pixels.astype(np.float32) for _, pixels in views],
        (trained.width, trained.height),
        matrix,
        np.zeros(5),
        flags=flags,
    )
    found, half = float(matrix[0, 0]), trained.half
    # OpenCV's radius is 1 at the focal length, here at half the square.
    scale = (half / found) ** 2
    offset = matrix[:2, 2] - trained.middle + trained.offset
    lens = replace(trained, focal=found, distortion=float(bent.ravel()[0]) * scale, offset=tuple(offset))
    spread = spread.ravel()
    return lens, [max(float(spread[0]), 1e-3), float(spread[4]) * scale, float(spread[2])]


def _posed(lens: Pinhole, points: np.ndarray, pixels: np.ndarray) -> Pinhole:
    """``lens`` where ``points`` (M, 3) [m] are seen at ``pixels`` (M, 2)."""
    rays = lens.directions(pixels)
    found, turn, shift = cv2.solvePnP(
        points, rays[:, :2] / rays[:, 2:], np.eye(3), np.zeros(5), flags=cv2.SOLVEPNP_IPPE
    )
    if not found:
        raise ValueError("The board's corners in the picture fit no camera.")
    rotation = turned(turn.ravel()).T
    first = replace(lens, rotation=rotation, position=-rotation @ shift.ravel())

    def away(step: np.ndarray) -> np.ndarray:
        return (_moved(first, step).project(points) - pixels).ravel()

    return _moved(first, least_squares(away, np.zeros(6), x_scale=1e-2).x)


def _moved(camera: Pinhole, step: np.ndarray) -> Pinhole:
    """Turned about each axis [rad] and shifted along it [m] by a step (6,)."""
    return replace(camera, rotation=turned(step[:3]) @ camera.rotation, position=camera.position + step[3:])


def _spread(camera: Pinhole, placing: Placing, places: np.ndarray, pixels: np.ndarray, lens_spread: list) -> np.ndarray:
    """Standard deviations (6,) of the camera's turn and position: of corners, of the lens, and of the board's place."""
    points = placing.points(places)
    step = 1e-5
    there = camera.project(points)
    columns = [((_moved(camera, step * one).project(points) - there) / step).ravel() for one in np.eye(6)]
    inverse = np.linalg.pinv(np.stack(columns, -1))
    noise = max(float((there - pixels).std()), CORNER_NOISE)
    total = noise**2 * inverse @ inverse.T
    others = {
        "focal": replace(camera, focal=camera.focal + lens_spread[0]),
        "bent": replace(camera, distortion=camera.distortion + lens_spread[1]),
        "right": replace(camera, offset=(camera.offset[0] + lens_spread[2], camera.offset[1])),
        "down": replace(camera, offset=(camera.offset[0], camera.offset[1] + lens_spread[2])),
    }
    for other in others.values():
        change = inverse @ (other.project(points) - there).ravel()
        total += np.outer(change, change)
    values, vectors = np.linalg.eigh(placing.covariance)
    for value, vector in zip(values, vectors.T, strict=True):
        x, y, yaw = np.sqrt(max(value, 0.0)) * vector
        other = replace(placing, x=placing.x + x, y=placing.y + y, yaw=placing.yaw + yaw)
        moved = _posed(camera, other.points(places), there)
        change = np.append(turn_of(moved.rotation @ camera.rotation.T), moved.position - camera.position)
        total += np.outer(change, change)
    return np.sqrt(np.diag(total))
