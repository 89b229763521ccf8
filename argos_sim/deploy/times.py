"""How long things took: as many times as there is room for, and percentiles of them.

A loop that is watched for ten minutes at 200 Hz has 120,000 of them. To copy them out of a list takes Python's lock for
as long as some control steps, each time that somebody looks: hence an array, and a look at the latest alone.
"""

from __future__ import annotations

import numpy as np


class Times:
    """The latest ``room`` times [s]; one thread adds, any reads."""

    def __init__(self, room: int) -> None:
        self._values = np.zeros(room, dtype=np.float32)
        self._count = 0

    def __len__(self) -> int:
        """How many are kept."""
        return min(self._count, len(self._values))

    def add(self, seconds: float) -> None:
        """One more."""
        self._values[self._count % len(self._values)] = seconds
        self._count += 1

    def latest(self, count: int | None = None) -> np.ndarray:
        """The latest ``count`` that are kept, or all, in no order [s]."""
        if count is None or count >= len(self):
            return self._values[: len(self)].copy()
        return self._values.take(np.arange(self._count - count, self._count), mode="wrap")
