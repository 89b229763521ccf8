"""``SimulatedRobot``'s arm without its process and without the wall clock: as fast as the machine can."""

from __future__ import annotations

import multiprocessing

import numpy as np

from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.deploy.simulated import SimulatedRobotSettings
from argos_sim.deploy.simulated_bus import SimulatedBus
from argos_sim.mujoco_c.live import LiveArm
from argos_sim.mujoco_c.world import World


class VirtualRobot:
    """A ``Robot`` and its own ``motion.clock.Clock``: physics goes on while somebody waits.

    Args:
        offset: of the control loop's first step after a step of physics [s]; the bus is not in phase with it.
    """

    def __init__(self, world: World, settings: SimulatedRobotSettings, offset: float = 0.0) -> None:
        context = multiprocessing.get_context("spawn")
        self._bus = bus = SimulatedBus(context, len(world.joint_names), settings.picture_shape)
        self._arm = LiveArm(world, settings, bus.command, bus.read_out, bus.frame)
        self.joint_names, self._dt, self._steps = world.joint_names, world.rates.physics_dt, 0
        self._now = offset

    def now(self) -> float:
        """See ``Clock``."""
        return self._now

    def wait_until(self, due: float) -> None:
        """See ``Clock``."""
        while self._steps * self._dt <= due:
            self._arm.step(self._steps * self._dt)
            self._steps += 1
        self._now = max(self._now, due)

    def joints(self) -> JointReading | None:
        """See ``Robot``."""
        return self._bus.joints()

    def frame(self) -> Frame | None:
        """None: it is blind."""
        return None

    def send(self, torque: np.ndarray) -> None:
        """See ``Robot``."""
        self._bus.send(torque, self._now)

    def close(self) -> None:
        """See ``Robot``."""
