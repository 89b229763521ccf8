"""The pipeline's order, and what it notices of a task's files."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest

import tasks  # noqa: F401  registers the gymnasium ids
from argos_sim.pipeline import collect
from argos_sim.pipeline.collect import changed_since
from argos_sim.pipeline.environment import environment_cfg, task_files
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.pipeline.stages import PROCESSES, STAGES
from argos_wm.checkpoint import save_json


def test_the_pipeline_does_every_stage_once_in_order() -> None:
    assert [name for names in PROCESSES for name in names] == list(STAGES)


def test_a_task_that_changed_since_it_was_recorded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = "Argos-Push-SO100-v0"
    files = task_files(task)
    model = {"assets/robots/so100/so100.xml", "assets/robots/so100/usd/so100.usda", "tasks/so100/robot.py"}
    assert {"tasks/push.py", "tasks/so100/push.py", "tasks/blocks.py"} | model <= set(files)
    assert not {name for name in files if "franka" in name or "reach" in name}
    assert changed_since(tmp_path, task) == [], "recorded before this was written down"
    save_json(tmp_path / collect.TASK_FILES, files)
    assert changed_since(tmp_path, task) == []
    monkeypatch.setattr(collect, "task_files", lambda task: files | {"tasks/push.py": "another", "tasks/new.py": "x"})
    assert changed_since(tmp_path, task) == ["tasks/new.py", "tasks/push.py"]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (
            "tasks.so100.pushaway:PushAwayEnvCfg",
            r"PushAwayEnvCfg in tasks/so100/pushaway\.py, whose name is",
        ),
        ("tasks.so100.reach:HoldEnvCfg", r"HoldEnvCfg in tasks/so100/reach\.py.* has no attribute"),
    ],
)
def test_a_task_without_its_files_is_one_sentence(entry: str, sentence: str) -> None:
    gym.register(id="Argos-Broken-SO100-v0", entry_point="nowhere:Nothing", kwargs={"env_cfg_entry_point": entry})
    try:
        with pytest.raises(SettingsError, match=sentence):
            environment_cfg(Settings(task="Argos-Broken-SO100-v0"), 1)
    finally:
        gym.registry.pop("Argos-Broken-SO100-v0")
