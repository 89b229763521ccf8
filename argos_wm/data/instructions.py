"""The instructions of a dataset: their features, and what would have been wrong to say."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from argos_wm.encoders.text import TextEncoder, TextFeatures


class Instructions:
    """Text features of N episodes' instructions, each distinct one encoded once."""

    def __init__(
        self, instructions: Sequence[str], encoder: TextEncoder, groups: Mapping[str, Hashable] | None = None
    ) -> None:
        """
        Args:
            instructions: one for each episode.
            encoder: the frozen text encoder.
            groups: what each instruction asks for, such as the colour that it names; instructions of one group mean
                the same. By default every text is a group of its own.
        """
        self.distinct = sorted(set(instructions))
        number = {text: i for i, text in enumerate(self.distinct)}
        self.of_episode = torch.tensor([number[text] for text in instructions])
        self.bank = encoder(self.distinct)
        groups = groups or {}
        meanings = [groups.get(text, text) for text in self.distinct]
        self._wrong = [[j for j, other in enumerate(meanings) if other != mine] for mine in meanings]

    @property
    def can_be_wrong(self) -> bool:
        """Whether there are at least two different things to ask for."""
        return all(self._wrong)

    def right(self, episodes: Tensor) -> TextFeatures:
        """Features of the instructions of ``episodes`` (B,)."""
        return self.bank[self.of_episode[episodes]]

    def wrong(self, episodes: Tensor, seed: int = 0) -> TextFeatures:
        """Features of instructions that ask for something else, one drawn for each of ``episodes`` (B,)."""
        draw = torch.rand(len(episodes), generator=torch.Generator().manual_seed(seed)).tolist()
        choices = [self._wrong[i] for i in self.of_episode[episodes].tolist()]
        return self.bank[
            torch.tensor([options[int(u * len(options))] for options, u in zip(choices, draw, strict=True)])
        ]
