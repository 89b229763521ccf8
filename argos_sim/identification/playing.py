"""An excitation on a robot: at the control rate, through the guard, recorded step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.recorder import STEPS, Recorder
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.deploy.safety import SafetyGuard
from argos_sim.identification.excitation import Excitation

SILENCE_S = 0.2
"""After which an arm whose joints are not read, or not as numbers, gets no torque any more [s]."""
FIRST_S = 10.0
"""Within which a first read-out must come [s]."""


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


def play(
    robot: Robot,
    manifest: PolicyManifest,
    excitation: Excitation,
    folder: Path,
    robot_name: str,
    stopped: Callable[[], str | None] = lambda: None,
    clock: Clock | None = None,
) -> None:
    """Excite ``robot`` and record it in ``folder``; whatever ends it, no torque is the last that is sent.

    Raises:
        DeployError: the joints are silent, or ``stopped`` gave a reason; what was recorded until then is kept. Or there
            is a recording in ``folder`` already.
    """
    if (folder / STEPS).exists():
        raise DeployError(f"There is a recording in {folder} already: fit it with --data, or choose another folder.")
    clock = clock or MonotonicClock()
    about = {
        "robot": robot_name,
        "joints": list(manifest.joint_names),
        "rates": manifest.rates,
        "seconds": excitation.settings.seconds,
        "seed": excitation.settings.seed,
    }
    guard = SafetyGuard(manifest)
    recorder = Recorder(folder, len(manifest.joint_names), about)
    try:
        _loop(robot, manifest, excitation, guard, recorder, stopped, clock)
    finally:
        try:
            robot.send(np.zeros(len(manifest.joint_names)))
        finally:
            recorder.close()
    if recorder.problem:
        raise DeployError(f"The recording in {folder} is not whole: {recorder.problem}.")


def _loop(
    robot: Robot,
    manifest: PolicyManifest,
    excitation: Excitation,
    guard: SafetyGuard,
    recorder: Recorder,
    stopped: Callable[[], str | None],
    clock: Clock,
) -> None:
    """Control steps until the excitation is over."""
    period = 1 / manifest.rates["control_hz"]
    reading = _first(robot, clock, period)
    begin = due = clock.now()
    while (at := clock.now() - begin) < excitation.seconds:
        if (reason := stopped()) is not None:
            raise DeployError(f"Stopped: {reason}. What was recorded until then is kept.")
        newest = robot.joints()
        if newest is not None and _whole(newest):
            reading = newest
        if clock.now() - reading.time > SILENCE_S:
            raise DeployError(f"The joints were not read for {SILENCE_S:g} s; the arm was let go.")
        wanted = excitation.torque(at, reading.position)
        sent = guard.apply(wanted, reading.position, reading.velocity, reading.temperature)
        now = clock.now()
        robot.send(sent)
        recorder.add(
            time=now,
            late=now - due,
            mode=excitation.phase(at),
            position=reading.position,
            velocity=reading.velocity,
            wanted=wanted,
            sent=sent,
            joints_age=now - reading.time,
        )
        due = max(due + period, clock.now() - period)
        clock.wait_until(due)


def _first(robot: Robot, clock: Clock, period: float) -> JointReading:
    end = clock.now() + FIRST_S
    while clock.now() < end:
        reading = robot.joints()
        if reading is not None and _whole(reading):
            return reading
        clock.wait_until(clock.now() + period)
    raise DeployError(f"No joints were read for {FIRST_S:g} s.")


def _whole(reading: JointReading) -> bool:
    return bool(np.isfinite(reading.position).all() and np.isfinite(reading.velocity).all())
