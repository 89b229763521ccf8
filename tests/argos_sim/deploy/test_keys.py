"""Laws of the keyboard as an emergency stop."""

from __future__ import annotations

import io
import os
import pty
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from argos_sim.deploy.keys import stop_on_key
from tests.argos_sim.deploy.pilots import until


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """Its keys, and what a program reads."""
    keys, screen = pty.openpty()
    with os.fdopen(screen) as stream:
        yield keys, stream
    os.close(keys)


def test_any_key_stops_at_once_and_the_terminal_is_as_it_was(terminal: tuple[int, TextIO]) -> None:
    keys, stream = terminal
    before, reasons = termios.tcgetattr(stream), list[str]()
    with stop_on_key(reasons.append, stream) as listening:
        assert listening and reasons == []
        os.write(keys, b" ")  # no Enter
        until(lambda: reasons == ["a key was pressed"], "a stop")
    assert termios.tcgetattr(stream) == before


def test_a_key_that_is_held_down_is_pressed_once(terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    keys, stream = terminal
    now, reasons = [100.0], list[str]()
    monkeypatch.setattr("argos_sim.deploy.keys.time.monotonic", lambda: now[0])
    read = list[bytes]()
    monkeypatch.setattr("argos_sim.deploy.keys.os.read", lambda *of, read_=os.read: (read.append(read_(*of)), b" ")[1])
    with stop_on_key(reasons.append, stream):
        for later, presses in ((0.0, 1), (0.5, 1), (0.03, 1), (0.03, 1), (1.0, 2)):
            now[0] += later
            count = len(read)
            os.write(keys, b" ")
            until(lambda count=count: len(read) > count, "the key")
            until(lambda presses=presses: len(reasons) == presses, "a stop")


def test_the_terminal_is_as_it_was_after_an_error(terminal: tuple[int, TextIO]) -> None:
    _, stream = terminal
    before = termios.tcgetattr(stream)
    with pytest.raises(RuntimeError, match="something else"), stop_on_key(lambda _: None, stream):
        raise RuntimeError("something else")
    assert termios.tcgetattr(stream) == before


def test_where_there_is_no_terminal_nothing_listens() -> None:
    with stop_on_key(lambda _: None, io.StringIO(" ")) as listening:
        assert not listening
