"""What happened in a recording, as sentences with their times: what was asked, modes and why, the guard, lost time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.recording import Recording

TOUCHED = 1e-3
"""The guard changed a torque where it is other by more [N·m]; less is rounding."""
QUIET_S = 0.2
"""What the guard does again within so long is one intervention [s]."""
MISSED = 1.5
"""Two control steps so many periods apart have missed one between them."""


@dataclass(frozen=True)
class Happening:
    """One of them."""

    time: float
    """Monotonic [s]."""
    level: str
    """INFO or WARN, as rerun has them."""
    text: str


def happenings(recording: Recording) -> list[Happening]:
    """All of a recording, oldest first."""
    found = [_told(event) for event in recording.events] + _guarded(recording) + _missed(recording)
    return sorted(found, key=lambda each: each.time)


def _told(event: dict) -> Happening:
    name, time = event["event"], float(event["time"])
    if name == "begin":
        number = "" if event.get("episode") is None else f"episode {event['episode']}: "
        return Happening(time, "INFO", f"{number}asked: {event['text'] or 'nothing'}")
    if name == "end":
        verdict = {True: "done", False: "not done", None: "over"}[event.get("done")]
        return Happening(time, "INFO", verdict + (f" (stopped: {event['stopped']})" if event.get("stopped") else ""))
    if name == "mode":
        mode = Mode(event["mode"])
        why = f": {event['reason']}" if event.get("reason") else ""
        return Happening(time, "INFO" if mode == Mode.RUN else "WARN", f"mode {mode.name}{why}")
    if name == "verdict":
        return Happening(time, "INFO", "kept" if event["kept"] else "discarded")
    return Happening(time, "INFO", name)


def guarded(steps: np.ndarray) -> np.ndarray:
    """(K, J) whether the guard changed a torque."""
    return np.abs(steps["wanted"] - steps["sent"]) > TOUCHED


def _guarded(recording: Recording) -> list[Happening]:
    """Each time that the guard begins to change torques."""
    steps, names = recording.steps, recording.joint_names
    changed = guarded(steps)
    at = np.flatnonzero(changed.any(1))
    begins = at[np.diff(steps["time"][at], prepend=-np.inf) > QUIET_S]
    found = []
    for begin, end in zip(begins, np.append(begins[1:], len(steps)), strict=False):
        span = at[(at >= begin) & (at < end)]
        taken = np.abs(steps["wanted"][span] - steps["sent"][span]).max(0)
        which = ", ".join(f"{n} by {t:.2f} N·m" for n, t in zip(names, taken, strict=True) if t > TOUCHED)
        seconds = steps["time"][span[-1]] - steps["time"][begin]
        text = f"the guard changed torques for {seconds:.2f} s: {which}"
        found.append(Happening(float(steps["time"][begin]), "WARN", text))
    return found


def _missed(recording: Recording) -> list[Happening]:
    """Each time that control steps are missing."""
    times, period = recording.steps["time"], 1 / recording.about["rates"]["control_hz"]
    gaps = np.diff(times)
    late = np.flatnonzero(gaps > MISSED * period)
    return [Happening(float(times[i + 1]), "WARN", f"no control step for {1e3 * gaps[i]:.0f} ms") for i in late]
