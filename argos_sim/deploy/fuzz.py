"""Very many commands and states, reasonable, extreme and mad, through the guard: none may leave its limits."""

from __future__ import annotations

import numpy as np

from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.safety import SafetyGuard, SafetySettings

ROWS = 20_000
"""Arms that are tried at once."""
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


def fuzz(manifest: PolicyManifest, settings: SafetySettings, count: int, seed: int = 0) -> dict[str, float]:
    """Try at least ``count`` commands and states in short sequences, each torque following the last.

    Returns:
        how many were ``tried``, how many torques were ``outside`` torque limit or rate or not finite, and the
        ``largest`` share of a torque limit that came out.
    """
    guard, rng = SafetyGuard(manifest, settings), np.random.default_rng(seed)
    limit = settings.torque_share * np.asarray(manifest.torque_limits, dtype=float)
    low, high = np.asarray(manifest.joint_limits, dtype=float).T
    speed = np.asarray(manifest.velocity_limits, dtype=float)
    growth = np.inf if settings.torque_rate is None else settings.torque_rate / manifest.rates["control_hz"]
    tried, outside, largest = 0, 0, 0.0
    last = np.zeros((ROWS, len(limit)))
    with np.errstate(all="ignore"):
        while tried < count:
            hot = values(rng, np.zeros_like(limit), np.full_like(limit, 100.0)) if rng.random() < 0.5 else None
            given = guard.limited(
                values(rng, -limit, limit), values(rng, low, high), values(rng, -speed, speed), last, hot
            )
            grown = np.abs(given) - np.where(np.sign(given) == np.sign(last), np.abs(last), 0.0)
            wrong = ~np.isfinite(given) | (np.abs(given) > limit) | (grown > growth * (1 + 1e-9))
            outside += int(wrong.any(1).sum())
            largest = max(largest, float((np.abs(given) / limit).max()))
            tried += ROWS
            last = given if rng.random() < 0.9 else np.zeros_like(last)
    return {"tried": float(tried), "outside": float(outside), "largest": largest}
