"""Two processes take the steps of one with twice the micro-batches, and either may go on where the other stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from argos_wm.training.parallel import Parallel

ROOT = Path(__file__).resolve().parents[3]
STEPS = 8


def train(folder: Path, processes: int, *more: str, steps: int = STEPS, micro_batches: int = 2) -> None:
    worker = ["-m", "tests.argos_wm.training.worker", str(folder), str(steps), str(micro_batches), *more]
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch, *worker], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


def losses(folder: Path) -> list[float]:
    return [json.loads(row)["planner/loss"] for row in (folder / "curves.jsonl").read_text().splitlines()]


def weights(folder: Path) -> torch.Tensor:
    return torch.cat([v.flatten() for _, v in sorted(load_file(folder / "planner.safetensors").items())])


def test_two_processes_equal_one_and_resume_each_other(tmp_path: Path) -> None:
    train(tmp_path / "one", 1)
    train(tmp_path / "two", 2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert torch.allclose(weights(tmp_path / "two"), weights(tmp_path / "one"), atol=1e-5)
    train(tmp_path / "mixed", 2, steps=6)  # stopped after its checkpoint at step 4
    train(tmp_path / "mixed", 1)
    assert len(losses(tmp_path / "mixed")) == STEPS
    assert torch.allclose(weights(tmp_path / "mixed"), weights(tmp_path / "one"), atol=1e-5)


def test_shards_equal_one_and_resume_each_other(tmp_path: Path) -> None:
    train(tmp_path / "one", 1)
    train(tmp_path / "shards", 2, "shard")
    assert losses(tmp_path / "shards") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert torch.allclose(weights(tmp_path / "shards"), weights(tmp_path / "one"), atol=1e-5)
    assert float((tmp_path / "shards" / "held").read_text()) < 0.55  # a half, and what cannot be halved evenly
    train(tmp_path / "mixed", 2, "shard", steps=6)
    train(tmp_path / "mixed", 2)
    assert torch.allclose(weights(tmp_path / "mixed"), weights(tmp_path / "one"), atol=1e-5)


def test_shards_accumulate_micro_batches_as_one_process_does(tmp_path: Path) -> None:
    train(tmp_path / "one", 1, steps=STEPS, micro_batches=4)
    train(tmp_path / "shards", 2, "shard", micro_batches=4)
    assert losses(tmp_path / "shards") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert torch.allclose(weights(tmp_path / "shards"), weights(tmp_path / "one"), atol=1e-5)


def test_accelerates_own_sharding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match=r"planner\.loop\.shard=true"):
        Parallel.launched()


def test_parts_that_cannot_be_dealt_are_refused() -> None:
    assert list(Parallel().parts(3)) == [0, 1, 2]
    three = Parallel()
    three.rank, three.ranks = 1, 3
    assert list(three.parts(6)) == [1, 4]
    with pytest.raises(ValueError, match="multiple of 3"):
        three.parts(4)
