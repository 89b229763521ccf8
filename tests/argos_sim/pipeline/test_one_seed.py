"""Every random choice comes from one seed: two runs on the CPU with one seed are equal to the bit, with two are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def digests(seed: int) -> dict[str, str]:
    command = [sys.executable, "-m", "tests.argos_sim.pipeline.seeded_worker", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    said = [line for line in done.stdout.splitlines() if line.startswith("digests ")]
    assert said, done.stderr[-3000:]
    return json.loads(said[0].removeprefix("digests "))


def test_two_runs_with_one_seed_are_equal_and_with_another_not() -> None:
    first, second, other = digests(0), digests(0), digests(1)
    assert first == second
    assert all(first[name] != other[name] for name in first)
