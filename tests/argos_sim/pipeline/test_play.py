"""Which weights are played, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from argos_sim.pipeline.play import Weights
from argos_wm.checkpoint import CheckpointError

FILES = ("encoder/encoder.json", "planner/planner.safetensors")


def lay(folder: Path, *files: str) -> None:
    """Make empty files."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()


def test_a_run_is_played_with_the_controller_that_was_kept_or_else_with_ppos(tmp_path: Path) -> None:
    lay(tmp_path, *FILES, "ppo/controller.safetensors", "imitation/controller.safetensors")
    (tmp_path / "controller").mkdir()  # a trial that was interrupted
    assert Weights.of(tmp_path).controller == tmp_path / "ppo"
    lay(tmp_path, "controller/controller.safetensors")
    assert Weights.of(tmp_path).controller == tmp_path / "controller"


def test_shipped_weights_have_one_controller(tmp_path: Path) -> None:
    lay(tmp_path, *FILES, "controller/controller.safetensors")
    assert Weights.of(tmp_path).controller == tmp_path / "controller"


@pytest.mark.parametrize("missing", range(3))
def test_missing_weights_are_named(tmp_path: Path, missing: int) -> None:
    files = [*FILES, "ppo/controller.safetensors"]
    lay(tmp_path, *(file for i, file in enumerate(files) if i != missing))
    with pytest.raises(CheckpointError, match=rf"has no .*{files[missing]}.*run scripts/demo.py"):
        Weights.of(tmp_path)
