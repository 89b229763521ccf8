"""What every test shares: no network, one thread, the same random numbers in each test."""

from __future__ import annotations

import os
import random

# Before anything imports the libraries that read them.
for _name, _value in {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "offline",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
    # Of processes that tests start, too: two threads on two cores wait for each other whenever anything else runs, ten
    # times slower on a busy machine.
    "OMP_NUM_THREADS": "1",
}.items():
    os.environ[_name] = _value

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seed all global generators before each test, so that its result does not depend on which ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    return 0
