"""Who looks after the control thread: where it hangs, the motors must not go on as they were told last."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import numpy as np

from argos_sim.deploy.fallback import Patience
from argos_sim.deploy.robots import Robot

IN_TIME = 2.0
"""A control step that begins within so many periods of the one before is in time."""
WATCH_S = 0.02
"""How often is looked."""
LET_GO_S = 0.1
"""How long a driver may take to be told that there is no torque."""


class Watchdog:
    """Sends no torque once a control step takes longer than ``patience.damp``, and says stop after ``patience.stop``.

    Attributes:
        in_time_at: when the last control step began that was in time.
    """

    def __init__(
        self, robot: Robot, joints: int, period: float, patience: Patience, stop: Callable[[str], None]
    ) -> None:
        """``period`` of the control steps [s]; ``stop`` is called with the reason."""
        self.robot, self.period, self.patience, self.stop = robot, period, patience, stop
        self.in_time_at = self._stepped_at = time.monotonic()
        self._nothing, self._ended = np.zeros(joints), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self.in_time_at = self._stepped_at = time.monotonic()
        self._thread.start()

    def step(self, now: float) -> None:
        """A control step begins."""
        if now - self._stepped_at <= IN_TIME * self.period:
            self.in_time_at = now
        self._stepped_at = now

    def let_go(self) -> None:
        """No torque, from a thread of its own: whoever hangs in the driver must not keep others there."""

        def send() -> None:
            with contextlib.suppress(Exception):
                self.robot.send(self._nothing)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        thread.join(LET_GO_S)

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(WATCH_S):
            hung = time.monotonic() - self._stepped_at
            if hung > self.patience.stop:
                self.stop(f"the control loop hung for {hung:.2f} s")
            if hung > self.patience.damp:
                self.let_go()
