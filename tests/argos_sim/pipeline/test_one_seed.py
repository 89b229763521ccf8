"""Every random choice comes from one seed: two runs on the CPU with one seed are equal to the bit, others differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def digests() -> list[dict[str, str]]:
    """Of two runs with one seed, and of one with another."""
    command, pipe = [sys.executable, "-m", "tests.argos_sim.pipeline.seeded_worker"], subprocess.PIPE
    runs = [subprocess.Popen([*command, seed], cwd=ROOT, stdout=pipe, stderr=pipe, text=True) for seed in "334"]
    found = []
    for process in runs:
        out, error = process.communicate(timeout=600)
        said = [line for line in out.splitlines() if line.startswith("digests ")]
        assert said, error[-3000:]
        found.append(json.loads(said[0].removeprefix("digests ")))
    return found


def test_two_runs_with_one_seed_are_equal(digests: list[dict[str, str]]) -> None:
    assert digests[0] == digests[1]
    assert set(digests[0]) == {"scenes", "demonstrations", "dagger", "ppo", "imitation"}


def test_nothing_of_a_run_with_another_seed_is_equal(digests: list[dict[str, str]]) -> None:
    assert [name for name, digest in digests[0].items() if digests[2][name] == digest] == []
