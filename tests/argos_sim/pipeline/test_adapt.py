"""The adaptation stages at their smallest, as a user starts them, on the shipped weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from argos_sim.pipeline.stage import RECORD, require_one_chain

ROOT = Path(__file__).resolve().parents[3]


def adapt(folder: Path, part: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/adapt.py", part, "preset=smoke", f"run_dir={folder}", "logger=none"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
def test_a_shift_from_end_to_end_and_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    refused = adapt(tmp_path, "payload")
    assert refused.returncode == 2 and "Run scripts/adapt.py before first" in refused.stderr
    for part in ("before", "payload", "summary"):
        done = adapt(tmp_path, part)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name in ("protected.1.shift.success", "unprotected.1.forgotten_ci", "minutes.1"):
        assert f"adapt.payload.{name}" in metrics
    folder = tmp_path / "adapt"
    assert "| payload | protected |" in (folder / "adaptation.md").read_text()
    assert (folder / "adaptation.png").stat().st_size > 5_000
    deployed = load_file(ROOT / "assets" / "pretrained" / "controller" / "controller.safetensors")
    adapted = load_file(folder / "payload" / "protected.0" / "controller.safetensors")
    assert adapted.keys() == deployed.keys() and any(not v.equal(deployed[k]) for k, v in adapted.items())
    assert not list((folder / "payload").glob("experience_*"))
    assert "[adapt.payload] reused" in adapt(tmp_path, "payload").stdout
    (tmp_path / "planner").mkdir()
    (tmp_path / "planner" / RECORD).write_text('{"fingerprint": "of a run that has stages of its own"}')
    require_one_chain(tmp_path)  # what adapted is of weights, not of stages
