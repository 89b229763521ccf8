"""Batches drawn ahead of the training that consumes them, by worker processes, or as they are needed.

What is drawn follows from a batch's number alone, so that it does not matter who draws it: not how many workers there
are, not where a run was resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from argos_wm.training.loop import LoopConfig, part_seed
from argos_wm.training.parallel import Parallel

KEPT = 2
"""Batches that each worker has ready."""
APART = 104_395_301
"""What sets the seeds of batches apart from those of the model's own randomness."""


class Ahead[Batch]:
    """``draw(number)``, with torch's default generator seeded for the number, perhaps long before it is asked for.

    Numbers are asked for in the order in which ``fit`` counts micro-batches. Workers hand batches over in shared memory
    (/dev/shm), ``KEPT`` each.
    """

    def __init__(
        self,
        draw: Callable[[int], Batch],
        loop: LoopConfig,
        parallel: Parallel | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """``device``: where batches go; for a GPU they are put into memory that it copies from while it computes."""
        self.seeded, self.loop, self.device = _Seeded(draw, loop), loop, torch.device(device)
        self.parts = (parallel or Parallel()).parts(loop.micro_batches)
        self._batches: Iterator[Batch] | None = None

    def __call__(self, number: int) -> Batch:
        """The batch of this number."""
        if self.loop.workers == 0:
            return _raised(self.seeded[number])
        if self._batches is None:
            self._batches = iter(
                DataLoader(
                    self.seeded,
                    batch_size=None,
                    sampler=self._numbers(number // self.loop.micro_batches),  # pyright: ignore[reportArgumentType]
                    num_workers=self.loop.workers,
                    prefetch_factor=KEPT,
                    collate_fn=_as_it_is,
                    pin_memory=self.device.type == "cuda",
                    multiprocessing_context="fork",
                    generator=torch.Generator(),  # or the model's own randomness would be drawn from, here and there
                )
            )
        return _raised(next(self._batches))

    def _numbers(self, first: int) -> Iterator[int]:
        """Of this process's micro-batches, from a step on."""
        for step in range(first, self.loop.steps):
            yield from (step * self.loop.micro_batches + part for part in self.parts)


class _Seeded(Dataset[Any]):
    def __init__(self, draw: Callable[[int], Any], loop: LoopConfig) -> None:
        self.draw, self.loop = draw, loop

    def __getitem__(self, number: int) -> Any:
        step, part = divmod(number, self.loop.micro_batches)
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(part_seed(self.loop.seed, step, part) + APART)
        try:
            return self.draw(number)
        except Exception as error:
            return _Failed(error)
        finally:
            torch.set_rng_state(before)


@dataclass
class _Failed:
    """An error on its way from a worker, which would otherwise come with the worker's traceback as its text."""

    error: Exception


def _raised(batch: Any) -> Any:
    if isinstance(batch, _Failed):
        raise batch.error
    return batch


def _as_it_is(batch: Any) -> Any:
    return batch
