"""What a shift costs, what adaptation recovers of it, and what it forgets, from episodes paired one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from argos_wm.evaluation import wilson_interval

DRAWS = 2000
"""Resamples of a bootstrap."""


def rate(success: Tensor) -> dict[str, Any]:
    """Share of successes (M,) with Wilson's 95 % interval."""
    count = int(success.sum())
    return {
        "success": count / len(success),
        "success_ci": wilson_interval(count, len(success)),
        "episodes": len(success),
    }


def paired_loss(before: Tensor, after: Tensor) -> tuple[float, tuple[float, float]]:
    """By how much fewer succeed ``after`` than ``before``, both (M,) of the same episodes, with a 95 % interval.

    Agresti and Min's (2005), which adds half an episode to each cell of the table: a bootstrap would be sure of what
    it never saw change.
    """
    n = len(before) + 2
    worse, better = (float((x > y).sum()) + 0.5 for x, y in ((before, after), (after, before)))
    middle = (worse - better) / n
    width = 1.96 * (worse + better - (worse - better) ** 2 / n) ** 0.5 / n
    return float(before.float().mean() - after.float().mean()), (middle - width, middle + width)


def recovery(old: Tensor, shifted: Tensor, after: Tensor, after_old: Tensor) -> dict[str, Any]:
    """What became of the success lost, with 95 % intervals; of more episodes than the fewest the first are compared.

    Args:
        old: successes (M,) of the deployed controller in the old conditions.
        shifted: its successes under the shift.
        after: successes of the adapted one under the shift.
        after_old: and in the old conditions again.

    Returns:
        ``lost``, ``forgotten``, and ``recovered``, a share of what was lost, which is left out where it is not certain
        that anything was.
    """
    n = min(len(x) for x in (old, shifted, after, after_old))
    old, shifted, after, after_old = (x[:n].float() for x in (old, shifted, after, after_old))
    figures: dict[str, Any] = {}
    for name, later in (("lost", shifted), ("forgotten", after_old)):
        figures[name], figures[f"{name}_ci"] = paired_loss(old, later)
    if figures["lost_ci"][0] <= 0:
        return figures
    index = torch.randint(n, (DRAWS, n), generator=torch.Generator().manual_seed(0))
    lost, gained = (x[index].mean(1) for x in (old - shifted, after - shifted))
    drawn = (gained / lost)[lost > 0]  # a resample may have lost nothing
    figures["recovered"] = float((after - shifted).mean() / (old - shifted).mean())
    figures["recovered_ci"] = torch.quantile(drawn, torch.tensor([0.025, 0.975])).tolist()
    return figures
