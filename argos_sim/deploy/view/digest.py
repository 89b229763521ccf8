"""Control steps, as people want to know of them: rates, latencies, tracking, and what happened when."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

import numpy as np

from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.safety import RULES
from argos_sim.deploy.telemetry import COUNTS, Telemetry, words

WINDOW_S = 10.0
"""Over which rates and percentiles are taken [s]."""
QUIET_S = 1.0
"""What happens again within this time is the same event [s]."""
EVENTS = 60
PAST_S, PAST_HZ = 20.0, 10.0
"""How long, and how often, joints are kept for curves."""
ARRAYS = ("position", "target", "velocity", "wanted", "sent")


class Digest:
    """Reads a ``Telemetry``; keeps the last ``WINDOW_S`` and the last events.

    Args:
        guarded: how strict the guard is, in words.
    """

    def __init__(self, telemetry: Telemetry, manifest: PolicyManifest, guarded: str = "") -> None:
        self._steps, self._manifest, self._guard = telemetry.steps, manifest, guarded
        self._read = 0
        self._first: float | None = None
        self._last: dict[str, Any] | None = None
        window = round(WINDOW_S * manifest.rates["control_hz"])
        self._window: deque[tuple[float, ...]] = deque(maxlen=window)
        self._times = {"encode": deque(maxlen=200), "plan": deque(maxlen=50)}
        self.events: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        """Newest last: when [s since the first step], what kind, and a text."""
        self.past: deque[dict[str, Any]] = deque(maxlen=round(PAST_S * PAST_HZ))
        """Joints (J,) and their targets [rad], oldest first."""
        self._past_every = max(1, round(manifest.rates["control_hz"] / PAST_HZ))
        self._guarded = np.zeros((len(RULES), len(manifest.joint_names)), dtype=int)
        self._acted_at = np.full(self._guarded.shape, -math.inf)

    def update(self) -> None:
        """Take in the steps since the last time."""
        for number, step in self._steps.since(self._read):
            self._read = number
            self._note(number, step)
            self._last = step

    def _note(self, number: int, step: dict[str, Any]) -> None:
        last, now = self._last, float(step["time"])
        if self._first is None:
            self._first = now
        counts = {name: int(step[name]) for name in COUNTS}
        done = (number, counts["frames"], counts["targets"])
        self._window.append((now, float(step["late"]), float(step["took"]), *done))
        if number % self._past_every == 0:
            self.past.append({name: _plain(step[name]) for name in ("position", "target")})
        before: dict[str, int] = {name: 0 if last is None else int(last[name]) for name in COUNTS}
        for kind, name, value in (("encode", "frames", "encoded"), ("plan", "targets", "planned")):
            if counts[name] > before[name] and np.isfinite(step[value]):
                self._times[kind].append(float(step[value]))
        if last is None or bytes(step["text"]) != bytes(last["text"]):
            self._happened(now, "text", f"asked: {words(step['text']) or 'nothing'}")
        mode = Mode(int(step["mode"]))
        if (Mode.RUN if last is None else int(last["mode"])) != mode:
            reason = words(step["reason"])
            self._happened(now, "mode", f"{mode.name}: {reason}" if reason else mode.name)
        if counts["missed"] > before["missed"]:
            self._happened(now, "late", "a deadline was missed", counts["missed"] - before["missed"])
        if counts["targets_too_late"] > before["targets_too_late"]:
            self._happened(now, "late", "a target came too late")
        if counts["refused"] > before["refused"]:
            self._happened(now, "refused", f"refused: {words(step['refused_because'])}")
        self._note_guard(now, step["acted"])

    def _note_guard(self, now: float, acted: np.ndarray) -> None:
        self._guarded += acted
        begun = acted & (now - self._acted_at > QUIET_S)
        self._acted_at[acted] = now
        for rule in np.flatnonzero(begun.any(1)):
            names = [self._manifest.joint_names[joint] for joint in np.flatnonzero(begun[rule])]
            self._happened(now, "guard", f"guard, {RULES[rule]}: {', '.join(names)}")

    def _happened(self, now: float, kind: str, text: str, times: int = 1) -> None:
        """An event, or the last one once more."""
        at, last = now - (self._first or now), self.events[-1] if self.events else None
        if last is not None and last["text"] == text and at - last["until"] < QUIET_S:
            last["until"], last["times"] = at, last["times"] + times
        else:
            self.events.append({"at": at, "until": at, "kind": kind, "text": text, "times": times})

    def state(self) -> dict[str, Any] | None:
        """All of it as plain numbers, lists and texts, None for what is not known; None before the first step."""
        step, manifest = self._last, self._manifest
        if step is None or self._first is None:
            return None
        joints: dict[str, Any] = {name: _plain(step[name]) for name in ARRAYS}
        joints["names"], joints["torque_limit"] = list(manifest.joint_names), list(manifest.torque_limits)
        joints["lower"], joints["upper"] = (list(ends) for ends in zip(*manifest.joint_limits, strict=True))
        window = np.array(self._window)
        return {
            "time": float(step["time"]) - self._first,
            "silent": time.monotonic() - float(step["time"]),
            "mode": Mode(int(step["mode"])).name,
            "reason": words(step["reason"]),
            "text": words(step["text"]),
            "joints": joints,
            "rates": self._rates(window),
            "latencies": {
                "late": percentiles(window[:, 1]),
                "step": percentiles(window[:, 2]),
                **{name: percentiles(np.array(values)) for name, values in self._times.items()},
            },
            "ages": {name: _plain(step[f"{name}_age"]) for name in ("joints", "camera", "plan")},
            "time_to_go": _plain(step["time_to_go"]),
            "steps": self._read,
            "counts": {name: int(step[name]) for name in COUNTS},
            "guard": {"rules": list(RULES), "steps": self._guarded.tolist(), "told": self._guard},
            "events": list(self.events),
            "plan": int(step["plan"]),
        }

    def _rates(self, window: np.ndarray) -> dict[str, list[float | None]]:
        """What is, and what should be [Hz]."""
        passed, wanted = window[-1, 0] - window[0, 0], self._manifest.rates
        is_now: list[float | None] = [None] * 3
        if passed > 0:
            is_now = [float(x) for x in (window[-1, 3:] - window[0, 3:]) / passed]
        should = (wanted["control_hz"], wanted["camera_hz"], 1 / wanted["planner_period_s"])
        return {name: [is_now[i], should[i]] for i, name in enumerate(("control", "camera", "planner"))}


def percentiles(seconds: np.ndarray) -> list[float | None]:
    """Median and 99th percentile [ms]."""
    return [float(1e3 * x) for x in np.percentile(seconds, [50, 99])] if len(seconds) else [None, None]


def _plain(value: Any) -> Any:
    """Numbers as JSON has them, rounded; what is none is None."""
    if np.ndim(value):
        return [_plain(x) for x in value]
    return round(float(value), 5) if np.isfinite(value) else None
