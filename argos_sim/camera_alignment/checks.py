"""What pictures of an arm must be for a match; each check raises a ``ValueError`` in one sentence."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from argos_sim.camera_alignment.recording import Recording
from argos_sim.camera_alignment.silhouette import MOVING

POSTURES = 5
"""At least."""
MOVED = 0.15
"""A joint is elsewhere in some other picture by as much [rad], or the arm never moved."""
STRAY = 0.04
"""Share of a picture that may differ from the background though no arm is there."""
WANDERED = 3.0
"""One picture's outline may miss by so many times the median picture's, and by a pixel."""


def check_joints(recording: Recording) -> None:
    """Are there enough postures, unlike each other, and were they read?"""
    count = len(recording.pictures)
    without = [f for f, q in zip(recording.files, recording.joints, strict=True) if not np.isfinite(q).all()]
    if without:
        raise ValueError(f"The joints at {without[0]} are not known; matching the arm needs them at every picture.")
    if count < POSTURES:
        raise ValueError(f"{count} pictures are too few: matching the arm needs {POSTURES} postures, better 10.")
    if np.ptp(recording.joints, axis=0).max() < MOVED:
        raise ValueError("The arm never moved: its joints read the same at all pictures. Take it to other postures.")


def check_masks(recording: Recording, seen: np.ndarray) -> None:
    """Does something move, ``seen`` (N, H, W), and not everything?"""
    shares = seen.mean((1, 2))
    if np.median(shares) < 1e-3:
        raise ValueError("Nothing moves in the pictures though the joints do: is the camera frozen, or elsewhere?")
    if np.median(shares) > 0.5 or shares.max() > 2 * np.median(shares) + 0.1:
        name = recording.files[int(shares.argmax())]
        raise ValueError(f"Most of {name} differs from the other pictures: the camera moved, or the light changed.")


def check_stillness(recording: Recording, seen: np.ndarray, drawn: list[np.ndarray], errors: np.ndarray) -> None:
    """Once the arm is known: what else changed from picture to picture?

    Args:
        seen: (N, H, W) bool, what differs from the background.
        drawn: what each pixel shows of the arm, as ``ArmModel.look`` has it.
        errors: (N,) median distance of outlines [pixels].
    """
    for name, mask, what, error in zip(recording.files, seen, drawn, errors, strict=True):
        stray = float((mask & ~ndimage.binary_dilation(what == MOVING, iterations=6)).mean())
        if stray > STRAY or error > WANDERED * np.nanmedian(errors) + 1.0:
            raise ValueError(
                f"{name} does not fit the others: the camera moved before it, or something beside the arm."
            )
