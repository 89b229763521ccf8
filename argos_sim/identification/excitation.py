"""Torques that show what a joint is made of, within a box of postures and a bound.

A pull toward a reference holds the arm in its box; what is asked of it changes every few seconds:

- *sweep*: the reference is a sum of slow sines: gravity of many postures, back-EMF at many speeds;
- *shake*: sines of torque from 1 to 5 Hz about one posture: rotors, and how late a command acts;
- *creep*: the reference walks slowly from one posture to another and rests there: dry friction.

All joints move at once, each by its own random numbers (Swevers et al., "Optimal robot excitation and identification",
1997, for multi-sines; nothing is optimised here).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from argos_sim.deploy.manifest import DeployError, PolicyManifest

APPROACH, SWEEP, SHAKE, CREEP, RETURN, DAMP = range(6)
"""What is played, as it is recorded; only what comes between the ways is ``Excitation``'s."""
MOVING = (SWEEP, SHAKE, CREEP)
"""What is fitted."""
SO100_BOX = {
    "shoulder_pan": (0.0, 0.9),
    "shoulder_lift": (-1.65, 0.4),
    "elbow_flex": (0.85, 0.45),
    "wrist_flex": (-0.1, 0.8),
    "wrist_roll": (0.0, 1.2),
    "gripper": (0.85, 0.55),
}
"""Centre and half-width of each joint's part of the box [rad]: the arm stands upright, above what lies on the table."""


@dataclass(frozen=True)
class ExcitationSettings:
    """How hard and how far an arm is moved."""

    seconds: float = 60.0
    """Of what is fitted; the ways to the box and back come on top (``argos_sim.motion.ways``)."""
    seed: int = 0
    stiffness: float = 6.0
    """Pull toward the reference [N·m/rad]; back-EMF damps it."""
    bound: float = 0.6
    """Share of each torque limit that is asked for at most."""
    shake: float = 0.3
    """Torque of the shaking at its most, in shares of the limit."""
    speed: float = 2.0
    """Of the reference at most [rad/s]; a creep takes a tenth."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.seconds <= 3600.0:
            raise ValueError(f"An arm is excited for 1 to 3600 s, not {self.seconds:g}.")
        if not (self.stiffness > 0 and 0 < self.bound <= 1 and 0 < self.shake <= 1 and self.speed > 0):
            raise ValueError(f"{self}: stiffness and speed must be above zero, bound and shake shares of the limit.")


BLOCK_S = (4.0, 3.0, 3.0)
"""Of sweep, shake and creep, which take turns; a part of the recording has them all."""
REST_S = 1.5
"""Between two postures of a creep."""
SWEEP_HZ, SHAKE_HZ, SINES = (0.1, 0.6), (1.0, 5.0), 4


class Excitation:
    """Torques of one recording; asked once a control step, in turn.

    Args:
        manifest: names, limits and rates of the joints.
        box: centre and half-width of each joint [rad], by its name.

    Attributes:
        centre: (J,) middle of the box, where it begins [rad].
    """

    def __init__(
        self,
        manifest: PolicyManifest,
        settings: ExcitationSettings | None = None,
        box: dict[str, tuple[float, float]] | None = None,
    ) -> None:
        self.settings, box = settings or ExcitationSettings(), SO100_BOX if box is None else box
        unknown = [name for name in manifest.joint_names if name not in box]
        if unknown:
            raise DeployError(f"There is no box of postures for the joint {unknown[0]}; give one for each joint.")
        self.centre, self._half = np.array([box[name] for name in manifest.joint_names]).T
        low, high = np.array(manifest.joint_limits).T
        outside = (self.centre - self._half < low) | (self.centre + self._half > high)
        if outside.any():
            name = manifest.joint_names[int(outside.argmax())]
            raise DeployError(f"The box of postures of {name} reaches beyond its limits in the policy.")
        self._limit = np.array(manifest.torque_limits)
        self._dt = 1 / manifest.rates["control_hz"]
        self._reference: np.ndarray | None = None
        self._drawn = (-1, -1)

    def phase(self, time: float) -> int:
        """What is played ``time`` seconds after the begin."""
        ends = np.cumsum(BLOCK_S)
        return MOVING[int(np.searchsorted(ends, time % ends[-1], side="right"))]

    def torque(self, time: float, position: np.ndarray) -> np.ndarray:
        """What is asked for (J,) [N·m] ``time`` seconds after the begin, at ``position`` (J,) [rad]."""
        if self._reference is None:
            self._reference = np.array(position, dtype=float)
        phase = self.phase(time)
        self._draw(time, phase)
        goal, speed, shake = self._posture, self.settings.speed, 0.0
        if phase == SWEEP:
            goal = self.centre + self._half * self._sines(time, SWEEP_HZ)
        elif phase == SHAKE:
            shake = self.settings.shake * self._limit * self._sines(time, SHAKE_HZ)
        else:
            speed = 0.1 * self.settings.speed
        step = speed * self._dt
        self._reference = self._reference + np.clip(goal - self._reference, -step, step)
        pull = self.settings.stiffness * (self._reference - position)
        most = self.settings.bound * self._limit
        return np.clip(pull + shake, -most, most)

    def _draw(self, time: float, phase: int) -> None:
        """Random numbers of a phase, the same for the same seed; a creep's posture is another every ``REST_S``."""
        number = int(time // (REST_S if phase == CREEP else sum(BLOCK_S)))
        if (phase, number) == self._drawn:
            return
        self._drawn = (phase, number)
        rng = np.random.default_rng((self.settings.seed, phase, number + 1))
        joints = len(self.centre)
        self._posture = self.centre + self._half * rng.uniform(-0.9, 0.9, joints)
        self._frequency = rng.uniform(0, 1, (SINES, joints))
        self._shift = rng.uniform(0, 2 * np.pi, (SINES, joints))

    def _sines(self, time: float, band: tuple[float, float]) -> np.ndarray:
        """(J,) sums of sines, mostly within ± 1 and never beyond."""
        low, high = band
        frequency = low + (high - low) * (np.arange(SINES)[:, None] + self._frequency) / SINES
        total = np.sin(2 * np.pi * frequency * time + self._shift).sum(0) / np.sqrt(SINES)
        return np.clip(total, -1.0, 1.0)
