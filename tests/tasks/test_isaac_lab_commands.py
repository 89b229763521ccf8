"""Isaac Lab's own commands know every task: it finds their settings, lists them and trains one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from isaaclab_rl.rsl_rl import RslRlOnPolicyRunnerCfg
from isaaclab_tasks.utils import load_cfg_from_registry

import tasks  # noqa: F401
from argos_sim.envs.latent_tracking import LatentTrackingEnvCfg

ROOT = Path(__file__).resolve().parents[2]
TASKS = sorted(name for name in gym.registry if name.startswith("Argos-"))


def isaaclab(*words: str, cwd: Path) -> str:
    """What the command prints, as a user starts it."""
    command = [str(Path(sys.executable).with_name("isaaclab")), *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("task", TASKS)
def test_isaac_lab_finds_a_tasks_settings(task: str) -> None:
    env, agent = (load_cfg_from_registry(task, f"{kind}_cfg_entry_point") for kind in ("env", "rsl_rl"))
    assert isinstance(env, LatentTrackingEnvCfg) and isinstance(agent, RslRlOnPolicyRunnerCfg)
    _, name, robot, _ = task.lower().split("-")
    assert agent.experiment_name == f"argos_{name}_{robot}", "two tasks in one folder of logs"


def test_list_envs_lists_the_six_tasks() -> None:
    listed = re.findall(r"Argos-\S+", isaaclab("list_envs", cwd=ROOT))
    assert sorted(listed) == TASKS and len(TASKS) == 6


@pytest.mark.slow
def test_train_trains_and_keeps_a_model(tmp_path: Path) -> None:
    learner = ["--rl_library", "rsl_rl", "--num_envs", "4", "--max_iterations", "1"]
    engine = ["physics=newton_mjwarp", "--device", "cpu", "agent.device=cpu"]
    said = isaaclab("train", "--task", "Argos-Reach-SO100-v0", *learner, *engine, cwd=tmp_path)
    assert "Learning iteration 0/1" in said
    assert len(list(tmp_path.glob("logs/rsl_rl/argos_reach_so100/*/model_0.pt"))) == 1
