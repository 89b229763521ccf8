"""The planner's scripts on a recording that the test makes: with other sources, and by two processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from argos_sim.pipeline.planner import train_planner_stage
from argos_sim.pipeline.settings import PlannerSettings, Settings
from argos_sim.pipeline.stage import run_stage
from argos_wm.encoders.state import StateEncoder
from tests.argos_wm.data.test_episodes import record
from tests.stand_ins import environment

ROOT = Path(__file__).resolve().parents[3]
ENCODER = ROOT / "assets" / "pretrained" / "encoder"
SETTINGS = ["preset=smoke", "logger=none", "device=cpu", "planner.loop.steps=4", "planner.mean_steps=2"]
SETTINGS += ["planner.loop.batch_size=8", "planner.loop.micro_batches=2", "planner.loop.log_every=1"]


def write_demos(root: Path) -> None:
    """Six episodes of three seconds of an arm that swings before noise, in the layout of ``collect_demos.py``."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    joints = list(StateEncoder.load(ENCODER).joint_names)
    features = {
        "observation.images.front": {"dtype": "image", "shape": (64, 64, 3), "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": (6,), "names": joints},
        "action": {"dtype": "float32", "shape": (6,), "names": joints},
    }
    dataset = LeRobotDataset.create("local/demos", 10, features, root=root, use_videos=False)
    generator = np.random.default_rng(0)
    for episode in range(6):
        for step in range(30):
            picture = generator.integers(0, 255, (64, 64, 3), np.uint8)
            state = np.full(6, 0.5 * np.sin(0.2 * step + episode), np.float32)
            frame = {"observation.images.front": picture, "observation.state": state, "action": 0.1 * state}
            dataset.add_frame(frame | {"task": ("touch the red block", "touch the blue block")[episode % 2]})
        dataset.save_episode()
    dataset.finalize()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with demonstrations and an encoder, and beside it videos of another robot."""
    root = tmp_path_factory.mktemp("planner") / "run"
    run_stage(root / "demos", "demos", {}, lambda folder: write_demos(folder / "dataset") or {})
    run_stage(
        root / "encoder", "encoder", {}, lambda folder: shutil.copytree(ENCODER, folder, dirs_exist_ok=True) and {}
    )
    record(root / "other_robot", use_videos=True)
    return root


def start(script: str, run: Path, *settings: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launch, f"scripts/{script}", *SETTINGS, f"run_dir={run}", *settings]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600)


def weights(run: Path) -> torch.Tensor:
    return torch.cat([v.flatten() for _, v in sorted(load_file(run / "planner" / "planner.safetensors").items())])


def test_two_processes_train_a_mixture_as_one_does(run_dir: Path, tmp_path: Path) -> None:
    other = run_dir / "other_robot"
    source = f"+planner.sources.other={{kind:robots,path:{other},camera:front,clips:{{least_s:0.4}}}}"
    encoded = start("encode.py", run_dir, source)
    assert encoded.returncode == 0, encoded.stderr[-2000:]
    assert "[sources/other] done" in encoded.stdout and "[latents] done" in encoded.stdout
    two = Path(shutil.copytree(run_dir, tmp_path / "two"))
    for run, processes in ((run_dir, 1), (two, 2)):
        done = start("train_planner.py", run, source, "logger=wandb", processes=processes)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "[sources/other] reused" in done.stdout
        assert done.stdout.count("[planner] done") == 1  # the main process speaks alone
    assert torch.allclose(weights(two), weights(run_dir), atol=1e-4)
    curves = [json.loads(row) for row in (two / "planner" / "curves.jsonl").read_text().splitlines()]
    assert len(curves) == 4
    logged = (two / "planner" / "wandb.txt").read_text().splitlines()
    assert logged == ["0 init", *["0 log"] * 4, "0 finish"]  # the main process logs alone
    assert {"planner/other_loss", "planner/demos_share", "planner/text_sensitivity"} <= set().union(*curves)


def test_a_planner_is_not_trained_further_where_it_lies(tmp_path: Path) -> None:
    """It would be deleted before it was read."""
    for first in (tmp_path / "planner", tmp_path / "planner" / "earlier"):
        settings = Settings(run_dir=str(tmp_path), planner=PlannerSettings(start_from=str(first)))
        with pytest.raises(ValueError, match="train it further in another run_dir"):
            train_planner_stage(settings)


def test_a_planner_to_start_from_is_looked_at_before_any_work(tmp_path: Path) -> None:
    pretrained = str(ROOT / "assets" / "pretrained" / "planner")
    for first, text_encoder, message in (
        (str(tmp_path / "nowhere"), "hashed-ngram", "There is no"),
        (pretrained, "google/siglip2", "was told things by hashed-ngram, and this run by google/siglip2"),
        (pretrained, "hashed-ngram", "has not finished"),  # it fits, and the next to be missed are the demonstrations
    ):
        planner = PlannerSettings(start_from=first, text_encoder=text_encoder)
        with pytest.raises(ValueError, match=message):
            train_planner_stage(Settings(run_dir=str(tmp_path), planner=planner))


def test_a_script_that_writes_alone_refuses_company(run_dir: Path) -> None:
    done = start("encode.py", run_dir, processes=2)
    assert done.returncode != 0 and "This script runs in one process" in done.stderr


def test_mistakes_in_sources_end_in_one_sentence(run_dir: Path) -> None:
    for source, sentence in (
        ("+planner.sources.demos={kind:pictures,path:x}", "taken by the demonstrations"),
        ("+planner.sources.web={kind:films,path:x}", "films"),
        ("+planner.sources.web={kind:robots,path:agibot}", "convert it to LeRobot"),
    ):
        done = start("encode.py", run_dir, source)
        assert done.returncode == 2 and sentence in done.stderr, done.stderr[-2000:]
        assert "Traceback" not in done.stderr
