"""Trains the toy world model; run by ``test_parallel.py``, alone or as one of several processes."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from argos_wm.data.windows import WindowConfig
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from argos_wm.training.parallel import Parallel
from argos_wm.training.planner import train_planner
from tests.argos_wm.toy import GROUPS, SMALL, toy_cache

if __name__ == "__main__":
    folder, steps, micro_batches = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    parallel = Parallel.launched()
    loop = LoopConfig(
        steps=8, batch_size=16, micro_batches=micro_batches, ema_decay=0.9, checkpoint_every=4, log_every=1
    )
    if steps < loop.steps:  # stop as a kill would, after the checkpoint
        original = torch.optim.AdamW.step
        done = [0]

        def step(self, *arguments, **settings):
            done[0] += 1
            if done[0] > steps:
                sys.exit(0)
            return original(self, *arguments, **settings)

        torch.optim.AdamW.step = step  # pyright: ignore[reportAttributeAccessIssue]
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
    )
    if parallel.main:
        model.save(folder)
