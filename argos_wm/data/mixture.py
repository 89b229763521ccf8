"""Several sources in one batch, by weight: which source each row comes from, and which of its samples.

The assignment is a function of the row's number in the whole run, so that every rank knows it without asking, and a
resumed run goes on with the same next sample of every source. Each source is shuffled by an ``Order`` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from argos_wm.data.order import Order, uniform


@dataclass(frozen=True)
class Draw:
    """Rows of one batch.

    Attributes:
        source: (B,) number of the source of each row, in the order of the mixture's names.
        sample: (B,) which sample of that source.
    """

    source: np.ndarray
    sample: np.ndarray


class Mixture:
    """Draws batches from sources of different sizes.

    Args:
        counts: samples of each source, by name.
        weights: share of each source; they are divided by their sum. None weighs by size.
        seed: of the assignment and of all orders.
    """

    def __init__(self, counts: Mapping[str, int], weights: Mapping[str, float] | None = None, seed: int = 0) -> None:
        weights = {name: float(count) for name, count in counts.items()} if weights is None else weights
        unknown = sorted(set(weights) ^ set(counts))
        if unknown:
            raise ValueError(f"The mixture's weights and sources differ in {', '.join(unknown)}; name the same ones.")
        if not counts or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise ValueError(f"The mixture's weights {dict(weights)} must not be negative, and not all be zero.")
        self.names = tuple(counts)
        share = np.array([weights[name] for name in self.names], np.float64)
        self.weights = share / share.sum()
        empty = [name for name, w in zip(self.names, self.weights, strict=True) if w > 0 and counts[name] < 1]
        if empty:
            raise ValueError(f"The source {empty[0]} has no samples; leave it out or give it the weight 0.")
        self.orders = [Order(max(1, counts[name]), seed * 1_000_003 + i) for i, name in enumerate(self.names)]
        self.seed = seed
        self._rows, self._taken = 0, np.zeros(len(self.names), np.int64)

    def batch(self, step: int, size: int, rank: int = 0, ranks: int = 1) -> Draw:
        """Rows (size,) of one rank at ``step``; all ranks together see what one with their sum of rows would."""
        first = step * size * ranks
        self._go_to(first)
        source = self._assign(np.arange(first, first + size * ranks))
        taken, sample = self._taken, np.empty(len(source), np.int64)
        for number, order in enumerate(self.orders):
            mine = np.flatnonzero(source == number)
            sample[mine] = order(taken[number] + np.arange(len(mine)))
        part = slice(rank * size, (rank + 1) * size)
        return Draw(source[part], sample[part])

    def epochs(self, step: int, size: int, ranks: int = 1) -> dict[str, float]:
        """How often each source has been seen before ``step``, for the log."""
        self._go_to(step * size * ranks)
        return {n: float(t / o.count) for n, t, o in zip(self.names, self._taken, self.orders, strict=True)}

    def _assign(self, row: np.ndarray) -> np.ndarray:
        """The source of each row of the run."""
        return np.searchsorted(self.weights.cumsum()[:-1], uniform(row, self.seed), side="right")

    def _go_to(self, row: int, chunk: int = 1 << 20) -> None:
        """Count how many rows each source gave before ``row``; cheap from one step to the next."""
        if row < self._rows:
            self._rows, self._taken = 0, np.zeros(len(self.names), np.int64)
        while self._rows < row:
            until = min(row, self._rows + chunk)
            source = self._assign(np.arange(self._rows, until))
            self._taken = self._taken + np.bincount(source, minlength=len(self.names))
            self._rows = until
