"""How much memory training a world model takes on each GPU, counted without a GPU and without computing anything.

One loss is traced on fake tensors, which have shapes and no contents, and everything that autograd would keep for the
backward pass is counted once. Attention is counted as the plain formula, with its matrix of weights, which a GPU's
fused kernel does not keep. Buffers that gradients are exchanged through, and what the allocator wastes, are not
counted: leave a fifth of the memory free.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from argos_wm.data.windows import Windows
from argos_wm.encoders.text import TextFeatures
from argos_wm.latents import LatentSpec, LatentState
from argos_wm.training.loop import LoopConfig
from argos_wm.world_model import WorldModel, WorldModelConfig

FLOAT = 4
"""Bytes: weights, gradients, moments and averages are float32; matrix products are bfloat16."""


@dataclass(frozen=True)
class Footprint:
    """Bytes on one of the processes that share a training."""

    parameters: int
    """Of the whole model, a number and not bytes."""
    weights: int
    gradients: int
    optimizer: int
    """AdamW's two moments."""
    average: int
    """The averaged weights."""
    whole: int
    """What is gathered while it computes: the largest two shards at once, the next one being fetched, and the root."""
    activations: int
    """Kept for the backward pass of one micro-batch."""

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.average + self.whole + self.activations


def footprint(
    config: WorldModelConfig,
    spec: LatentSpec,
    text_dim: int,
    words: int,
    action_dim: int,
    loop: LoopConfig,
    processes: int = 1,
    goals: bool = False,
) -> Footprint:
    """Bytes on each of ``processes``, each of which trains on ``loop.rows`` rows at once.

    Args:
        config, spec, text_dim, action_dim: of the world model.
        words: L, tokens of an instruction.
        goals: whether windows are told goals.
        loop: its ``batch_size``, ``micro_batches``, ``checkpoint_activations``, ``ema_decay`` and ``shard`` count.
    """
    shards = processes if loop.shard else 1
    with FakeTensorMode():
        model = WorldModel(replace(config, precision="bf16"), spec, text_dim, action_dim)
        kept = _Kept(model)
        with kept.counting():
            model.loss(*random_windows(model, loop.rows, words, goals))
        units = [FLOAT * _count(block) for block in kept.blocks]
        parameters = _count(model)
    # Recomputed, a block's activations exist while it is differentiated, and only what enters it is kept.
    inside = kept.entering + max(kept.inside) if loop.checkpoint_activations else sum(kept.inside)
    share = FLOAT * -(-parameters // shards)
    root = FLOAT * parameters - sum(units)
    return Footprint(
        parameters=parameters,
        weights=share,
        gradients=share,
        optimizer=2 * share,
        average=share if loop.ema_decay > 0 else 0,
        whole=0 if shards == 1 else root + sum(sorted(units)[-2:]),
        activations=kept.outside + inside,
    )


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def random_windows(
    model: WorldModel, rows: int, words: int, goals: bool = False, device: torch.device | str = "cpu"
) -> tuple[Windows, TextFeatures]:
    """Noise of the right shapes, to count or time a training with; half of the words are padding."""
    spec, config = model.spec, model.config
    period = torch.full((rows,), 0.8, device=device)

    def states(*shape: int) -> LatentState:
        return LatentState(
            torch.randn(*shape, spec.patches, spec.channels, device=device),
            torch.randn(*shape, spec.proprio_dim, device=device),
            torch.zeros(shape, device=device),
        )

    history = states(rows, len(config.history))
    history.time = torch.tensor(config.history, device=device).expand(rows, -1)
    target = replace(states(rows), time=period)
    windows = Windows(
        history=history,
        history_mask=torch.ones(rows, len(config.history), dtype=torch.bool, device=device),
        target=target,
        horizon=period,
        actions=torch.randn(rows, config.action_steps, model.action_dim, device=device),
        episode=torch.zeros(rows, dtype=torch.long),
        frame=torch.zeros(rows, dtype=torch.long),
        goal=target if goals else None,
    )
    mask = (torch.arange(words, device=device) < (words + 1) // 2).expand(rows, -1)
    return windows, TextFeatures(torch.randn(rows, words, model.text_dim, device=device) * mask[..., None], mask)


class _Kept:
    """Counts what is kept for the backward pass: inside of each block, and outside of all."""

    def __init__(self, model: WorldModel) -> None:
        self.blocks = [*model.dit.context_blocks, *model.dit.blocks]
        self.inside = [0] * len(self.blocks)
        """Bytes of each block's own activations."""
        self.entering = 0
        """Bytes of the tokens that enter blocks."""
        self.outside = 0
        self._block: int | None = None
        self._seen = {p.untyped_storage()._cdata for p in model.parameters()}
        self._alive: list[Tensor] = []  # or a storage's identity may be given to the next

    @contextmanager
    def counting(self) -> Iterator[None]:
        handles = []
        for index, block in enumerate(self.blocks):
            handles.append(block.register_forward_pre_hook(partial(self._enter, index)))
            handles.append(block.register_forward_hook(self._leave))
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, index: int, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._block = index
        self.entering += inputs[0].nbytes

    def _leave(self, *_: object) -> None:
        self._block = None

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._alive.append(tensor)
            if self._block is None:
                self.outside += storage.nbytes()
            else:
                self.inside[self._block] += storage.nbytes()
        return tensor
