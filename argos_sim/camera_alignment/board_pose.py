"""The camera from pictures of a board, and the board's place from the fingertip on its corners.

Pictures of the board in several places and tilts tell focal length, principal point, k₁ and k₂ (Zhang 2000); with
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
from argos_sim.camera_alignment.found import FoundCamera, KnownLens
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
BENT, ASIDE = 0.01, 0.02
"""Standard deviations that are assumed where the lens is not found: of k₁, and of the principal point as a share of the
width."""
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
    recording: Recording,
    placing: Placing,
    board: Board,
    trained: Pinhole,
    focal: float | None = None,
    known: KnownLens | None = None,
) -> FoundCamera:
    """The camera that took ``recording``, in whose ``placed`` picture (or only one) the board lies as ``placing`` says.

    Args:
        trained: gives the lens where too few pictures do.
        focal: known focal length [pixels].
        known: a lens that was found before.

    Raises:
        ValueError: no board is seen where it must be.
    """
    seen = [board.find(picture) for picture in recording.pictures]
    name = recording.placed or recording.files[-1]
    places, pixels = seen[recording.files.index(name)]
    if not len(places):
        raise ValueError(f"No board is seen in {name}: is it whole, flat, sharp and evenly lit, and printed by this?")
    views = [view for view in seen if len(view[0])]
    lens, covariance = _lens(views, trained, focal) if known is None else _known(known, trained)
    camera = _posed(lens, placing.points(places), pixels)
    spread_of_pose = _spread(camera, placing, places, pixels, covariance)
    error = np.linalg.norm(camera.project(placing.points(places)) - pixels, axis=1)
    spread = 1.96 * np.sqrt(np.diag(covariance))
    return FoundCamera(
        camera=camera,
        position_interval=1.96 * spread_of_pose[3:],
        turn_interval=1.96 * spread_of_pose[:3],
        focal_interval=float(spread[0]) / camera.focal,
        middle_interval=spread[1:3],
        distortion_interval=(float(spread[3]), float(spread[4])),
        error={"reprojection_px": float(np.sqrt((error**2).mean())), "touches_mm": 1e3 * placing.error},
        used={"way": "board", "pictures": len(views), "corners": len(places), "touches": len(recording.touches)},
    )


def _known(known: KnownLens, trained: Pinhole) -> tuple[Pinhole, np.ndarray]:
    lens = known.of(trained)
    sigmas = [known.focal * lens.focal, known.middle, known.middle, *known.distortion]
    return lens, np.diag(np.square(sigmas))


def _lens(
    views: list[tuple[np.ndarray, np.ndarray]], trained: Pinhole, focal: float | None
) -> tuple[Pinhole, np.ndarray]:
    """The lens, and the covariance (5, 5) of its focal length, principal point [pixels], k₁ and k₂."""
    if len(views) < SEVERAL:
        guess = 0.05 * trained.focal if focal is None else 0.005 * focal
        aside = ASIDE * trained.width
        return replace(trained, focal=focal or trained.focal), np.diag(np.square([guess, aside, aside, BENT, 0.0]))
    flags = cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3
    flags |= cv2.CALIB_USE_INTRINSIC_GUESS
    flags |= 0 if focal is None else cv2.CALIB_FIX_FOCAL_LENGTH
    begin = focal or trained.focal
    matrix = np.array([[begin, 0, trained.middle[0]], [0, begin, trained.middle[1]], [0, 0, 1]])
    error, matrix, bent, turns, shifts = cv2.calibrateCamera(
        [places.astype(np.float32) for places, _ in views],
        [pixels.astype(np.float32) for _, pixels in views],
        (trained.width, trained.height),
        matrix,
        np.zeros(5),
        flags=flags,
    )
    offset = matrix[:2, 2] - trained.middle + trained.offset
    straight = replace(trained, focal=float(matrix[0, 0]), offset=(float(offset[0]), float(offset[1])))
    k1, k2 = bent.ravel()[:2]
    lens = straight.with_opencv_distortion(float(k1), float(k2))
    parts = [cv2.projectPoints(views[i][0], turns[i], shifts[i], matrix, bent)[1] for i in range(len(views))]
    return lens, _lens_covariance(parts, error, lens, focal)


def _lens_covariance(parts: list[np.ndarray], noise: float, lens: Pinhole, focal: float | None) -> np.ndarray:
    """Of a lens that views of a board told, each by OpenCV's derivatives (2M, 15) by turn, shift and lens: where the
    views were is unknown, too (Schur's complement)."""
    total = np.zeros((5, 5))
    for part in parts:
        where, by_lens = part[:, :6], np.c_[part[:, 6:8].sum(1), part[:, 8:12]]  # one focal length for both axes
        left = by_lens - where @ np.linalg.lstsq(where, by_lens, rcond=None)[0]
        total += left.T @ left
    kept = slice(0 if focal is None else 1, None)
    covariance = np.zeros((5, 5))
    covariance[kept, kept] = noise**2 * np.linalg.inv(total[kept, kept])
    if focal is not None:
        covariance[0, 0] = (0.005 * focal) ** 2
    scale = (lens.half / lens.focal) ** 2  # of k₁ as ``Pinhole`` counts it
    units = np.array([1, 1, 1, scale, scale**2])
    return covariance * np.outer(units, units)


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


def _spread(
    camera: Pinhole, placing: Placing, places: np.ndarray, pixels: np.ndarray, lens_covariance: np.ndarray
) -> np.ndarray:
    """Standard deviations (6,) of the camera's turn and position: of corners, of the lens, and of the board's place."""
    points = placing.points(places)
    step = 1e-5
    there = camera.project(points)
    columns = [((_moved(camera, step * one).project(points) - there) / step).ravel() for one in np.eye(6)]
    inverse = np.linalg.pinv(np.stack(columns, -1))
    noise = max(float((there - pixels).std()), CORNER_NOISE)
    total = noise**2 * inverse @ inverse.T
    for focal, right, down, k1, k2 in _roots(lens_covariance):
        other = replace(
            camera,
            focal=camera.focal + focal,
            offset=(camera.offset[0] + right, camera.offset[1] + down),
            distortion=camera.distortion + k1,
            distortion_2=camera.distortion_2 + k2,
        )
        change = inverse @ (other.project(points) - there).ravel()
        total += np.outer(change, change)
    for x, y, yaw in _roots(placing.covariance):
        other = replace(placing, x=placing.x + x, y=placing.y + y, yaw=placing.yaw + yaw)
        moved = _posed(camera, other.points(places), there)
        change = np.append(turn_of(moved.rotation @ camera.rotation.T), moved.position - camera.position)
        total += np.outer(change, change)
    return np.sqrt(np.diag(total))


def _roots(covariance: np.ndarray) -> np.ndarray:
    """Independent steps (K, K), one a row, whose squares add up to ``covariance`` (K, K)."""
    sizes = np.sqrt(np.maximum(np.diag(covariance), 1e-30))
    values, vectors = np.linalg.eigh(covariance / np.outer(sizes, sizes))
    return (np.sqrt(np.maximum(values, 0.0)) * vectors).T * sizes
