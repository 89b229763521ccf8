"""The camera from which the simulated arm covers in every posture what the real arm covers in the pictures.

The arm's outline is drawn, how far it is from the one in the picture is brought to zero by Gauss and Newton's method,
and it is drawn anew (Drummond & Cipolla 2002). It begins coarse and from many cameras about the trained one, with
distances to what differs in the pictures (chamfer matching, Barrow 1977), and ends with edges measured to fractions of
a pixel, those of the foot among them, which no joint moves. Unknown beside the camera's pose are its focal length, its
principal point, k₁, k₂ and constant errors of the joints' read-outs; about these it is known beforehand how large they
may be, or of a lens that was found before how well. What the pictures cannot tell apart, the interval says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from argos_sim.camera_alignment.checks import check_joints, check_masks, check_stillness
from argos_sim.camera_alignment.edges import Edges, Field, derivatives
from argos_sim.camera_alignment.foreground import foreground
from argos_sim.camera_alignment.found import FoundCamera, KnownLens
from argos_sim.camera_alignment.recording import Recording
from argos_sim.camera_alignment.silhouette import MOVING, STILL, ArmModel, Rim
from argos_sim.camera_alignment.unknowns import DISTORTION, FOCAL, JOINTS, MIDDLE, State
from argos_sim.deploy.pinhole import Pinhole

COVERED = 0.4
"""Where the arm is in more of the postures than this, the median of the pictures is no background."""
MATCHED = 0.6
"""Overlap of drawn and seen arm, below which they do not match."""
WELL = 0.78
"""Overlap in small pictures at which no other start is tried."""
LAST_REACH = 2.0
"""Of the last rounds [pixels]."""
ROUGH_DAMPING, FINE_DAMPING = 1e-3, 1e-6
"""Of a step (Marquardt's), as a share of each unknown's own precision. With more of it the last rounds leave on its way
what is told but weakly: focal length against distance."""


@dataclass(frozen=True)
class MatchingSettings:
    """How the search goes."""

    focal_prior: float = 0.3
    """Standard deviation of the log of the focal length about the trained one."""
    distortion_prior: tuple[float, float] = (0.1, 0.02)
    """Of k₁ and of k₂."""
    middle_prior: float = 0.04
    """Of the principal point along each axis, in halves of the central square: 10 pixels of 640 × 480."""
    joint_prior: float = 0.005
    """Of the joints' constant errors [rad]."""
    noise: float = 1.0
    """Of an outline's point, as many of them are independent [pixels]."""
    starts: int = 24
    start_shift: float = 0.06
    """Half-width of the starts' offsets [m] ..."""
    start_turn: float = 0.1
    """... and turns [rad]."""
    coarse: int = 60
    """Rows, at least, of the coarse search's pictures."""
    seed: int = 0


@dataclass(frozen=True)
class Normal:
    """One posture's part of the normal equations."""

    matrix: np.ndarray
    vector: np.ndarray
    error: float
    """Median distance of its outlines [pixels]."""


class Matching:
    """What was seen in N postures (N, J), and the search for its camera.

    Args:
        seen: (N, H, W) bool, where the arm is.
        edges: how outlines are measured once they are near; None where ``seen`` alone is to be used.
    """

    def __init__(
        self,
        arm: ArmModel,
        seen: np.ndarray,
        edges: Edges | None,
        joints: np.ndarray,
        trained: Pinhole,
        cfg: MatchingSettings,
    ) -> None:
        self.arm, self.seen, self.edges, self.joints, self.trained, self.cfg = arm, seen, edges, joints, trained, cfg
        self.fields = [Field(mask) for mask in seen]
        self.unknowns = JOINTS + joints.shape[1]
        sigmas = [np.inf] * 6 + [cfg.focal_prior, *cfg.distortion_prior] + [cfg.middle_prior * trained.half] * 2
        self._prior = 1 / np.square(sigmas + [cfg.joint_prior] * joints.shape[1])

    def drawn(self, state: State) -> list[np.ndarray]:
        """``ArmModel.look`` at each posture."""
        return [self.arm.look(state.camera, q + state.bias) for q in self.joints]

    def overlap(self, drawn: list[np.ndarray]) -> float:
        """Intersection over union of drawn and seen arm, where the background is known."""
        moving = np.stack([what == MOVING for what in drawn])
        known = moving.mean(0) <= COVERED
        both, either = (moving & self.seen)[:, known].sum(), (moving | self.seen)[:, known].sum()
        return float(both / max(1, either))

    def normals(self, state: State, drawn: list[np.ndarray], reach: float, fine: bool) -> list[Normal]:
        """Normal equations of each posture and, where fine, of the foot; what is farther than ``reach`` [pixels] from
        the seen outline counts nothing, after Tukey."""
        covered = np.mean([what == MOVING for what in drawn], 0)
        known = ndimage.maximum_filter(covered, 5) <= COVERED
        found = []
        for i, (q, shows) in enumerate(zip(self.joints, drawn, strict=True)):
            rim = self.arm.rim(state.camera, q + state.bias, known, shows)
            if fine and self.edges is not None:
                normals, residual = rim.normals, -self.edges.offsets(i, rim.pixels, rim.normals)
            else:
                normals, residual = self.fields[i].offsets(rim.pixels)
            found.append(self._normal(state, rim, normals, residual, reach))
        if fine and self.edges is not None:
            rim = self.arm.rim(state.camera, self.joints[0] + state.bias, known, drawn[0], of=STILL)
            residual = -self.edges.offsets_of_foot(rim.pixels, rim.normals)
            found.append(self._normal(state, rim, rim.normals, residual, reach))
        return found

    def _normal(self, state: State, rim: Rim, normals: np.ndarray, residual: np.ndarray, reach: float) -> Normal:
        near = np.abs(residual) < reach  # false where nothing was found
        residual, jacobian = residual[near], np.einsum("mi,mik->mk", normals, derivatives(state.camera, rim))[near]
        weight = np.square(1 - np.square(residual / reach)) / self.cfg.noise**2
        error = float(np.median(np.abs(residual))) if len(residual) else np.nan
        return Normal((jacobian.T * weight) @ jacobian, -(jacobian.T * weight) @ residual, error)

    def prior(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Precisions (11 + J,) of what is known beforehand, and how far the state is from that (11 + J,)."""
        away = np.zeros(self.unknowns)
        camera, known = state.camera, self.trained
        away[FOCAL] = np.log(camera.focal / known.focal)
        away[DISTORTION] = camera.distortion - known.distortion
        away[DISTORTION + 1] = camera.distortion_2 - known.distortion_2
        away[MIDDLE:JOINTS], away[JOINTS:] = np.subtract(camera.offset, known.offset), state.bias
        return self._prior, away

    def improved(self, state: State, reaches: np.ndarray, free: int, fine: bool = False) -> State:
        """After a round of Gauss and Newton with each of ``reaches`` [pixels]; the first ``free`` unknowns move."""
        damping = FINE_DAMPING if fine else ROUGH_DAMPING
        for reach in reaches:
            parts = self.normals(state, self.drawn(state), reach, fine)
            precision, away = self.prior(state)
            matrix = sum(part.matrix for part in parts) + np.diag(precision)
            vector = sum(part.vector for part in parts) - precision * away
            matrix = matrix + damping * np.diag(np.diag(matrix)) + 1e-9 * np.eye(len(vector))
            step = np.zeros(self.unknowns)
            step[:free] = np.linalg.solve(matrix[:free, :free], vector[:free])
            longest = max(1.0, float(np.abs(step[:3]).max()) / 0.1, float(np.abs(step[3:6]).max()) / 0.1)
            state = state.moved(step / longest)
        return state

    def covariance(self, state: State, parts: list[Normal]) -> np.ndarray:
        """Of the unknowns (11 + J, 11 + J)."""
        matrices, vectors = (np.stack([getattr(part, name) for part in parts]) for name in ("matrix", "vector"))
        return jackknife(matrices, vectors, np.diag(self.prior(state)[0]))


def jackknife(matrices: np.ndarray, vectors: np.ndarray, beliefs: np.ndarray) -> np.ndarray:
    """Covariance (K, K) of what solves N postures' normal equations (N, K, K), (N, K) with the precision ``beliefs``
    (K, K) of what is known beforehand: how far it moves as each posture is left out (Efron 1982), one step each.

    With hardly more postures than unknowns the solution follows what is wrong in each, so that White's sandwich,
    which asks how they disagree about it, tells half of its error.
    """
    whole, count = matrices.sum(0) + beliefs, len(vectors)
    moved = np.stack([np.linalg.solve(whole - own, vector) for own, vector in zip(matrices, vectors, strict=True)])
    moved = moved - moved.mean(0)
    inverse = np.linalg.inv(whole)
    return (count - 1) / count * moved.T @ moved + inverse @ beliefs @ inverse


def match(
    recording: Recording,
    arm: ArmModel,
    trained: Pinhole,
    cfg: MatchingSettings | None = None,
    lens: KnownLens | None = None,
) -> FoundCamera:
    """The camera that took ``recording``.

    Args:
        trained: where to begin; its pictures have the recording's size.
        lens: what is known of the camera's.

    Raises:
        ValueError: too few postures, an arm or a picture that never moved, a camera that did, or no match.
    """
    cfg = cfg or MatchingSettings()
    if lens is not None:
        lens = lens.beside(trained, cfg.distortion_prior)
        trained = lens.of(trained)
        half = trained.half
        cfg = replace(cfg, focal_prior=lens.focal, distortion_prior=lens.distortion, middle_prior=lens.middle / half)
    check_joints(recording)
    seen = foreground(recording.pictures)
    check_masks(recording, seen)
    begin = State(trained, np.zeros(recording.joints.shape[1]))
    state = _coarse(arm, seen, recording.joints, begin, cfg)
    fine = Matching(arm, seen, Edges(recording.pictures), recording.joints, trained, cfg)
    state = fine.improved(state, np.geomspace(12.0, 6.0, 2), fine.unknowns)
    state = fine.improved(state, np.geomspace(4.0, LAST_REACH, 5), fine.unknowns, fine=True)
    drawn = fine.drawn(state)
    overlap = fine.overlap(drawn)
    parts = fine.normals(state, drawn, LAST_REACH, True)
    errors = np.array([part.error for part in parts[:-1]])
    if overlap < MATCHED:
        raise ValueError(
            f"The simulated arm covers only {100 * overlap:.0f} % of what moved in the pictures: are joints' signs and "
            "zeros right (--limp), is the camera within about 10 cm and 10 degrees, and did only the arm move?"
        )
    check_stillness(recording, seen, drawn, errors)
    half_width = 1.96 * np.sqrt(np.diag(fine.covariance(state, parts)))
    return FoundCamera(
        camera=state.camera,
        position_interval=half_width[3:6],
        turn_interval=half_width[0:3],
        focal_interval=float(half_width[FOCAL]),
        middle_interval=half_width[MIDDLE:JOINTS],
        distortion_interval=(float(half_width[DISTORTION]), float(half_width[DISTORTION + 1])),
        bounded=("distortion",) if state.bounded else (),
        error={"outline_px": float(np.nanmedian(errors)), "overlap": overlap},
        used={
            "way": "arm",
            "postures": len(seen),
            "joint_errors_rad": dict(zip(recording.joint_names, np.round(state.bias, 4).tolist(), strict=True)),
        },
    )


def _coarse(arm: ArmModel, seen: np.ndarray, joints: np.ndarray, begin: State, cfg: MatchingSettings) -> State:
    """The best of many starts, on smaller pictures."""
    every = max(1, min(seen.shape[1:]) // cfg.coarse)
    height, width = (side // every * every for side in seen.shape[1:])
    rows, cols = height // every, width // every
    small = seen[:, :height, :width].reshape(len(seen), rows, every, cols, every).mean((2, 4)) > 0.5
    x, y = begin.camera.offset
    camera = replace(
        begin.camera, height=rows, width=cols, focal=begin.camera.focal / every, offset=(x / every, y / every)
    )
    search, rng = Matching(arm, small, None, joints, camera, cfg), np.random.default_rng(cfg.seed)
    best, highest = replace(begin, camera=camera), -1.0
    for number in range(cfg.starts):
        step = np.zeros(search.unknowns)
        if number:
            step[0:3] = rng.uniform(-cfg.start_turn, cfg.start_turn, 3)
            step[3:6] = rng.uniform(-cfg.start_shift, cfg.start_shift, 3)
        reaches = np.geomspace(0.4, 0.08, 6) * rows
        state = search.improved(replace(begin, camera=camera).moved(step), reaches, FOCAL + 1)
        overlap = search.overlap(search.drawn(state))
        if overlap > highest:
            best, highest = state, overlap
        if highest > WELL:
            break
    best = search.improved(best, np.geomspace(6.0, 3.0, 4), FOCAL + 1)
    own = {name: getattr(begin.camera, name) for name in ("height", "width", "offset")}
    return replace(best, camera=replace(best.camera, focal=best.camera.focal * every, **own))
