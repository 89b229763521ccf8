"""Laws of the terminal: a view stays in its place on a terminal, and is a line where there is none."""

from __future__ import annotations

import io
import os
import pty
import re
import select

from argos_sim.deploy.view.terminal import Screen, view
from tests.argos_sim.deploy.view.test_digest import Loop


def written(terminal: int) -> str:
    """All that came to a terminal."""
    data = b""
    while select.select([terminal], [], [], 0.3)[0]:
        data += os.read(terminal, 65536)
    return data.decode()


def test_where_there_is_no_terminal_each_state_is_a_line() -> None:
    loop, stream = Loop(), io.StringIO()
    screen = Screen(stream)
    for _ in range(3):
        loop.step(5)
        screen.draw(loop.state())
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3 and not screen.in_place and "\x1b" not in stream.getvalue()
    assert lines[2].startswith("RUN  steps 15, missed 0, took 1.00 / 1.00 ms, pictures 0, targets 0, too late 0")


def test_on_a_terminal_a_view_is_drawn_over_the_one_before() -> None:
    keys, screen_side = pty.openpty()
    with os.fdopen(screen_side, "w") as stream:
        loop, screen = Loop(), Screen(stream)
        loop.step(5)
        screen.draw(loop.state())
        first = written(keys)
        loop.step(5)
        screen.draw(loop.state())
        second = written(keys)
        screen.leave()
        screen.draw(loop.state())
        third = written(keys)
    os.close(keys)
    rows = len(view(loop.state()))
    assert screen.in_place and first.count("\n") == rows and not re.search(r"\x1b\[\d+A", first)
    assert second.startswith(f"\x1b[{rows}A\r\x1b[J") and second.count("\n") == rows
    assert not re.search(r"\x1b\[\d+A", third), "what was printed in between is left alone"
