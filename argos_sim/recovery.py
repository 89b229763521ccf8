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


def recovery(old: Tensor, shifted: Tensor, after: Tensor, after_old: Tensor) -> dict[str, Any]:
    """What became of the success lost, each with a 95 % interval that resamples the episodes.

    Args:
        old: successes (M,) of the deployed controller in the old conditions.
        shifted: its successes under the shift.
        after: successes of the adapted one under the shift.
        after_old: and in the old conditions again.

    Returns:
        ``lost``, ``recovered`` (share of it; left out where nothing was lost) and ``forgotten``.
    """
    n = min(len(x) for x in (old, shifted, after, after_old))
    table = torch.stack([x[:n].float() for x in (old, shifted, after, after_old)])
    index = torch.randint(n, (DRAWS, n), generator=torch.Generator().manual_seed(0))
    means = torch.cat([table.mean(1, keepdim=True), table[:, index].mean(2)], 1)  # (4, 1 + DRAWS), the first as it is
    lost, forgotten = means[0] - means[1], means[0] - means[3]
    recovered = (means[2] - means[1]) / lost
    figures: dict[str, Any] = {}
    for name, value in (("lost", lost), ("recovered", recovered), ("forgotten", forgotten)):
        drawn = value[1:][value[1:].isfinite()]  # a resample may have lost nothing
        if bool(value[0].isfinite()):
            edges = torch.quantile(drawn, torch.tensor([0.025, 0.975])).tolist()
            figures |= {name: float(value[0]), f"{name}_ci": edges}
    return figures
