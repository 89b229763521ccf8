"""Every random choice comes from one seed: two runs on the CPU with one seed are equal to the bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_two_runs_with_one_seed_are_equal() -> None:
    command, pipe = [sys.executable, "-m", "tests.argos_sim.pipeline.seeded_worker"], subprocess.PIPE
    runs = [subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    found = []
    for process in runs:
        out, error = process.communicate(timeout=600)
        said = [line for line in out.splitlines() if line.startswith("digests ")]
        assert said, error[-3000:]
        found.append(json.loads(said[0].removeprefix("digests ")))
    assert found[0] == found[1]
    assert set(found[0]) == {"demonstrations", "dagger", "dagger_of_another_seed", "ppo"}
    assert found[0]["dagger"] != found[0]["dagger_of_another_seed"]
