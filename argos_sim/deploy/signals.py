"""Signals that a terminal sends to all of its processes at once: one of them stops the arm, and the others go on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from multiprocessing import resource_tracker

FROM_TERMINALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
"""Whatever would suspend or end a process would leave the motors as they were told last."""


def stop_on_signals(stop: Callable[[str], None]) -> None:
    """Call ``stop`` with a reason at what would suspend or end this process, and keep it from being suspended for its
    terminal's sake. Call it before the first process is started."""
    for number in FROM_TERMINALS:
        signal.signal(number, signal.SIG_IGN)
    resource_tracker.ensure_running()  # Python's own process, which inherits what is ignored, and not what is heard
    for number in (*FROM_TERMINALS, signal.SIGTERM):
        signal.signal(number, lambda *_: stop("stopped by hand"))
    for number in (signal.SIGTTOU, signal.SIGTTIN):
        signal.signal(number, signal.SIG_IGN)


def hear_signals_as_usual() -> None:
    """A signal ends this process again: nothing moves any more."""
    for number in (*FROM_TERMINALS, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def leave_to_parent() -> None:
    """In a process that was started: the parent decides when it ends, by SIGTERM."""
    for number in FROM_TERMINALS:
        signal.signal(number, signal.SIG_IGN)
