"""Flow matching between data and noise, with a network that predicts the data.

Convention: t = 0 is data, t = 1 is noise, ``x_t = (1 - t) x_0 + t ε``. The network predicts ``x̂_0``; the velocity is
``v = dx/dt = ε - x_0 = (x_t - x_0) / t``, and the loss is taken in velocity space. This is the recipe of RiT
(arXiv 2605.21981): x-prediction keeps the network's output on the data's manifold, which noise in hundreds of
dimensions is not.

A sample is a tuple of tensors ("parts", such as vision (B, P, C) and proprioception (B, D)) that share one time, so
that the same functions serve a flat tensor ``(x,)`` and a latent state.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Parts = tuple[Tensor, ...]
Predict = Callable[[Parts, float], Parts]
"""Maps ``x_t`` and the time t, the same for all rows, to ``x̂_0``."""
Solver = Literal["euler", "heun"]

MIN_TIME = 0.05
"""The velocity loss divides by t; below this time it stops growing."""


def along(t: Tensor, x: Tensor) -> Tensor:
    """Reshape t (B,) to broadcast against x (B, …)."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))


def interpolate(x0: Parts, noise: Parts, t: Tensor) -> Parts:
    """``x_t = (1 - t) x_0 + t ε`` for t (B,)."""
    return tuple(torch.lerp(x, e, along(t, x)) for x, e in zip(x0, noise, strict=True))


def velocity_loss(predicted: Tensor, x0: Tensor, t: Tensor) -> Tensor:
    """Squared error of the velocity, averaged over all but the batch.

    ``‖v̂ - v‖² = ‖x̂_0 - x_0‖² / t²``, with t held at ``MIN_TIME`` from below.

    Args:
        predicted, x0: (B, …).
        t: (B,).

    Returns:
        (B,).
    """
    error = (predicted - x0).square().flatten(1).mean(1)
    return error / t.clamp_min(MIN_TIME).square()


def dimension_shift(dimensions: int) -> float:
    """Time shift that a latent of so many dimensions needs, ``max(1, √(n / 4096))`` (RiT, after SD3)."""
    return max(1.0, math.sqrt(dimensions / 4096))


def shift_time[Time: (float, Tensor)](t: Time, shift: float) -> Time:
    """Move times toward noise, as high-dimensional latents need.

    Args:
        t: times in [0, 1], a number or a tensor of any shape.
        shift: s ≥ 1; 1 leaves t unchanged. ``dimension_shift`` derives it from the latent's size.

    Returns:
        ``s t / (1 + (s - 1) t)``, which keeps both ends and moves the median from 1/2 to ``s / (s + 1)``.
    """
    return shift * t / (1 + (shift - 1) * t)


def training_times(batch: int, shift: float, mean: float = 0.0, std: float = 1.0, device: str = "cpu") -> Tensor:
    """Logit-normal times (B,), shifted: ``shift_time(sigmoid(mean + std z), shift)``."""
    return shift_time(torch.sigmoid(mean + std * torch.randn(batch, device=device)), shift)


def solver_times(steps: int, shift: float) -> list[float]:
    """``steps`` + 1 falling times from 1 (noise) to 0 (data), evenly spaced before the shift."""
    return [shift_time(1 - i / steps, shift) for i in range(steps + 1)]


def guided(
    conditional: Predict, unconditional: Predict, scale: float, interval: tuple[float, float] = (0.0, 1.0)
) -> Predict:
    """Classifier-free guidance, ``x̂_u + scale (x̂_c - x̂_u)``, for times inside ``interval`` only.

    Outside of the interval, and everywhere with scale 1, this is the conditional model and costs no second pass.
    """

    def predict(x: Parts, t: float) -> Parts:
        if scale == 1.0 or not interval[0] <= t <= interval[1]:
            return conditional(x, t)
        pairs = zip(unconditional(x, t), conditional(x, t), strict=True)
        return tuple(torch.lerp(u, c, scale) for u, c in pairs)

    return predict


def sample(predict: Predict, noise: Parts, steps: int, solver: Solver = "heun", shift: float = 1.0) -> Parts:
    """Integrate from noise at t = 1 to data at t = 0.

    Args:
        predict: the model, ``(x_t, t) -> x̂_0``.
        noise: parts (B, …) drawn from a unit Gaussian; the result is a function of them alone.
        steps: number of solver steps.
        solver: ``euler`` (one evaluation a step) or ``heun`` (two, second order). Heun's last step is an Euler step,
            because the velocity at t = 0 is undefined; it lands on ``x̂_0`` itself.
        shift: see ``shift_time``.

    Returns:
        parts of the same shapes.
    """
    if solver not in ("euler", "heun"):
        raise ValueError(f"There is no flow solver named {solver!r}; choose euler or heun.")
    if steps < 1:
        raise ValueError(f"The flow solver was asked for {steps} steps; it needs at least 1.")
    times = solver_times(steps, shift)
    x = noise
    for now, then in itertools.pairwise(times):
        v = _velocity(predict, x, now)
        ahead = tuple(a + (then - now) * b for a, b in zip(x, v, strict=True))
        if solver == "heun" and then > 0:
            w = _velocity(predict, ahead, then)
            ahead = tuple(a + (then - now) * (b + c) / 2 for a, b, c in zip(x, v, w, strict=True))
        x = ahead
    return x


def _velocity(predict: Predict, x: Parts, t: float) -> Parts:
    return tuple((a - b) / t for a, b in zip(x, predict(x, t), strict=True))
