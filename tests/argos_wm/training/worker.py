"""Trains the toy world model; run by ``test_parallel.py``, alone or as one of several processes."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import torch
from torch.distributed.tensor import DTensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from argos_wm.data.windows import WindowConfig
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from argos_wm.training.parallel import Parallel
from argos_wm.training.planner import train_planner
from argos_wm.training.self_forcing import SelfForcingConfig
from tests.argos_wm.toy import GROUPS, SMALL, toy_cache


def leave() -> NoReturn:
    """End as scripts do, without finalizing Python: a thread of gloo's that lets go of a collective's tensor only then
    cannot have the interpreter's lock any more, and aborts the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    folder, steps, micro_batches = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    shard = "shard" in sys.argv[4:]
    parallel = Parallel.launched()
    loop = LoopConfig(
        steps=8,
        batch_size=16,
        micro_batches=micro_batches,
        ema_decay=0.9,
        checkpoint_every=4,
        log_every=1,
        shard=shard,
        checkpoint_activations=shard,
    )
    if steps < loop.steps:  # stop as a kill would, after the checkpoint
        original = torch.optim.AdamW.step
        done = [0]

        def step(self, *arguments, **settings):
            done[0] += 1
            if done[0] > steps:
                leave()
            return original(self, *arguments, **settings)

        torch.optim.AdamW.step = step  # pyright: ignore[reportAttributeAccessIssue]
    held: list[float] = []

    def count(optimizer: torch.optim.Optimizer, *_: object) -> None:
        """The share of all weights that this process holds."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        mine = sum(p.to_local().numel() if isinstance(p, DTensor) else p.numel() for p in parameters)
        held.append(mine / sum(p.numel() for p in parameters))

    register_optimizer_step_pre_hook(count)
    model = train_planner(
        toy_cache(),
        HashedNGramEncoder(),
        replace(SMALL, context_noise=0.1),
        WindowConfig(),
        loop,
        folder,
        RunLogger(folder),
        GROUPS,
        parallel=parallel,
        self_forcing=SelfForcingConfig(share=0.5),
    )
    if parallel.main:
        model.save(folder)
        (folder / "held").write_text(str(max(held)))
    leave()
