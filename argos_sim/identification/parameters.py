"""What is searched of an arm, as one vector, and what is believed of it beforehand.

A vector has, for all J joints, the logarithms of friction, armature and back-EMF per strength and of strength; one
delay [s]; the logarithm of a factor on the mass of the link that each joint moves; and where those links' centres of
mass are beside the modelled ones [m]. Links are estimated along, with a Gaussian prior about the model (``Links``), so
that what the data do not tell of them is in the joints' intervals.
"""

from __future__ import annotations

import numpy as np

from argos_sim.identification.links import Links
from argos_sim.identification.shooting import Candidates

PER_JOINT = ("friction", "armature", "back_emf", "strength")
NOMINAL = {"friction": 0.052, "armature": 0.028, "strength": 1.0}
"""Where the search begins; back-EMF begins at the world's."""
FIRST_DELAY = 0.01
PRIOR = {"friction": 1.5, "armature": 1.0, "back_emf": 1.0, "strength": 0.25}
"""Standard deviation of what is believed beforehand, in logarithms: nearly nothing, but of strength. A joint that
carries nothing tells only how friction, armature and back-EMF compare to it."""
PRIOR_DELAY = 0.03
"""s."""
STEP, STEP_STRENGTH, STEP_DELAY, STEP_MASS, STEP_CENTRE = 0.005, 0.03, 5e-4, 0.03, 1e-3
"""Of finite differences: logarithms of what is per strength, of strength and of mass, seconds and metres."""


class Parameters:
    """Places of an arm's numbers in a vector of P, and its first guess, beliefs and finite differences.

    Attributes:
        first: (P,) where the search begins, and about which beliefs are.
        deviation: (P,) standard deviations of what is believed.
        steps: (P,) lengths of finite differences.
        together: (P,) the direction that changes no movement: all masses and strengths by the same share.
        physical: (P, P) from what is searched to the same with friction, armature and back-EMF themselves.
    """

    def __init__(self, joints: int, back_emf: float, links: Links) -> None:
        self.joints, self.links, values = joints, links, NOMINAL | {"back_emf": back_emf}
        self.delay = 4 * joints
        self.mass = slice(self.delay + 1, self.delay + 1 + (joints if links.mass else 0))
        self.centre = slice(self.mass.stop, self.mass.stop + (3 * joints if links.centre else 0))
        size = self.centre.stop
        self.first, self.deviation, self.steps = np.zeros(size), np.zeros(size), np.zeros(size)
        self.first[: self.delay + 1] = np.r_[np.log(np.repeat([values[n] for n in PER_JOINT], joints)), FIRST_DELAY]
        self.deviation[: self.delay + 1] = np.r_[np.repeat([PRIOR[name] for name in PER_JOINT], joints), PRIOR_DELAY]
        self.deviation[self.mass], self.deviation[self.centre] = links.mass, links.centre
        self.steps[: self.delay + 1] = np.r_[np.full(3 * joints, STEP), np.full(joints, STEP_STRENGTH), STEP_DELAY]
        self.steps[self.mass], self.steps[self.centre] = STEP_MASS, STEP_CENTRE
        strength = slice(3 * joints, 4 * joints)
        self.together, self.physical = np.zeros(size), np.eye(size)
        if links.mass:
            self.together[self.mass] = self.together[strength] = 1.0
        for k in range(3):
            self.physical[k * joints : (k + 1) * joints, strength] = np.eye(joints)

    def consistent(self, slope: np.ndarray) -> np.ndarray:
        """Derivatives (P, ...) by finite differences, made zero along ``together``.

        Each is some percent wrong, since movements bend. Their sum would seem to tell how heavy all links are, by more
        than what is believed of it; they are mended in proportion to their squares, so that those of what is hardly
        seen stay what they are.
        """
        flat = slope.reshape(len(slope), -1)
        share = (flat**2).sum(1) * self.together
        if share.any():
            flat = flat - np.outer(share / share.sum(), self.together @ flat)
        return flat.reshape(slope.shape)

    def candidates(self, vectors: np.ndarray) -> Candidates:
        """Of (C, P) vectors of ``physical`` numbers."""
        count, joints = len(vectors), self.joints
        parts = np.split(np.exp(vectors[:, : self.delay]), len(PER_JOINT), axis=1)
        mass, centre = np.ones((count, joints)), np.zeros((count, joints, 3))
        if self.links.mass:
            mass = np.exp(vectors[:, self.mass])
        if self.links.centre:
            centre = vectors[:, self.centre].reshape(count, joints, 3)
        named = dict(zip(PER_JOINT, parts, strict=True))
        return Candidates(**named, delay=vectors[:, self.delay], mass=mass, centre=centre)
