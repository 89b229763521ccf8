"""What training holds in memory does not grow with what it reads from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def measured(folder: Path, rows: int) -> list[int]:
    """Bytes on disk; bytes held after encoding, and after training."""
    command = [sys.executable, "-m", "tests.argos_wm.data.memory_worker", str(folder), str(rows)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return [int(number) for number in done.stdout.split()[-3:]]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by Linux")
def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    small, large = measured(tmp_path / "small", 500), measured(tmp_path / "large", 10_000)
    grown = large[0] - small[0]
    assert grown > 400e6
    # Whoever kept what one of the three sources read would grow by a third of it.
    for before, after in zip(small[1:], large[1:], strict=True):
        assert after - before < 0.05 * grown
