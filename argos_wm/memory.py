"""What the planner remembers, within a fixed budget of tokens.

The last states are remembered whole, as the history. Of an older state only those patches are kept that tell something
new: each is compared with the last one kept at its place, and its *novelty* is the part of that change which lies in
the directions in which scenes really change, the leading principal components of changes (``ChangeComponents``). What
moves or appears is kept with its true time and place; a wall that stays a wall is kept once.

Shapes: B batch, T states, P patches, C channels, M the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from argos_wm.latents import LatentState, sent


@dataclass
class MemoryTokens:
    """Single patches remembered from anywhere in the past.

    Attributes:
        vision: (B, M, C).
        place: (B, M, 3) seconds from now, row, column.
        mask: (B, M) bool, False for a token that is not there.
    """

    vision: Tensor
    place: Tensor
    mask: Tensor

    def __getitem__(self, index: Any) -> MemoryTokens:
        """Index the batch."""
        return MemoryTokens(self.vision[index], self.place[index], self.mask[index])

    def aged(self, seconds: float) -> MemoryTokens:
        """The same tokens, seen from ``seconds`` later."""
        return MemoryTokens(self.vision, self.place - self.place.new_tensor([seconds, 0.0, 0.0]), self.mask)

    def pin_memory(self) -> MemoryTokens:
        """In memory that a GPU copies from while it computes."""
        return MemoryTokens(self.vision.pin_memory(), self.place.pin_memory(), self.mask.pin_memory())

    def to(self, device: torch.device | str) -> MemoryTokens:
        return MemoryTokens(sent(self.vision, device), sent(self.place, device), sent(self.mask, device))


@dataclass(frozen=True, eq=False)
class ChangeComponents:
    """Principal components of how patches change: what lies outside of them is noise.

    Attributes:
        directions: (K, C) orthonormal.
        scale: mean squared length of a change within them, so that a novelty of 1 is an average change.
        kept: share of the changes' variance that the directions hold.
    """

    directions: Tensor
    scale: float
    kept: float

    @staticmethod
    def fit(changes: Tensor, variance: float = 0.9) -> ChangeComponents:
        """From changes (N, C) of patches between states; the fewest directions that hold ``variance`` of them."""
        if not 0 < variance <= 1:
            raise ValueError(f"The share of variance to keep is {variance}; it must be above 0 and at most 1.")
        x = changes.double()
        values, vectors = torch.linalg.eigh(x.T @ x / len(x))
        values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
        share = values.cumsum(0) / values.sum().clamp_min(1e-12)
        count = min(len(values), int((share < variance).sum()) + 1)
        return ChangeComponents(vectors[:, :count].T.float(), float(values[:count].sum()), float(share[count - 1]))

    @staticmethod
    def everything(channels: int) -> ChangeComponents:
        """All directions alike: novelty is the mean squared change."""
        return ChangeComponents(torch.eye(channels), float(channels), 1.0)

    def novelty(self, change: Tensor) -> Tensor:
        """Changes (…, C) to their squared length within the directions (…,), in units of an average change."""
        return (change @ self.directions.T.to(change)).square().sum(-1) / max(self.scale, 1e-12)


class MemoryBank:
    """Remembers at most ``budget`` patches of each of B scenes; the least novel is forgotten first.

    Args:
        cells: (P, 2) row and column of each of a state's patches, see ``patch_cells``.
        budget: M.
        components: what counts as a change.
        least: novelty below which a patch is not remembered even where there is room.
    """

    def __init__(self, cells: Tensor, budget: int, components: ChangeComponents, least: float = 0.05) -> None:
        if budget < 1:
            raise ValueError(f"A memory of {budget} tokens holds nothing; give it at least 1, or no memory at all.")
        self.budget, self.components, self.least = budget, components, least
        self.cells = cells
        self._vision: Tensor | None = None

    def add(self, vision: Tensor, time: Tensor, mask: Tensor | None = None) -> None:
        """Remember what is new in a state.

        Args:
            vision: (B, P, C).
            time: (B,) seconds, on any clock that ``tokens`` is asked on.
            mask: (B,) bool; scenes where it is False keep their memory as it is.
        """
        batch, patches, channels = vision.shape
        device = vision.device
        if self._vision is None:
            self._vision = vision.new_zeros(batch, 0, channels)
            self._place, self._novelty = vision.new_zeros(batch, 0, 3), vision.new_zeros(batch, 0)
            self._last = vision.new_zeros(batch, patches, channels)
        novelty = self.components.novelty(vision - self._last)
        if mask is not None:
            novelty = novelty * mask[:, None]
        cells = self.cells.to(device)[None].expand(batch, -1, -1)
        place = torch.cat([time[:, None, None].expand(-1, patches, 1).to(cells), cells], -1)
        kept = (novelty >= self.least)[..., None]
        self._last = torch.where(kept, vision, self._last)
        novelty = torch.where(kept[..., 0], novelty, torch.zeros_like(novelty))
        self._vision = torch.cat([self._vision, vision], 1)
        self._place = torch.cat([self._place, place], 1)
        self._novelty = torch.cat([self._novelty, novelty], 1)
        if self._novelty.shape[1] > self.budget:
            best = self._novelty.topk(self.budget, dim=1).indices
            self._vision = self._vision.gather(1, best[..., None].expand(-1, -1, channels))
            self._place = self._place.gather(1, best[..., None].expand(-1, -1, 3))
            self._novelty = self._novelty.gather(1, best)

    def tokens(self, now: Tensor) -> MemoryTokens:
        """What is remembered, at ``now`` (B,) on the clock of ``add``."""
        if self._vision is None:
            raise ValueError("Nothing was ever added to this memory.")
        seconds = self._place[..., :1] - now[:, None, None]
        return MemoryTokens(self._vision, torch.cat([seconds, self._place[..., 1:]], -1), self._novelty > 0)


def remember(
    states: LatentState, mask: Tensor, now: Tensor, cells: Tensor, budget: int, components: ChangeComponents
) -> MemoryTokens:
    """The memory of B scenes that have seen T states.

    Args:
        states: (B, T, …), oldest first.
        mask: (B, T) bool, False for a state that is not known.
        now: (B,) seconds on the states' clock.
        cells, budget, components: see ``MemoryBank``.
    """
    bank = MemoryBank(cells, budget, components)
    for i in range(states.time.shape[1]):
        bank.add(states.vision[:, i], states.time[:, i], mask[:, i])
    return bank.tokens(now)
