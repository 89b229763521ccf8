"""The time, which a simulation may replace by its own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The time, or a simulation's."""

    def now(self) -> float:
        """[s]."""
        ...

    def wait_until(self, due: float) -> None:
        """Return at ``due``, or at once where it is past."""
        ...


class MonotonicClock:
    """The machine's own."""

    def now(self) -> float:
        """See ``Clock``."""
        return time.monotonic()

    def wait_until(self, due: float) -> None:
        """See ``Clock``."""
        time.sleep(max(0.0, due - time.monotonic()))
