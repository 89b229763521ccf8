"""What goes between an arm of MuJoCo's and who drives it: commands one way, read-outs and pictures the other."""

from __future__ import annotations

from multiprocessing.context import SpawnContext

import numpy as np

from argos_sim.deploy.exchange import Latest
from argos_sim.deploy.robots import JointReading

COMMANDS = 32
"""That are kept: more than 500 a second make while physics is late by as much as it catches up (``live.BEHIND``)."""


class SimulatedBus:
    """The newest of each, in shared memory.

    Attributes:
        command: ``torque`` (J,) [N·m] and the ``time`` when it was sent [s].
        read_out: ``position`` (J,) [rad], ``velocity`` (J,) [rad/s] and the ``time`` when they were sensed.
        frame: ``picture`` uint8 (H, W, 3) and its ``time``.
    """

    def __init__(self, context: SpawnContext, joints: int, picture_shape: tuple[int, int, int]) -> None:
        each = ("f8", (joints,))
        self.command = Latest(context, {"torque": each, "time": ("f8", ())}, COMMANDS)
        self.read_out = Latest(context, {"position": each, "velocity": each, "time": ("f8", ())})
        self.frame = Latest(context, {"picture": ("u1", picture_shape), "time": ("f8", ())})

    def joints(self) -> JointReading | None:
        """See ``Robot``."""
        newest = self.read_out.read()
        if newest is None:
            return None
        value = newest[1]
        return JointReading(value["position"], value["velocity"], float(value["time"]))

    def send(self, torque: np.ndarray, time: float) -> None:
        """See ``Robot``."""
        self.command.write(torque=torque, time=time)
