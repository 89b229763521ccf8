"""How long things took: as many times as there is room for.

A loop that runs for ten minutes at 200 Hz has 120,000 of them. To copy them out of a list takes Python's lock for as
long as some control steps, each time that somebody looks: hence an array.
"""

from __future__ import annotations

import numpy as np


class Times:
    """The last ``room`` times [s]; one thread adds, any reads."""

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

    @property
    def newest(self) -> float:
        """The last one; not a number where there is none yet."""
        return float(self._values[(self._count - 1) % len(self._values)]) if self._count else float("nan")

    def kept(self) -> np.ndarray:
        """All that are kept, in no order [s]."""
        return self._values[: len(self)].copy()
