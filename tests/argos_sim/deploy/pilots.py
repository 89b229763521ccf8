"""A pilot on a robot that can be broken in many ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from argos_sim.deploy.fallback import FallbackSettings, Patience
from argos_sim.deploy.pilot import Pilot, PilotSettings
from argos_sim.deploy.recorder import Recorder
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.deploy.telemetry import Telemetry
from tests.argos_sim.deploy.tiny import NAMES, SIZE

FALLBACK = FallbackSettings(
    joints=Patience(0.5, 0.9, 1.3), camera=Patience(1.0, 1.4, 1.8), plan=Patience(1.0, 1.4, 1.8)
)
RESTING = (0.1, -0.2, 0.3)
PATIENCE_S = 20.0
"""For what takes a moment on an idle machine."""


class StandIn:
    """Joints that rest, and a camera of noise. What it says and what it is told can be bent."""

    joint_names = NAMES

    def __init__(self, position: tuple[float, ...] = RESTING) -> None:
        self.sent: list[np.ndarray] = []
        self.closed = False
        self.position, self.velocity = np.array(position), np.zeros(3)
        self._rng = np.random.default_rng(0)
        self._newest = Frame((np.zeros((SIZE, SIZE, 3), np.uint8),), -1.0)
        self.mend()

    def mend(self) -> None:
        """All is well again."""
        self.bent_joints: Callable[[JointReading], JointReading | None] = lambda reading: reading
        self.bent_frame: Callable[[Frame], Frame | None] = lambda frame: frame
        self.bent_torque: Callable[[np.ndarray], np.ndarray] = lambda torque: torque

    def joints(self) -> JointReading | None:
        return self.bent_joints(JointReading(self.position, self.velocity, time.monotonic()))

    def frame(self) -> Frame | None:
        now = time.monotonic()
        if now - self._newest.time >= 0.1:
            self._newest = Frame((self._rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),), now)
        return self.bent_frame(self._newest)

    def send(self, torque: np.ndarray) -> None:
        self.sent.append(np.array(self.bent_torque(torque)))

    def close(self) -> None:
        self.closed = True


@contextmanager
def flying(
    policy: Path,
    text: str = "touch the red block",
    position: tuple[float, ...] = RESTING,
    recorder: Recorder | None = None,
    telemetry: Telemetry | None = None,
    robot: StandIn | None = None,
    **settings,
) -> Iterator[tuple[Pilot, StandIn]]:
    robot = StandIn(position) if robot is None else robot
    pilot = Pilot(policy, robot, PilotSettings(fallback=FALLBACK, **settings), recorder)
    pilot.telemetry = telemetry or pilot.telemetry
    try:
        pilot.begin(text)
        pilot.start()
        yield pilot, robot
    finally:
        pilot.close()


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"{what} never happened"
        time.sleep(0.005)


def first[T]() -> Callable[[T], T]:
    """Gives what it was given first, for ever: what is stuck."""
    kept: list[T] = []

    def give(value: T) -> T:
        kept.append(value)
        return kept[0]

    return give
