"""Networks made fast on a GPU: layers compiled, weights kept as matrix products read them, kernels recorded.

Layers of one list share their code, so that compiling them one by one takes seconds where the whole network takes
minutes; what lies between them is small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from argos_wm.encoders.text import TextFeatures
from argos_wm.latents import LatentState
from argos_wm.memory import MemoryTokens

for kind in (LatentState, MemoryTokens, TextFeatures):
    pytree.register_dataclass(kind)  # so that their tensors are found

MOST = 16
"""Recordings that are kept; the one that was made first makes room."""
WARM_UP = 3
"""Calls before kernels are recorded: the first ones compile, choose algorithms and allocate."""
RETURNS = 3
"""Calls of the same shapes before they are recorded. A recording took 0.7 s on an H100, and the last part of a batch
whose size differs each time would otherwise be recorded each time."""


def layers(module: nn.Module) -> Iterator[nn.Module]:
    """The members of all lists of two and more layers of one class."""
    for part in module.modules():
        if isinstance(part, nn.ModuleList) and len(part) > 1 and len({type(layer) for layer in part}) == 1:
            yield from part


def compile_layers(module: nn.Module) -> None:
    """Compile each layer, in place: ``forward`` and what a layer's ``sharded_methods`` names besides.

    What has no lists of layers is compiled whole.
    """
    for layer in layers(module):
        layer.compile()
        for name in getattr(layer, "sharded_methods", ()):
            vars(layer)[name] = torch.compile(getattr(layer, name))
    if not any(layers(module)):
        module.compile()


def uncompile_layers(module: nn.Module) -> None:
    """Undo ``compile_layers``."""
    for layer in (module, *layers(module)):
        layer._compiled_call_impl = None
        for name in getattr(layer, "sharded_methods", ()):
            vars(layer).pop(name, None)


def halve_products(module: nn.Module) -> None:
    """Keep the weights of matrix products in bfloat16, which autocast would make of them at every call.

    For inference only. Results are the same to the bit.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.to(torch.bfloat16)


class Recorded:
    """A function of tensors whose kernels are recorded once for each set of shapes that keeps coming, and then replayed
    (CUDA graphs).

    A small batch otherwise waits for the host to launch its kernels one by one. The function must do the same at every
    call: no branch on what tensors hold, and no randomness. Arguments and result are any nest of lists, tuples, dicts,
    latent states, memory and text; what is in them that is no tensor belongs to what is recorded. Where a tensor is not
    on a GPU, or has more rows than ``most_rows``, the function is called as it is.
    """

    def __init__(self, function: Callable[..., Any], most_rows: int = 64) -> None:
        self.function, self.most_rows = function, most_rows
        self._recordings: dict[Any, tuple[torch.cuda.CUDAGraph, list[Tensor], list[Any], Any]] = {}
        self._met: Counter[Any] = Counter()
        self._pool: Any = None
        """Memory that all recordings share: they are replayed one after the other, and what they return is copied."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        values, form = pytree.tree_flatten((args, kwargs))
        tensors = [value for value in values if isinstance(value, Tensor)]
        if not all(tensor.is_cuda and tensor.shape[:1].numel() <= self.most_rows for tensor in tensors):
            return self.function(*args, **kwargs)
        key = (form, *((v.shape, v.dtype, v.device) if isinstance(v, Tensor) else v for v in values))
        if key not in self._recordings:
            self._met[key] += 1
            if self._met[key] <= RETURNS:
                return self.function(*args, **kwargs)
            if len(self._recordings) >= MOST:
                self._recordings.pop(next(iter(self._recordings)))
            self._recordings[key] = self._record(values, form)
        graph, inputs, outputs, out_form = self._recordings[key]
        for mine, given in zip(inputs, tensors, strict=True):
            mine.copy_(given)
        graph.replay()
        return pytree.tree_unflatten([x.clone() if isinstance(x, Tensor) else x for x in outputs], out_form)

    def _record(self, values: list[Any], form: Any) -> tuple[torch.cuda.CUDAGraph, list[Tensor], list[Any], Any]:
        kept = [value.clone() if isinstance(value, Tensor) else value for value in values]
        args, kwargs = pytree.tree_unflatten(kept, form)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.function(*args, **kwargs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self._pool):
            result = self.function(*args, **kwargs)
        outputs, out_form = pytree.tree_flatten(result)
        return graph, [value for value in kept if isinstance(value, Tensor)], outputs, out_form
