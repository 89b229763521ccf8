"""Two processes that share the environments learn what one with all of them learns, and end when one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.argos_sim.controller.ppo_worker import LOGGED, SAMPLES, SEEDS, TRAINING
from tests.stand_ins import environment

ROOT = Path(__file__).resolve().parents[3]


def start(folder: Path, processes: int, what: str) -> subprocess.Popen[str]:
    worker = ["-m", "tests.argos_sim.controller.ppo_worker", str(folder), what]
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    quiet, said = subprocess.DEVNULL, subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *launch, *worker], cwd=ROOT, env=environment(), stdout=quiet, stderr=said, text=True
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """What one process left, and what two left."""
    folders = {n: tmp_path_factory.mktemp(f"ranks{n}") for n in (1, 2)}
    for processes, folder in folders.items():
        finish(start(folder, processes, "samples"))
    return folders


def test_two_processes_take_the_steps_of_one_on_the_same_samples(runs: dict[int, Path]) -> None:
    """Gradients, clipping, advantages' mean and deviation, the critic's normalisation and the learning rate that
    follows the KL divergence: the policies and critics that they lead to are equal up to rounding (1e-5).

    Weights need not be: a key's bias has no effect and no gradient but rounding, which Adam makes a step of.
    """
    one, two = (load_file(runs[n] / "learned.safetensors") for n in (1, 2))
    assert torch.isclose(two["rate"], one["rate"])
    assert not torch.isclose(one["rate"], torch.tensor(SAMPLES.learning_rate))
    for name, value in one.items():
        assert torch.allclose(two[name], value, atol=1e-5, rtol=1e-5), name
    assert (one["action"] - one["before"]).abs().max() > 1e-2


def rewards(folder: Path) -> torch.Tensor:
    """Of each seed (rows) and iteration."""
    curves = [(folder / str(seed) / "curves.jsonl").read_text().splitlines() for seed in range(SEEDS)]
    return torch.tensor([[json.loads(row)["ppo/reward"] for row in rows] for rows in curves])


def test_two_processes_learn_as_well_as_one(runs: dict[int, Path]) -> None:
    """Over three seeds the last three iterations' rewards differ by less than three standard errors of the difference,
    which are less than half of what was learned."""
    one, two = rewards(runs[1]), rewards(runs[2])
    assert one.shape == two.shape == (SEEDS, TRAINING.iterations)
    last = [r[:, -3:].mean(1) for r in (one, two)]
    error = float(sum(r.var() / SEEDS for r in last)) ** 0.5
    learned = float(last[0].mean() - one[:, :2].mean())
    difference = abs(float(last[0].mean() - last[1].mean()))
    assert difference < 3 * error < learned / 2, f"{difference:.4f} apart, error {error:.4f}, learned {learned:.4f}"


def test_processes_draw_apart_and_hold_the_same_actor(runs: dict[int, Path]) -> None:
    folder = runs[2] / "0"
    zero, one = (load_file(folder / f"actor{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(zero[k], one[k]) for k in zero)
    assert not torch.allclose(rewards(runs[1]), rewards(runs[2]), atol=1e-4)


def test_only_the_main_process_logs_and_keeps_checkpoints(runs: dict[int, Path]) -> None:
    main, other = (runs[2] / "apart" / rank for rank in ("0", "1"))
    assert {path.name for path in other.iterdir()} == {"actor1.safetensors"}, "which the worker writes"
    assert {"checkpoint.safetensors", "curves.jsonl"} < {path.name for path in main.iterdir()}
    assert (main / "wandb.txt").read_text().splitlines() == ["0 init", *["0 log"] * LOGGED, "0 finish"]


def test_a_killed_process_ends_the_other_and_the_run_goes_on_from_its_checkpoint(
    runs: dict[int, Path], tmp_path: Path
) -> None:
    process = start(tmp_path, 2, "slowly")
    while not (tmp_path / "checkpoint.safetensors").exists():
        assert process.poll() is None, "training ended without a checkpoint"
        time.sleep(0.05)
    os.kill(int((tmp_path / "1.pid").read_text()), signal.SIGKILL)
    killed = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and time.monotonic() - killed < 45
    assert said.count("Another process of this run ended") == 1, said[-3000:]
    assert not (tmp_path / "actor0.safetensors").exists(), "training ended before it could be killed"
    finish(start(tmp_path, 2, "train"))
    whole, resumed = (load_file(folder / "actor0.safetensors") for folder in (runs[2] / "0", tmp_path))
    assert all(torch.equal(resumed[k], whole[k]) for k in whole)
