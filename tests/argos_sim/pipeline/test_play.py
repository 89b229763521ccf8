"""Which weights are played, and what is said when there are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tasks  # noqa: F401
from argos_sim.pipeline import deployment
from argos_sim.pipeline.play import Weights
from argos_sim.pipeline.settings import EncoderSettings, PlannerSettings, Settings
from argos_wm.checkpoint import CheckpointError
from argos_wm.world_model import WorldModelConfig

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


def test_what_adapts_sees_and_remembers_what_its_weights_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped weights with the sizes of another preset."""
    opened = []

    @contextmanager
    def environment(cfg: Any) -> Iterator[Any]:
        opened.append(cfg)
        yield SimpleNamespace(target=SimpleNamespace(source=None))

    monkeypatch.setattr(deployment, "make_environment", environment)
    planner = PlannerSettings(model=WorldModelConfig(history=(-2.4, -1.6, -0.8, 0.0)))
    large = Settings(run_dir=str(tmp_path), encoder=EncoderSettings(image_size=256), planner=planner)
    with deployment.deployment(large) as deployed:
        assert deployed.env.target.source is not None
    (cfg,) = opened
    assert (cfg.perception.image_size, cfg.perception.history_s, cfg.perception.control_history) == (64, 0.8, 0)
    assert cfg.scene.camera.height == 64, "the camera is as large as that"
