"""Where the arm is in pictures of it in several postures, by nothing but the pictures.

What does not move is the background: the median of each pixel over the postures. What differs from it is the arm. That
needs a camera and a room that stand still, even light, and an arm that is elsewhere in most pictures; where it is in
nearly half of them, about its shoulder, the median is no background, and ``matching`` leaves those pixels out.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SMOOTHING = 0.7
"""Standard deviation of the smoothing before pictures are compared [pixels]."""
DEVIATIONS, LEAST = 7.0, 8.0
"""A pixel differs where it does by so many standard deviations of what differs in the background, and by so much (of
255)."""
SPECK = 2e-4
"""Share of the picture below which something that differs is no arm."""


def background(pictures: np.ndarray) -> np.ndarray:
    """(H, W, 3), what ``pictures`` (N, H, W, 3) show where nothing moves."""
    return np.median(pictures, axis=0)


def foreground(pictures: np.ndarray) -> np.ndarray:
    """Where each of ``pictures`` (N, H, W, 3) differs from their background: (N, H, W) bool."""
    smooth = np.stack([ndimage.gaussian_filter(p.astype(np.float32), (SMOOTHING, SMOOTHING, 0)) for p in pictures])
    difference = np.abs(smooth - background(smooth)).max(-1)
    middle = np.median(difference)
    noise = 1.4826 * np.median(np.abs(difference - middle))
    return np.stack([_cleaned(one) for one in difference > max(middle + DEVIATIONS * noise, LEAST)])


def _cleaned(mask: np.ndarray) -> np.ndarray:
    """Without specks and ragged edges."""
    mask = ndimage.median_filter(mask, 3)
    parts = np.zeros(mask.shape, dtype=np.int32)
    ndimage.label(mask, output=parts)
    sizes = np.bincount(parts.ravel())
    keep = sizes >= SPECK * mask.size
    keep[0] = False
    return keep[parts]
