"""One training step on many processes: DDP by Hugging Face's Accelerate, FSDP2 by torch; nothing of it for one process.

A run that was started by ``accelerate launch`` or ``torchrun`` finds itself here. The parts of a batch (micro-batches)
are dealt to the processes, and each part draws from randomness of its own; so many processes, or one that accumulates
as many parts, take the same steps up to rounding. Checkpoints hold whole tensors, whoever wrote them, so that a run may
be resumed with another number of processes.

FSDP2 is torch's own ``fully_shard``: Accelerate offers it on GPUs only, and what is not tested here is not trusted
there. What is to be sharded by itself says so by an attribute ``sharded_methods``, the names of the methods besides
``forward`` through which it is called.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

PATIENCE = timedelta(hours=12)
"""How long processes wait for one that works alone (encodes, imitates). One that dies is noticed at once, by its closed
connections and by the launcher, which ends the others."""


class Parallel:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: this process, from 0.
        ranks: how many there are.
    """

    def __init__(self, accelerator: Any = None) -> None:
        """``accelerator``: an ``accelerate.Accelerator``, or None for a process alone."""
        self.accelerator = accelerator
        self.rank = 0 if accelerator is None else accelerator.process_index
        self.ranks = 1 if accelerator is None else accelerator.num_processes

    @staticmethod
    def launched(device: str = "cpu") -> Parallel:
        """As the environment says, which ``accelerate launch`` and ``torchrun`` set."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return Parallel()
        if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
            raise ValueError(
                "Accelerate was configured for FSDP, which is planner.loop.shard=true here; launch with torchrun, or "
                "with a configuration without FSDP."
            )
        own, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if device != "cpu" and own >= there:
            raise ValueError(
                f"Process {own} of this machine has no GPU to itself, since there are {there}. Start as many processes "
                "as GPUs (torchrun --nproc_per_node), or set device=cpu."
            )
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs  # takes seconds

        views = DistributedDataParallelKwargs(gradient_as_bucket_view=True)  # or gradients are held twice
        handlers = [views, InitProcessGroupKwargs(timeout=PATIENCE)]
        # The model has its own precision.
        return Parallel(Accelerator(cpu=device == "cpu", mixed_precision="no", kwargs_handlers=handlers))

    @property
    def main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    @property
    def device(self) -> torch.device | None:
        """Where this process computes; None leaves it to the caller."""
        return None if self.accelerator is None else self.accelerator.device

    def parts(self, count: int) -> range:
        """Which of ``count`` micro-batches are this process's."""
        if count % self.ranks:
            raise ValueError(
                f"{count} micro-batches cannot be dealt to {self.ranks} processes evenly; set micro_batches to a "
                f"multiple of {self.ranks}."
            )
        return range(self.rank, count, self.ranks)

    def prepare(self, module: nn.Module, shard: bool = False) -> Any:
        """What to call in the module's place; an optimizer is made after it, since sharding puts other parameters.

        Args:
            shard: leave each process with its share of the weights, gradients and optimizer state (FSDP2); otherwise
                each has all (DDP).
        """
        if self.accelerator is None:
            return module
        if not shard:
            return self.accelerator.prepare(module)
        return fully_sharded(module.to(self.accelerator.device), self.accelerator.device)

    def without_sync(self, forward: Any, last: bool) -> AbstractContextManager[Any]:
        """Gradients are exchanged only with the last micro-batch of a step; those of shards with each, or every process
        would hold them whole."""
        sharded = hasattr(forward, "set_requires_gradient_sync")
        if self.accelerator is None or last or sharded:
            return nullcontext()
        return self.accelerator.no_sync(forward)

    def mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars averaged over the processes that bring them."""
        if self.accelerator is None:
            return values
        from torch import distributed

        brought: list[dict[str, float]] = [{} for _ in range(self.ranks)]
        distributed.all_gather_object(brought, {k: float(v) for k, v in values.items()})
        every: dict[str, list[float]] = {}
        for mine in brought:
            for name, value in mine.items():
                every.setdefault(name, []).append(value)
        return {name: torch.tensor(sum(v) / len(v)) for name, v in every.items()}

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes of tensors of one shape, written into ``tensor``."""
        if self.accelerator is not None:
            torch.distributed.all_reduce(tensor)
        return tensor

    def agreed(self, value: Any) -> Any:
        """The main process's ``value``, of plain types, in every process."""
        if self.accelerator is None:
            return value
        from torch import distributed

        told = [value]
        distributed.broadcast_object_list(told, src=0)
        return told[0]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()


def is_lost_process(error: BaseException) -> bool:
    """Whether ``error`` says that another process of the run is gone: gloo raises a plain ``RuntimeError`` then."""
    distributed = isinstance(error, torch.distributed.DistError)
    return distributed or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def fully_sharded(module: nn.Module, device: torch.device) -> nn.Module:
    """Shard a module in place over all processes, unit by unit: a unit is whole only while it computes."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for unit in (*(m for m in module.modules() if m is not module and hasattr(m, "sharded_methods")), module):
        fully_shard(unit, mesh=mesh)
        for name in getattr(unit, "sharded_methods", ()):
            register_fsdp_forward_method(unit, name)
    return module


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be sharded, in full."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def like(value: Tensor, model: Tensor) -> Tensor:
    """A full tensor, sharded as ``model`` is."""
    mesh = getattr(model, "device_mesh", None)
    if mesh is None:
        return value.to(model.device, model.dtype)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(model.device, model.dtype), mesh, model.placements)  # pyright: ignore
