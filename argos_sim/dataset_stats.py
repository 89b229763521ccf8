"""Statistics of one episode in LeRobot's form: min, max, mean, std, count and five quantiles of every column.

LeRobot normalises with these. Its own estimate fills histograms of 5,000 bins a value; an episode is short enough to
be sorted.
"""

from __future__ import annotations

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
FRAME_STRIDE, PIXEL_STRIDE = 7, 2
"""Pictures are sampled, as lerobot does."""


def vector_stats(values: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics over time of ``values (T, …)``, each of shape (…), or (1,) for scalars; ``count`` is (T,)."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    stats = _stats(columns)
    shape = values.shape[1:] or (1,)
    return {name: value.reshape(shape) for name, value in stats.items()} | {"count": np.array([len(values)])}


def image_stats(images: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics a channel of ``images`` uint8 (T, H, W, 3), in [0, 1], each of shape (3, 1, 1)."""
    sample = images[::FRAME_STRIDE, ::PIXEL_STRIDE, ::PIXEL_STRIDE]
    stats = _stats(sample.reshape(-1, 3) / 255.0)
    return {name: value.reshape(3, 1, 1) for name, value in stats.items()} | {"count": np.array([len(sample)])}


def _stats(columns: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics over the first axis of ``columns (N, F)``."""
    ordered = np.sort(columns, axis=0)
    # The nearest rank is enough for normalisation and, unlike interpolation, is one look-up.
    ranks = {name: ordered[round(q * (len(ordered) - 1))] for name, q in QUANTILES.items()}
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": columns.mean(0),
        "std": columns.std(0),
        **ranks,
    }
