"""Joints and motors of an arm by multiple shooting: simulated windows shall move as the recorded ones did.

Gauss-Newton with Levenberg's damping over the logarithms of each joint's strength and of its friction, armature and
back-EMF per strength, one delay, how links are other than modelled (``parameters``), and the state in which each window
begins (Bock, 1983). A joint that carries little moves almost alike whatever its strength: that is seen only where
strength is a parameter of its own, and is not lost in finite differences. Every perturbed number is one candidate of a
batch; the windows' states are eliminated window by window. Windows that fit badly, since a command was lost or the arm
touched something, count less. Intervals are the sandwich estimate with a window as the unit, so that errors within a
window may depend on each other (White, 1980; Liang and Zeger, 1986).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from argos_sim.identification.links import Links
from argos_sim.identification.parameters import PER_JOINT, Parameters
from argos_sim.identification.shooting import Shooter
from argos_sim.identification.windows import Recording, Windows, cut
from argos_sim.mujoco_c.world import World

STEP_STATE = (1e-3, 1e-2)
"""Of finite differences [rad, rad/s]."""
TIMES, COARSE_TIMES, COARSE = 8, 6, 5
"""Steps of the search at most, and those before them with one window in ``COARSE``."""
SETTLED = 0.5
"""Search ends where no parameter moves by more, in its own standard deviations."""
OUTLIER = 2.5
"""Times the usual residual from which a window counts less."""
KNOWN = 0.03
"""Largest deviation of a strength's logarithm, were links as modelled, at which it counts as known. A joint that
carries some mN·m, as the gripper does, comes to 0.04 to 0.09 in 60 s, and no model has so small a weight right."""


@dataclass(frozen=True)
class Fit:
    """What was found.

    Attributes:
        mean: (P,) logarithms of ``PER_JOINT``, each for all joints, the delay [s], and what is told of links, see
            ``Parameters``.
        covariance: of that.
        alone: (J,) standard deviation of strength's logarithm, were links as modelled.
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
    alone: np.ndarray
    start: np.ndarray
    first_start: np.ndarray
    weight: np.ndarray
    before: np.ndarray
    after: np.ndarray
    first: np.ndarray
    parameters: Parameters
    settled: bool = True

    def value(self, name: str, joint: int) -> tuple[float, float, float]:
        """Of one of ``PER_JOINT``: what was found, and the ends of its 95 % interval."""
        return self._of_logarithm(PER_JOINT.index(name) * len(self.joint_names) + joint)

    def mass(self, joint: int) -> tuple[float, float, float] | None:
        """Likewise the factor on the mass of the link that a joint moves; None where it was taken as modelled."""
        at = range(*self.parameters.mass.indices(len(self.mean)))
        return self._of_logarithm(at[joint]) if at else None

    def _of_logarithm(self, at: int) -> tuple[float, float, float]:
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
        at = self.parameters.delay
        value, half = float(self.mean[at]), 1.96 * float(np.sqrt(self.covariance[at, at]))
        return value, value - half, value + half

    def strength_known(self, joint: int) -> bool:
        """Whether the data tell a joint's strength, and not only how its other parameters compare to it."""
        return bool(self.alone[joint] < KNOWN)


class _Search:
    """The parameters and the states of some windows."""

    def __init__(self, shooter: Shooter, windows: Windows, parameters: Parameters, vector: np.ndarray) -> None:
        self.shooter, self.windows, self.parameters, self.vector = shooter, windows, parameters, vector
        self.joints = windows.position.shape[2]
        self.start = windows.first_guess()
        self.damping = 1e-6
        self.prior, self.believed = parameters.deviation, parameters.first
        self.state_steps = np.repeat(STEP_STATE, self.joints)
        self.residual = self._residuals(vector[None], self.start[None])[0]

    def _residuals(self, vectors: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """(C, W, S, J) [rad], zero where nothing was read."""
        candidates = self.parameters.candidates(vectors @ self.parameters.physical.T)
        found = self.shooter.simulate(candidates, self.windows, starts)
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
        steps = self.parameters.steps[:count]
        vectors[range(count), range(count)] += steps
        for i in range(states):
            starts[count + i, :, i] += self.state_steps[i]
        slope = self._residuals(vectors, starts) - self.residual
        slope /= np.r_[steps, self.state_steps][:, None, None, None]
        if of_parameters:
            slope[:count] = self.parameters.consistent(slope[:count])
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

    def covariance(self, count: int | None = None) -> np.ndarray:
        """Of the first ``count`` parameters, were the others known. Sandwich, a window being the unit; with the
        derivatives of the last step, after which little moved."""
        count = len(self.vector) if count is None else count
        inverse = np.linalg.inv(self.hessian()[:count, :count])
        own = (self.residual * self.root).reshape(len(self.windows), -1, 1)
        each = np.einsum("wnp,wn->wp", self.left[..., :count], self._without_states(own)[..., 0])
        effective = max(2.0, float(self.weights()[0].mean() * len(self.windows)))
        correction = effective / max(1.0, effective - 1 - len(PER_JOINT))
        return inverse @ (correction * each.T @ each + np.diag(self.prior[:count] ** -2.0)) @ inverse

    def rms(self) -> np.ndarray:
        """Of each joint (J,) [rad], windows weighed as in the fit."""
        weight = self.weights()[0][:, None] * self.windows.known[..., None]
        return np.sqrt((weight * self.residual**2).sum((0, 1)) / weight.sum((0, 1)))


def fit(
    recording: Recording,
    world: World,
    threads: int = 1,
    tell: Callable[[str], None] = lambda line: None,
    links: Links | None = None,
) -> tuple[Fit, Windows, Shooter]:
    """Find an arm's joints and motors in a recording of it.

    Args:
        threads: of the batched simulation.
        tell: is told of each step of the search.
        links: how far they may be from the modelled ones.

    Raises:
        ValueError: the recording is of other joints than the world's.
    """
    if recording.joint_names != world.joint_names:
        raise ValueError(
            f"The recording is of the joints {', '.join(recording.joint_names)}, and the policy's are "
            f"{', '.join(world.joint_names)}."
        )
    shooter, windows = Shooter(world, recording, threads), cut(recording, world.rates.physics_dt)
    joints = len(world.joint_names)
    parameters = Parameters(joints, world.back_emf, links or Links())
    first = parameters.first
    coarse = _Search(shooter, windows.some(COARSE), parameters, first)
    for number in range(COARSE_TIMES):
        moved = coarse.step()
        tell(f"some windows, step {number + 1}: moved by {moved:.2f} deviations")
        if moved < 2.0:
            break
    nominal = _Search(shooter, windows.some(COARSE), parameters, first)
    nominal.settle()
    search = _Search(shooter, windows, parameters, coarse.vector)
    moved = np.inf
    for number in range(TIMES):
        moved = search.step()
        tell(f"all windows, step {number + 1}: moved by {moved:.3f} deviations, off by {search.rms().mean():.5f} rad")
        if moved < SETTLED:
            break
    weight, whole = search.weights()[0], parameters.physical
    found = Fit(
        joint_names=world.joint_names,
        mean=whole @ search.vector,
        covariance=whole @ search.covariance() @ whole.T,
        alone=np.sqrt(np.diag(search.covariance(parameters.delay + 1))[3 * joints : 4 * joints]),
        start=search.start,
        first_start=nominal.start,
        weight=weight,
        before=nominal.rms(),
        after=search.rms(),
        first=whole @ first,
        parameters=parameters,
        settled=moved < SETTLED,
    )
    return found, windows, shooter
