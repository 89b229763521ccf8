"""A terminal's keys as an emergency stop: any key, at once, without Enter."""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

LOOK_S = 0.05
"""How long the end waits for whoever listens."""
REPEAT_S = 0.7
"""Between what a terminal sends of a key that is held down, at most: one press."""


@contextmanager
def stop_on_key(stop: Callable[[str], None], stream: TextIO | None = None) -> Iterator[bool]:
    """Call ``stop`` with a reason as soon as a key is pressed in the terminal ``stream``, by default standard input,
    and at every further one that is no repeat of one held down; gives whether it is a terminal. Ctrl-C, Ctrl-Z and
    Ctrl-\\ stay signals."""
    stream = sys.stdin if stream is None else stream
    if stream is None or stream.closed or not stream.isatty():
        yield False
        return
    terminal, ended = stream.fileno(), threading.Event()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    now = termios.tcgetattr(terminal)
    now[0] &= ~termios.IXON  # Ctrl-S is a key like others, and does not hold the terminal
    termios.tcsetattr(terminal, termios.TCSANOW, now)

    def listen() -> None:
        last = -math.inf
        while not ended.is_set():
            if select.select([terminal], [], [], LOOK_S)[0]:
                try:
                    key = os.read(terminal, 64)  # an arrow key is several bytes
                except OSError:  # the terminal was closed
                    key = b""
                if not key:
                    stop("the terminal is gone")
                    return
                previous, last = last, time.monotonic()
                if last - previous > REPEAT_S:
                    stop("a key was pressed")

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield True
    finally:
        ended.set()
        thread.join(1.0)
        with contextlib.suppress(termios.error):  # it may be gone, and what comes next is to release the motors
            termios.tcsetattr(terminal, termios.TCSANOW, before)
