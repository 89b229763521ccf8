"""The STS3215's nominal law and its bus, written once more in numpy for the arms of the MuJoCo loop.

    effort = clip(strength * clip(command, ± stall) - scale * back_emf * velocity, ± stall)

as in ``argos_sim.actuators``, which is written for Isaac Lab; a test holds the two to each other.
"""

from __future__ import annotations

import numpy as np

from argos_sim.randomization.ranges import RandomizationRanges

RANGES = ("motor_strength", "back_emf_scale", "action_delay")
"""What ``Motors.resample`` draws."""
LONGEST_DELAY = 16
"""Physics steps."""


class Motors:
    """The motors of N arms of J joints; commands and efforts are (N, J) [N·m]."""

    def __init__(self, arms: int, joints: int, stall_torque: float, back_emf: float) -> None:
        self.stall, self.back_emf = stall_torque, back_emf
        self.strength, self.scale = np.ones((arms, joints)), np.ones((arms, joints))
        self.delay = np.zeros(arms, dtype=int)
        """Age of the command in force [physics steps]."""
        self.reset()

    def reset(self) -> None:
        """Forget the commands under way: the first one acts at once, until younger ones have come of age."""
        self._sent: list[np.ndarray] = []

    def resample(self, ranges: RandomizationRanges, rng: np.random.Generator) -> None:
        """Draw all motors anew."""
        low, high = ranges.action_delay
        if high > LONGEST_DELAY:
            raise ValueError(f"An action_delay of {high} physics steps is more than the {LONGEST_DELAY} that are kept.")
        self.strength = rng.uniform(*ranges.motor_strength, self.strength.shape)
        self.scale = rng.uniform(*ranges.back_emf_scale, self.scale.shape)
        self.delay = rng.integers(low, high + 1, len(self.delay))

    def efforts(self, command: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """What acts on the joints in this physics step, given what is commanded in it and ``velocity`` [rad/s]."""
        self._sent = [command, *self._sent[:LONGEST_DELAY]]
        age = np.minimum(self.delay, len(self._sent) - 1)
        acting = np.stack(self._sent)[age, np.arange(len(age))].clip(-self.stall, self.stall)
        return (self.strength * acting - self.scale * self.back_emf * velocity).clip(-self.stall, self.stall)
