"""The newest values of one writer for readers in any process, in shared memory, without a lock.

A writer never waits and a reader never waits for a writer: what is read is a value that was written whole, and the
newest or nearly so. Slots are written in turn; a reader takes the last one that was announced, and believes it only if
its number is the same at both ends and its checksum right, so that neither a writer that overtakes it nor a processor
that reorders memory can hand it half of a value.
"""

from __future__ import annotations

import zlib
from multiprocessing.context import SpawnContext
from typing import Any

import numpy as np

SLOTS = 4
TRIES = 50
"""Reads before a value counts as missing; a writer would have to overtake the reader so often."""

Fields = dict[str, tuple[str, tuple[int, ...]]]
"""Name → numpy's name of the kind of number, and the shape."""


class Latest:
    """One value of named arrays. Made by the parent, handed to processes that it starts; one of them writes.

    Args:
        slots: how many values are kept at least until they are overwritten, the newest one among them.
    """

    def __init__(self, context: SpawnContext, fields: Fields, slots: int = SLOTS) -> None:
        self._fields, self._count = fields, slots
        self._kind = np.dtype([(name, kind, shape) for name, (kind, shape) in fields.items()])
        self._memory = context.RawArray("B", 8 + slots * self._slot.itemsize)
        self._map()

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_fields", "_count", "_kind", "_memory")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    @property
    def _slot(self) -> np.dtype:
        return np.dtype([("first", "u8"), ("check", "u4"), ("value", self._kind), ("last", "u8")])

    def _map(self) -> None:
        self._newest = np.frombuffer(self._memory, "u8", 1)
        self._slots = np.frombuffer(self._memory, self._slot, self._count, offset=8)

    @property
    def count(self) -> int:
        """How many values were written."""
        return int(self._newest[0])

    def write(self, **values: Any) -> None:
        """Give a new value: every field, by its name.

        Raises:
            ValueError: a field is missing, unknown, or of another shape.
        """
        if set(values) != set(self._fields):
            raise ValueError(f"The value has {', '.join(values)}, and {', '.join(self._fields)} are exchanged.")
        value = np.zeros((), self._kind)
        for name, given in values.items():
            value[name] = given
        number = self.count + 1
        slot = self._slots[number % self._count : number % self._count + 1]
        slot["first"] = number
        slot["value"] = value
        slot["check"] = zlib.crc32(value.tobytes())
        slot["last"] = number
        self._newest[0] = number

    def read(self, after: int = 0) -> tuple[int, dict[str, Any]] | None:
        """The newest value and its number, from 1; None where none was written after the one of number ``after``, which
        costs next to nothing, however large values are."""
        for _ in range(TRIES):
            number = self.count
            if number <= after:
                return None
            value = self._whole(number)
            if value is not None:
                return number, value
        return None

    def since(self, number: int) -> list[tuple[int, dict[str, Any]]]:
        """The values after the one of this number, oldest first, as far as they were not overwritten."""
        newest = self.count
        numbers = range(max(number + 1, newest - self._count + 1), newest + 1)
        return [(i, value) for i in numbers if (value := self._whole(i)) is not None]

    def _whole(self, number: int) -> dict[str, Any] | None:
        """A value, if it is still there and was written whole."""
        slot = self._slots[number % self._count].copy()
        value = slot["value"]
        if slot["first"] == slot["last"] == number and zlib.crc32(value.tobytes()) == slot["check"]:
            return {name: value[name] for name in self._fields}
        return None
