"""How far exported networks are from torch, over recorded data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from argos_sim.deploy.manifest import PlannerSettings
from argos_sim.deploy.planner import Computes, Sampler
from argos_sim.traced import Inputs, Traced, named

COMPARED_AT_ONCE = 256
SAMPLED = 64
"""Targets that are drawn to compare samplers."""


@dataclass(frozen=True)
class Difference:
    """Of two things that should be the same; not finite where one of them is not."""

    rms: float
    largest: float


class TorchNetwork:
    """A traced network as a ``Computes``, in torch."""

    def __init__(self, traced: Traced) -> None:
        self._traced, self.outputs = traced, list(traced.outputs)

    @torch.no_grad()
    def __call__(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Its outputs."""
        tensors = {name: torch.from_numpy(x) for name, x in inputs.items()}
        given: Inputs = {
            name: [tensors[f"{name}_{i}"] for i in range(len(x))] if isinstance(x, list) else tensors[name]
            for name, x in self._traced.inputs.items()
        }
        found = self._traced.module(**given)
        return [x.numpy() for x in ([found] if isinstance(found, Tensor) else found)]


def difference(traced: Traced, network: Computes, scale: np.ndarray | float = 1.0) -> Difference:
    """Over all recorded values of one network, in units of ``scale`` of its outputs."""
    sums, count, largest = 0.0, 0, 0.0
    for inputs in batches(traced):
        for mine, theirs in zip(network(inputs), TorchNetwork(traced)(inputs), strict=True):
            if not (np.isfinite(mine).all() and np.isfinite(theirs).all()):
                return Difference(float("nan"), float("nan"))
            apart = np.abs(mine - theirs) / scale
            sums += float(np.square(apart, dtype=np.float64).sum())
            count += apart.size
            largest = max(largest, float(apart.max(initial=0.0)))
    return Difference((sums / max(1, count)) ** 0.5, largest)


def target_difference(
    torch_halves: tuple[Computes, Computes], halves: tuple[Computes, Computes], traced: Traced, asked: PlannerSettings
) -> Difference:
    """Of targets drawn by the planner's two halves, context and flow, from the same noise.

    Vision and proprioception are each in units of how far targets are from the present state, the root mean square over
    all; the worse of the two is told. ``largest`` is that of a whole target.

    Args:
        traced: the context network, whose first ``SAMPLED`` rows are what the planner is asked.
    """
    given = arrays(traced.rows(slice(0, SAMPLED)))
    now = [given[f"history_{part}"][:, -1] for part in ("vision", "proprio")]
    rng = np.random.default_rng(0)
    noise = [asked.temperature * rng.standard_normal(x.shape, dtype=np.float32) for x in now]
    wanted, found = (Sampler(*pair, asked)(given, (noise[0], noise[1])) for pair in (torch_halves, halves))
    parts = []
    for present, mine, theirs in zip(now, found, wanted, strict=True):
        if not np.isfinite(mine).all():
            return Difference(float("nan"), float("nan"))
        moved = float(np.sqrt(np.mean((theirs - present) ** 2)))
        each = np.sqrt([np.mean((a - b) ** 2) for a, b in zip(mine, theirs, strict=True)]) / max(moved, 1e-6)
        parts.append((float(np.sqrt(np.mean(each**2))), float(each.max())))
    return Difference(*(max(values) for values in zip(*parts, strict=True)))


def arrays(inputs: Inputs) -> dict[str, np.ndarray]:
    """As onnxruntime takes them."""
    return {name: x.numpy() for name, x in named(inputs).items()}


def batches(traced: Traced) -> Iterator[dict[str, np.ndarray]]:
    """All recorded values, some at once."""
    for begin in range(0, traced.count, COMPARED_AT_ONCE):
        yield arrays(traced.rows(slice(begin, begin + COMPARED_AT_ONCE)))
