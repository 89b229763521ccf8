"""Joints and motors of an arm by multiple shooting: simulated windows shall move as the recorded ones did.

Gauss-Newton with Levenberg's damping over the logarithms of each joint's strength and of its friction, armature and
back-EMF per strength, one delay, and the state in which each window begins (Bock, 1983). A joint that carries little
moves almost alike whatever its strength: that is seen only where strength is a parameter of its own, and is not lost in
finite differences. Every perturbed number is one candidate of a batch; the windows' states are eliminated window by
window. Windows that fit badly, since a command was lost or the arm touched something, count less. Intervals are the
sandwich estimate with a window as the unit, so that errors within a window may depend on each other (White, 1980; Liang
and Zeger, 1986).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from argos_sim.identification.shooting import Candidates, Shooter
from argos_sim.identification.windows import Recording, Windows, cut
from argos_sim.mujoco_c.world import World

PER_JOINT = ("friction", "armature", "back_emf", "strength")
NOMINAL = {"friction": 0.052, "armature": 0.028, "strength": 1.0}
"""Where the search begins; back-EMF begins at the world's."""
FIRST_DELAY = 0.01
PRIOR = {"friction": 1.5, "armature": 1.0, "back_emf": 1.0, "strength": 0.25}
"""Standard deviation of what is believed beforehand, in logarithms: nearly nothing, but of strength. A joint that
carries nothing tells only how friction, armature and back-EMF compare to it."""
PRIOR_DELAY = 0.03
"""s."""
STEP, STEP_STRENGTH, STEP_DELAY, STEP_STATE = 0.005, 0.03, 5e-4, (1e-3, 1e-2)
"""Of finite differences: logarithms of what is per strength and of strength, seconds, rad and rad/s."""
TIMES, COARSE_TIMES, COARSE = 8, 6, 5
"""Steps of the search at most, and those before them with one window in ``COARSE``."""
SETTLED = 0.5
"""Search ends where no parameter moves by more, in its own standard deviations."""
OUTLIER = 2.5
"""Times the usual residual from which a window counts less."""
KNOWN = 0.03
"""Largest deviation of a strength's logarithm at which it counts as known. A joint that carries some mN·m, as the
gripper does, comes to 0.04 to 0.09 in 60 s, and no model has so small a weight right."""


@dataclass(frozen=True)
class Fit:
    """What was found.

    Attributes:
        mean: (4J + 1,) logarithms of ``PER_JOINT``, each for all joints, and the delay [s].
        covariance: of that.
        start: (W, 2J) states in which the windows begin.
        first_start: the same for one window in ``COARSE``, with the first guess of the parameters, ``first``.
        weight: (W, J) how much each window counts.
        before, after: root mean square residual of each joint (J,) [rad], with the first guess of the parameters and
            with those found, the windows' states found for either; ``before`` of one window in ``COARSE``.
        settled: whether the search ended where it could go no farther.
    """

    joint_names: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray
    start: np.ndarray
    first_start: np.ndarray
    weight: np.ndarray
    before: np.ndarray
    after: np.ndarray
    first: np.ndarray
    settled: bool = True

    def value(self, name: str, joint: int) -> tuple[float, float, float]:
        """Of one of ``PER_JOINT``: what was found, and the ends of its 95 % interval."""
        at = PER_JOINT.index(name) * len(self.joint_names) + joint
        half = 1.96 * np.sqrt(self.covariance[at, at])
        return tuple(float(np.exp(self.mean[at] + k * half)) for k in (0, -1, 1))  # pyright: ignore[reportReturnType]

    def ratio(self, name: str, joint: int) -> tuple[float, float, float]:
        """The same of a parameter divided by the joint's strength."""
        joints = len(self.joint_names)
        one, two = PER_JOINT.index(name) * joints + joint, PER_JOINT.index("strength") * joints + joint
        c = self.covariance
        half = 1.96 * np.sqrt(max(0.0, c[one, one] + c[two, two] - 2 * c[one, two]))
        middle = self.mean[one] - self.mean[two]
        return tuple(float(np.exp(middle + k * half)) for k in (0, -1, 1))  # pyright: ignore[reportReturnType]

    def delay(self) -> tuple[float, float, float]:
        """From a command to what it does, as read [s], and the ends of its 95 % interval."""
        half = 1.96 * float(np.sqrt(self.covariance[-1, -1]))
        return float(self.mean[-1]), float(self.mean[-1]) - half, float(self.mean[-1]) + half

    def strength_known(self, joint: int) -> bool:
        """Whether the data tell a joint's strength, and not only how its other parameters compare to it."""
        at = PER_JOINT.index("strength") * len(self.joint_names) + joint
        return bool(np.sqrt(self.covariance[at, at]) < KNOWN)


def candidates(vectors: np.ndarray) -> Candidates:
    """Of (C, 4J + 1) vectors as in ``Fit.mean``."""
    parts = np.split(np.exp(vectors[:, :-1]), len(PER_JOINT), axis=1)
    return Candidates(**dict(zip(PER_JOINT, parts, strict=True)), delay=vectors[:, -1])


def from_ratios(joints: int) -> np.ndarray:
    """(4J + 1, 4J + 1) from what is searched, where all but strength is per strength, to ``Fit.mean``."""
    out = np.eye(4 * joints + 1)
    for k in range(3):
        out[k * joints : (k + 1) * joints, 3 * joints : 4 * joints] = np.eye(joints)
    return out


class _Search:
    """The parameters and the states of some windows."""

    def __init__(self, shooter: Shooter, windows: Windows, vector: np.ndarray, start: np.ndarray | None = None) -> None:
        self.shooter, self.windows, self.vector = shooter, windows, vector
        self.joints = windows.position.shape[2]
        self.start = windows.first_guess() if start is None else start
        self.damping = 1e-6
        self.prior = np.r_[np.repeat([PRIOR[name] for name in PER_JOINT], self.joints), PRIOR_DELAY]
        self.believed = vector.copy()
        self.steps = np.r_[np.full(3 * self.joints, STEP), np.full(self.joints, STEP_STRENGTH), STEP_DELAY]
        self.state_steps = np.repeat(STEP_STATE, self.joints)
        self.residual = self._residuals(vector[None], self.start[None])[0]

    def _residuals(self, vectors: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """(C, W, S, J) [rad], zero where nothing was read."""
        found = self.shooter.simulate(candidates(vectors @ from_ratios(self.joints).T), self.windows, starts)
        return np.where(self.windows.known[..., None], found - self.windows.position, 0.0)

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """How much each window counts (W, J), and the usual residual of each joint (J,) [rad]."""
        count = np.maximum(self.windows.known.sum(1), 1)[:, None]
        own = np.sqrt((self.residual**2).sum(1) / count)
        usual = np.maximum(np.median(own, 0), 1e-6)
        return 1 / (1 + (own / (OUTLIER * usual)) ** 4), usual

    def linearize(self, of_parameters: bool = True) -> None:
        """Derivatives by one batch, whitened, with the windows' states eliminated."""
        count = len(self.vector) if of_parameters else 0
        states = 2 * self.joints
        vectors = np.repeat(self.vector[None], count + states, 0)
        starts = np.repeat(self.start[None], count + states, 0)
        for i in range(count):
            vectors[i, i] += self.steps[i]
        for i in range(states):
            starts[count + i, :, i] += self.state_steps[i]
        steps = np.r_[self.steps[:count], self.state_steps]
        slope = (self._residuals(vectors, starts) - self.residual) / steps[:, None, None, None]
        weight, usual = self.weights()
        self.root = (np.sqrt(weight) / usual)[:, None]  # (W, 1, J)
        flat = (slope * self.root).reshape(count + states, len(self.windows), -1).transpose(1, 2, 0)
        self.of_states = flat[..., count:]
        self.basis, _ = np.linalg.qr(self.of_states)
        self.of_parameters = flat[..., :count]
        self.left = self._without_states(self.of_parameters)
        self.own = (self.residual * self.root).reshape(len(self.windows), -1)
        self.rest = self._without_states(self.own[..., None])[..., 0]

    def _without_states(self, columns: np.ndarray) -> np.ndarray:
        """The part of (W, S·J, any) that no change of the windows' states explains."""
        return columns - self.basis @ (self.basis.transpose(0, 2, 1) @ columns)

    def hessian(self) -> np.ndarray:
        """Of half the sum of squares, beliefs included."""
        return np.einsum("wnp,wnq->pq", self.left, self.left) + np.diag(self.prior**-2.0)

    def gradient(self) -> np.ndarray:
        """Likewise."""
        return np.einsum("wnp,wn->p", self.left, self.rest) + (self.vector - self.believed) / self.prior**2

    def cost(self, residual: np.ndarray, vector: np.ndarray) -> float:
        """Half the weighted sum of squares, with the weights of the last linearization."""
        return float(
            0.5 * ((residual * self.root) ** 2).sum() + 0.5 * (((vector - self.believed) / self.prior) ** 2).sum()
        )

    def step(self) -> float:
        """One step that makes it better; how far the parameters went, in their deviations, or would have to go where
        no step makes it better."""
        self.linearize()
        hessian, gradient = self.hessian(), self.gradient()
        before = self.cost(self.residual, self.vector)
        for _ in range(8):
            change = -np.linalg.solve(hessian + self.damping * np.diag(np.diag(hessian)), gradient)
            change *= min(1.0, 0.7 / float(np.abs(change).max()))
            if self._try(change, before):
                self.damping = max(self.damping / 10, 1e-9)
                return float(np.abs(change / np.sqrt(np.diag(np.linalg.inv(hessian)))).max())
            self.damping *= 30
        return float(np.abs(np.linalg.solve(hessian, gradient) / np.sqrt(np.diag(np.linalg.inv(hessian)))).max())

    def settle(self) -> None:
        """The windows' states alone, for the parameters as they are."""
        for _ in range(2):
            self.linearize(of_parameters=False)
            self._try(np.zeros(0), self.cost(self.residual, self.vector))

    def _try(self, change: np.ndarray, before: float) -> bool:
        own = self.own + self.of_parameters @ change
        states = -np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(self.of_states, own, strict=True)])
        vector = self.vector + change if len(change) else self.vector
        start = self.start + states
        residual = self._residuals(vector[None], start[None])[0]
        if not np.isfinite(residual).all() or self.cost(residual, vector) > before:
            return False
        self.vector, self.start, self.residual = vector, start, residual
        return True

    def covariance(self) -> np.ndarray:
        """Sandwich, a window being the unit; with the derivatives of the last step, after which little moved."""
        inverse = np.linalg.inv(self.hessian())
        own = (self.residual * self.root).reshape(len(self.windows), -1, 1)
        each = np.einsum("wnp,wn->wp", self.left, self._without_states(own)[..., 0])
        effective = max(2.0, float(self.weights()[0].mean() * len(self.windows)))
        correction = effective / max(1.0, effective - 1 - len(PER_JOINT))
        return inverse @ (correction * each.T @ each + np.diag(self.prior**-2.0)) @ inverse

    def rms(self) -> np.ndarray:
        """Of each joint (J,) [rad], windows weighed as in the fit."""
        weight = self.weights()[0][:, None] * self.windows.known[..., None]
        return np.sqrt((weight * self.residual**2).sum((0, 1)) / weight.sum((0, 1)))


def fit(
    recording: Recording, world: World, threads: int = 1, tell: Callable[[str], None] = lambda line: None
) -> tuple[Fit, Windows, Shooter]:
    """Find an arm's joints and motors in a recording of it.

    Raises:
        ValueError: the recording is of other joints than the world's.
    """
    if recording.joint_names != world.joint_names:
        raise ValueError(
            f"The recording is of the joints {', '.join(recording.joint_names)}, and the policy's are "
            f"{', '.join(world.joint_names)}."
        )
    shooter, windows = Shooter(world, recording, threads), cut(recording, world.rates.physics_dt)
    values = NOMINAL | {"back_emf": world.back_emf}
    joints = len(world.joint_names)
    first = np.r_[np.log(np.repeat([values[name] for name in PER_JOINT], joints)), FIRST_DELAY]
    coarse = _Search(shooter, windows.some(COARSE), first)
    for number in range(COARSE_TIMES):
        moved = coarse.step()
        tell(f"some windows, step {number + 1}: moved by {moved:.2f} deviations")
        if moved < 2.0:
            break
    nominal = _Search(shooter, windows.some(COARSE), first)
    nominal.settle()
    search = _Search(shooter, windows, coarse.vector)
    search.believed = first
    moved = np.inf
    for number in range(TIMES):
        moved = search.step()
        tell(f"all windows, step {number + 1}: moved by {moved:.3f} deviations, off by {search.rms().mean():.5f} rad")
        if moved < SETTLED:
            break
    weight, whole = search.weights()[0], from_ratios(joints)
    found = Fit(
        joint_names=world.joint_names,
        mean=whole @ search.vector,
        covariance=whole @ search.covariance() @ whole.T,
        start=search.start,
        first_start=nominal.start,
        weight=weight,
        before=nominal.rms(),
        after=search.rms(),
        first=first,
        settled=moved < SETTLED,
    )
    return found, windows, shooter
