"""The whole pipeline at its smallest, as a user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NAMES = (
    "planner.error_ratio_0.8s",
    "planner.text_sensitivity",
    "controller.imitation.nominal.reached",
    "controller.ppo.train.reached_ci",
    "controller.ppo.unseen.joint_error_rad",
    "controller.ppo.other_engine.torque_rms_nm",
    "closed_loop.touched_named",
    "export.max_difference_nm",
    "export.inference_p99_ms",
    "timing.planner_s",
    "env_steps_per_s",
)


@pytest.mark.slow
def test_smoke_preset_runs_every_stage_and_reuses_them(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/demo.py", "preset=smoke", f"run_dir={tmp_path}", "logger=none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [name for name in NAMES if name not in metrics] == []
    assert metrics["export.max_difference_nm"] < 1e-4
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "play" / "play.mp4").stat().st_size > 10_000
    again = subprocess.run(
        [sys.executable, "scripts/train_planner.py", *command[2:]], cwd=ROOT, capture_output=True, text=True
    )
    assert "[planner] reused" in again.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("train_planner.py", [], "The stage 'demos' has not finished"),
        ("collect_demos.py", ["task=Argos-Fly-v0"], "There is no task 'Argos-Fly-v0'"),
        ("train_encoder.py", ["planner.loop.steps=many"], "planner.loop.steps"),
        ("train_encoder.py", ["encoder.folder=nowhere"], "There is no nowhere/encoder.json"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path: Path, script: str, arguments: list[str], message: str) -> None:
    command = [sys.executable, f"scripts/{script}", "preset=smoke", f"run_dir={tmp_path / 'run'}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
