"""In which order samples are seen: shuffled anew each epoch, shared between ranks, resumable from a number.

An order is a function from positions 0, 1, 2, … to samples, so that nothing has to be remembered: the next sample after
a kill follows from how many were seen. Positions are dealt to ranks; together they see each sample once an epoch,
whatever their number, and a run may go on with another number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROUNDS = 4
"""Of the Feistel network: three make a pseudorandom permutation (Luby and Rackoff 1988), one is for good measure."""


@dataclass(frozen=True)
class Permutation:
    """A shuffling of ``0 … count - 1`` that needs no memory: a Feistel network whose strays walk on until they land.

    Attributes:
        count: at least 1.
        key: chooses the shuffling.
    """

    count: int
    key: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"An order of {self.count} samples is empty; give it at least one.")

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Where each of ``index`` (…,) goes, int64."""
        half = max(1, ((self.count - 1).bit_length() + 1) // 2)
        x = np.asarray(index, np.uint64).copy()
        x = self._network(x, half)
        stray = x >= self.count
        while stray.any():  # at most three of four land beyond the count, so that few walks are long
            x[stray] = self._network(x[stray], half)
            stray = x >= self.count
        return x.astype(np.int64)

    def _network(self, x: np.ndarray, half: int) -> np.ndarray:
        mask = np.uint64((1 << half) - 1)
        left, right = x >> np.uint64(half), x & mask
        for turn in range(ROUNDS):
            left, right = right, left ^ (_mix(right, self.key, turn) & mask)
        return (left << np.uint64(half)) | right


def _mix(x: np.ndarray, key: int, turn: int) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014) of x, keyed."""
    salt = (key * 0x9E3779B97F4A7C15 + (turn + 1) * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    z = x + np.uint64(salt)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(index: np.ndarray, key: int) -> np.ndarray:
    """A number in [0, 1) for each of ``index`` (…,), the same whenever it is asked for."""
    return (_mix(np.asarray(index, np.uint64), key, ROUNDS) >> np.uint64(11)) * 2.0**-53


@dataclass(frozen=True)
class Order:
    """An endless order of ``count`` samples, each epoch shuffled by itself.

    Attributes:
        count: samples an epoch.
        seed: of all shufflings.
        shuffle: False keeps the samples' own order.
    """

    count: int
    seed: int = 0
    shuffle: bool = True

    def __call__(self, position: np.ndarray) -> np.ndarray:
        """Samples at positions (…,) of the whole run, counted from 0 over all epochs and ranks."""
        position = np.asarray(position, np.int64)
        epoch, within = np.divmod(position, self.count)
        if not self.shuffle:
            return within
        out = np.empty_like(within)
        for number in np.unique(epoch):
            rows = epoch == number
            out[rows] = Permutation(self.count, self.seed * 1_000_003 + int(number))(within[rows])
        return out

    def batch(self, step: int, size: int, rank: int = 0, ranks: int = 1) -> np.ndarray:
        """Samples (size,) of one rank at ``step``: all ranks together see positions step·size·ranks onwards."""
        if not 0 <= rank < ranks:
            raise ValueError(f"Rank {rank} of {ranks} does not exist; ranks count from 0.")
        first = (step * ranks + rank) * size
        return self(np.arange(first, first + size))
