"""Very many commands and states, reasonable, extreme and mad, through the guard: none may leave its limits.

``fuzz`` tries its rules on many arms at once; ``fuzz_steps`` a guard, step after step, as a loop on a robot asks it.
"""

from __future__ import annotations

import numpy as np

from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.safety import SafetyGuard, SafetySettings

ROWS = 20_000
"""Arms that are tried at once."""
BROKEN = (np.nan, np.inf, -np.inf)
NONE = ("torque", None, np.zeros(0), np.zeros((2, 2)))
"""What is given instead of numbers."""
MAD = (0.0, -0.0, 1e-308, -1e-308, 1e3, -1e3, 1e30, -1e30, 1.7e308, -1.7e308)


def values(rng: np.random.Generator, low: np.ndarray, high: np.ndarray, rows: int = ROWS) -> np.ndarray:
    """(rows, J) finite numbers: within ``low`` and ``high``, at or just beyond them, of any magnitude, or mad."""
    shape = rows, len(low)
    span = high - low
    kinds = rng.integers(5, size=shape)
    choices = [
        rng.uniform(low, high, shape),
        np.where(rng.random(shape) < 0.5, low, high) + rng.choice([0.0, 1e-12, -1e-12, 0.1], shape) * span,
        rng.normal(0.0, 3.0, shape) * span,
        np.sign(rng.standard_normal(shape)) * 10.0 ** rng.uniform(-300, 300, shape),
        rng.choice(MAD, shape),
    ]
    return np.choose(kinds, choices)


class _Laws:
    """Counts torques that leave the limits of a guard with these settings."""

    def __init__(self, manifest: PolicyManifest, settings: SafetySettings) -> None:
        self.limit = settings.torque_share * np.asarray(manifest.torque_limits, dtype=float)
        rate = settings.torque_rate
        self._growth = np.inf if rate is None else rate / manifest.rates["control_hz"]
        self.tried, self.outside, self.largest = 0, 0, 0.0

    def see(self, given: np.ndarray, last: np.ndarray, none: bool = False) -> None:
        """Torques (N, J) that follow ``last``; ``none`` where no torque was to come."""
        grown = np.abs(given) - np.where(np.sign(given) == np.sign(last), np.abs(last), 0.0)
        wrong = ~np.isfinite(given) | (np.abs(given) > self.limit) | (grown > self._growth * (1 + 1e-9))
        wrong |= none & (given != 0)
        self.tried += len(given)
        self.outside += int(wrong.any(1).sum())
        self.largest = max(self.largest, float((np.abs(given) / self.limit).max()))

    def found(self) -> dict[str, float]:
        return {"tried": float(self.tried), "outside": float(self.outside), "largest": self.largest}


def fuzz(manifest: PolicyManifest, settings: SafetySettings, count: int, seed: int = 0) -> dict[str, float]:
    """Try at least ``count`` commands and states in short sequences, each torque following the last.

    Returns:
        how many were ``tried``, how many torques were ``outside`` torque limit or rate or not finite, and the
        ``largest`` share of a torque limit that came out.
    """
    guard, rng, laws = SafetyGuard(manifest, settings), np.random.default_rng(seed), _Laws(manifest, settings)
    limit, speed = laws.limit, np.asarray(manifest.velocity_limits, dtype=float)
    low, high = np.asarray(manifest.joint_limits, dtype=float).T
    last = np.zeros((ROWS, len(limit)))
    with np.errstate(all="ignore"):
        while laws.tried < count:
            hot = values(rng, np.zeros_like(limit), np.full_like(limit, 100.0)) if rng.random() < 0.5 else None
            given = guard.limited(
                values(rng, -limit, limit), values(rng, low, high), values(rng, -speed, speed), last, hot
            )
            laws.see(given, last)
            last = given if rng.random() < 0.9 else np.zeros_like(last)
    return laws.found()


def _broken(rng: np.random.Generator, numbers: np.ndarray, optional: bool) -> object:
    """What is no J finite numbers; ``optional`` where None is allowed."""
    if rng.random() < 0.8:
        return np.where(np.arange(len(numbers)) == rng.integers(len(numbers)), rng.choice(BROKEN), numbers)
    choices = [x for x in NONE if not (optional and x is None)]
    return choices[rng.integers(len(choices))]


def fuzz_steps(manifest: PolicyManifest, settings: SafetySettings, count: int, seed: int = 0) -> dict[str, float]:
    """Try ``count`` steps of one guard: joints known or not, resets now and then, arguments that are no numbers.

    Returns:
        as ``fuzz``; a torque where an argument was no J finite numbers is ``outside``, too.
    """
    guard, rng, laws = SafetyGuard(manifest, settings), np.random.default_rng(seed), _Laws(manifest, settings)
    limit, speed = laws.limit, np.asarray(manifest.velocity_limits, dtype=float)
    low, high = np.asarray(manifest.joint_limits, dtype=float).T
    last, ends = np.zeros(len(limit)), [(-limit, limit), (low, high), (-speed, speed), (0 * limit, 0 * limit + 100.0)]
    drawn = np.stack([values(rng, *pair, rows=count) for pair in ends], 1)
    for states in drawn:
        given: list = list(states if rng.random() < 0.5 else states[:3])
        if rng.random() < 0.03:
            guard.reset()
            last = np.zeros_like(last)
        unseen, broken = rng.random() < 0.1, None
        if rng.random() < 0.1:
            broken = int(rng.integers(1 if unseen else len(given)))
            given[broken] = _broken(rng, given[broken], optional=broken == len(ends) - 1)
        sent = guard.unseen(given[0]) if unseen else guard.apply(*given)
        laws.see(sent[None], last[None], none=broken is not None)
        last = sent
    return laws.found()
