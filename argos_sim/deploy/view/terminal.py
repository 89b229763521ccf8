"""The terminal's view: lines that refresh in place where there is a terminal, one line after the other where not."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import numpy as np

SHOWN_EVENTS = 5
COLOURS = {"RUN": "32", "HOLD": "33", "DAMP": "33", "STOP": "31"}
"""ANSI's green, yellow and red."""
UNITS = {"control": "step", "camera": "encode", "planner": "plan"}
"""Of which latency a rate's line tells."""


class Screen:
    """Where a view is drawn: over the one before, if ``stream`` is a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self.in_place = self._stream.isatty()
        self._drawn = 0

    def draw(self, state: dict[str, Any]) -> None:
        """Show a ``Digest.state``."""
        if not self.in_place:
            print(line(state), file=self._stream, flush=True)
            return
        columns, rows = shutil.get_terminal_size((100, 40))
        lines = [cut(each, columns - 1) for each in view(state)][: max(1, rows - 2)]
        up = f"\x1b[{self._drawn}A\r" if self._drawn else ""
        print(f"{up}\x1b[J" + "\n".join(lines), file=self._stream, flush=True)
        self._drawn = len(lines)

    def leave(self) -> None:
        """What is printed next stands below."""
        self._drawn = 0


def line(state: dict[str, Any]) -> str:
    """What happens now, in one line."""
    why = f" ({state['reason']})" if state["reason"] else ""
    counts = state["counts"]
    return (
        f"{state['mode']}{why}  steps {state['steps']}, missed {counts['missed']}, "
        f"took {_pair(state['latencies']['step'])}, pictures {counts['frames']}, targets {counts['targets']}, "
        f"too late {counts['targets_too_late']}"
    )


def view(state: dict[str, Any]) -> list[str]:
    """Mode, rates and latencies, the joints, and what happened last."""
    colour, reason = COLOURS[state["mode"]], f"  {state['reason']}" if state["reason"] else ""
    lines = [f"\x1b[1;{colour}m{state['mode']:<5}\x1b[0m{state['time']:7.1f} s  {state['text'] or '-'}{reason}"]
    lines += [f"guard   {state['guard']['told']}"] if state["guard"]["told"] else []
    return lines + _clocks(state) + _joints(state) + _events(state["events"])


def _clocks(state: dict[str, Any]) -> list[str]:
    counts, ages, late = state["counts"], state["ages"], _pair(state["latencies"]["late"])
    more = {
        "control": f"late {late}, missed {counts['missed']} of {state['steps']}, joints {_ms(ages['joints'])} old",
        "camera": f"picture {_ms(ages['camera'])} old, {counts['frames']} encoded, {counts['refused']} refused",
        "planner": f"{counts['targets']} targets, {counts['targets_too_late']} too late, "
        + ("none due" if state["time_to_go"] is None else f"due in {state['time_to_go']:+.2f} s"),
    }
    return [
        f"{name:<8}{_number(state['rates'][name][0], '.2f'):>6} of {state['rates'][name][1]:6.2f} Hz   "
        f"{UNITS[name]:<7}{_pair(state['latencies'][UNITS[name]]):<20}{more[name]}"
        for name in UNITS
    ]


def _joints(state: dict[str, Any]) -> list[str]:
    joints, guard = state["joints"], np.array(state["guard"]["steps"])
    lines = [f"{'joint':<15}{'rad':>7}{'target':>8}{'error':>8}{'rad/s':>8}{'wanted':>9}{'sent Nm':>9}  guard, steps"]
    for i, name in enumerate(joints["names"]):
        now, target = joints["position"][i], joints["target"][i]
        error = None if now is None or target is None else target - now
        acted = [f"{rule} {guard[r, i]}" for r, rule in enumerate(state["guard"]["rules"]) if guard[r, i]]
        numbers = "".join(
            f"{_number(value, '+.2f'):>{width}}"
            for value, width in (
                (now, 7), (target, 8), (error, 8), (joints["velocity"][i], 8),
                (joints["wanted"][i], 9), (joints["sent"][i], 9),
            )
        )  # fmt: skip
        lines.append(f"{name:<15}{numbers}  {', '.join(acted)}")
    return lines


def _events(events: Iterable[dict[str, Any]]) -> list[str]:
    last = list(events)[-SHOWN_EVENTS:]
    times = [f" ({event['times']} times)" if event["times"] > 1 else "" for event in last]
    shown = [f"{event['at']:8.1f} s  {event['text']}{more}" for event, more in zip(last, times, strict=True)]
    return shown + [""] * (SHOWN_EVENTS - len(shown))


def cut(text: str, columns: int) -> str:
    """At most so many characters of a line that can be seen."""
    out, seen, rest = "", 0, text
    while rest and seen < columns:
        if rest.startswith("\x1b["):
            code, _, rest = rest.partition("m")
            out += f"{code}m"
            continue
        character, rest = rest[0], rest[1:]
        out, seen = out + character, seen + 1
    return out + ("\x1b[0m" if "\x1b[" in out else "")


def _pair(values: list[float | None]) -> str:
    """Median and 99th percentile."""
    return f"{_number(values[0], '.2f')} / {_number(values[1], '.2f')} ms"


def _ms(seconds: float | None) -> str:
    return f"{_number(None if seconds is None else 1e3 * seconds, '.0f')} ms"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
