"""Parameters of N episodes, drawn from ranges of the same names and indexed by environment."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Self

import torch
from torch import Tensor

from argos_sim.randomization.draws import Draws
from argos_sim.randomization.ranges import RandomizationRanges


@dataclass
class EpisodeValues:
    """A subclass's fields are tensors (N,), named like ranges of ``RandomizationRanges``, which give their units.

    Indexing with ids gives the values of some environments, for cameras that do not all tick at once.
    """

    ALWAYS: ClassVar[dict[str, tuple[float, float]]] = {}
    """Fields that no range describes, with what they are drawn from."""

    @classmethod
    def nominal(cls, count: int, device: torch.device | str = "cpu") -> Self:
        """Values of ``count`` environments of the nominal scene."""
        nominal = RandomizationRanges()
        values = (cls.ALWAYS.get(f.name) or getattr(nominal, f.name) for f in fields(cls))
        return cls(*(torch.full((count,), float(low), device=device) for low, _ in values))

    @classmethod
    def sample(
        cls, count: int, ranges: RandomizationRanges, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> Self:
        """Values of ``count`` new episodes."""
        state = cls.nominal(count, device)
        state.resample(torch.arange(count, device=device), Draws(ranges, count, device), generator)
        return state

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self, ids: Tensor) -> Self:
        return type(self)(*(getattr(self, f.name)[ids] for f in fields(self)))

    def resample(self, ids: Tensor, draws: Draws, generator: torch.Generator) -> None:
        """Draw new values for the environments ``ids``, in place."""
        for f in fields(self):
            values = getattr(self, f.name)
            if f.name in self.ALWAYS:
                low, high = self.ALWAYS[f.name]
                draw = torch.rand(len(ids), generator=generator, device=generator.device).to(values.device)
                values[ids] = low + (high - low) * draw
            else:
                values[ids] = draws.uniform(f.name, ids, (), generator)
