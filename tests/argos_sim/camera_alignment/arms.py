"""Arms to be driven, on the machine's clock or on one that only goes on while somebody waits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.motion.clock import Clock, MonotonicClock
from argos_sim.mujoco_c.virtual import VirtualRobot

INERTIA, FRICTION, GRAVITY = 0.05, 0.6, 0.4


class Waiting:
    """A clock that goes on while somebody waits."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        self._now += 1e-6
        return self._now

    def wait_until(self, due: float) -> None:
        self._now = max(self._now, due)


class HeavyArm:
    """Joints with inertia and a weight, by default a constant one."""

    def __init__(
        self,
        names: tuple[str, ...],
        clock: Clock | None = None,
        position: np.ndarray | None = None,
        weight: Callable[[np.ndarray], np.ndarray] = lambda q: np.full(len(q), GRAVITY),
    ) -> None:
        self.joint_names, self.clock, self.weight = names, clock or MonotonicClock(), weight
        self.position = np.zeros(len(names)) if position is None else position
        self.velocity, self.torque = np.zeros(len(names)), np.zeros(len(names))
        self.went: list[np.ndarray] = []
        self._then, self.closed = self.clock.now(), False

    def joints(self) -> JointReading:
        now = self.clock.now()
        for _ in range(round((now - self._then) / 1e-3)):
            self._then += 1e-3
            pull = self.torque - self.weight(self.position) - FRICTION * self.velocity
            self.velocity += 1e-3 / INERTIA * pull
            self.position = self.position + 1e-3 * self.velocity
        return JointReading(self.position.copy(), self.velocity.copy(), now)

    def frame(self) -> Frame | None:
        return Frame((np.full((4, 4, 3), 7, np.uint8),), self.clock.now())

    def send(self, torque: np.ndarray) -> None:
        self.torque = np.array(torque)
        self.went.append(self.position.copy())

    def close(self) -> None:
        self.closed = True


class Seeing(VirtualRobot):
    """The simulated arm on its own clock, with a slow camera."""

    def frame(self) -> Frame | None:
        newest = self._arm.frame_out.read()
        if newest is None or self.now() - float(newest[1]["time"]) > 0.4:
            self._arm.look(self.now())
            newest = self._arm.frame_out.read()
        assert newest is not None
        return Frame((newest[1]["picture"],), float(newest[1]["time"]))
