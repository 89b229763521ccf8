"""From which limits each environment draws: as a rule those of one set of ranges, but every environment may differ.

So a curriculum can let single environments try values that the others do not have yet.
"""

from __future__ import annotations

import torch
from torch import Tensor

from argos_sim.randomization.ranges import RandomizationRanges, range_names

NOMINAL = RandomizationRanges()


class Draws:
    """Limits (low, high) of every range for N environments, and uniform draws from them.

    Args:
        ranges: of all environments, until ``set`` or ``limit`` change them.
        count: N.
    """

    def __init__(self, ranges: RandomizationRanges, count: int, device: torch.device | str = "cpu") -> None:
        self._index = {name: i for i, name in enumerate(range_names())}
        self.limits = torch.zeros(len(self._index), count, 2, device=device)
        self.set(ranges)

    def set(self, ranges: RandomizationRanges, widest: RandomizationRanges | None = None) -> None:
        """Draw from ``ranges`` everywhere; ``widest`` are those that environments may come to have."""
        self.ranges, self.widest = ranges, widest or ranges
        values = [getattr(ranges, name) for name in self._index]
        self.limits[:] = torch.tensor(values, dtype=torch.float32, device=self.limits.device)[:, None]

    def limit(self, ids: Tensor, axis: Tensor, low: Tensor, high: Tensor) -> None:
        """Let environments ``ids (n,)`` draw the range of index ``axis (n,)`` from ``low`` to ``high`` (n,)."""
        self.limits[axis, ids] = torch.stack([low, high], -1)

    def may(self, name: str) -> bool:
        """Whether any environment may draw another value than the nominal one; known without asking a GPU."""
        return getattr(self.widest, name) != getattr(NOMINAL, name)

    def uniform(self, name: str, ids: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Uniform numbers (n, *shape) for environments ``ids``, independent of each other."""
        low, high = self.limits[self._index[name], ids].view(len(ids), *(1 for _ in shape), 2).unbind(-1)
        draw = torch.rand(len(ids), *shape, generator=generator, device=generator.device).to(low.device)
        return low + (high - low) * draw

    def integers(self, name: str, ids: Tensor, generator: torch.Generator) -> Tensor:
        """Uniform integers (n,), both ends included; a limit between two integers counts as the one below."""
        low, high = self.limits[self._index[name], ids].floor().unbind(-1)
        draw = torch.rand(len(ids), generator=generator, device=generator.device).to(low.device)
        return torch.minimum(low + ((high - low + 1) * draw).floor(), high).long()
