"""Laws of the settings: every preset is understood, and a mistake names the setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import argos_sim.pipeline.command_line  # noqa: F401  tells Hydra the settings
import tasks  # noqa: F401
from argos_sim.pipeline.environment import require_learning
from argos_sim.pipeline.footprint import ppo_footprint
from argos_sim.pipeline.settings import Settings, SettingsError, settings_from

CONFIG = Path(__file__).resolve().parents[3] / "scripts" / "config"
PRESETS = sorted(path.stem for path in (CONFIG / "preset").glob("*.yaml"))


def settings(*overrides: str) -> Settings:
    with initialize_config_dir(str(CONFIG), version_base=None):
        values = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    assert isinstance(values, dict)
    return settings_from({str(k): v for k, v in values.items()})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_understood(preset: str) -> None:
    read = settings(f"preset={preset}")
    assert read.preset == preset and read.folder == Path("runs") / preset
    minibatch = read.controller.ppo.num_envs * read.controller.ppo.steps / read.controller.ppo.minibatches
    assert minibatch == int(minibatch)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_presets_ppo_outlasts_its_critics_warm_up(preset: str) -> None:
    for task in ("Argos-Reach-SO100-v0", "Argos-Stack-SO100-v0") if preset != "smoke" else ("Argos-Reach-SO100-v0",):
        require_learning(settings(f"preset={preset}", f"task={task}"))


def test_a_ppo_that_ends_in_its_critics_warm_up_is_refused() -> None:
    with pytest.raises(ValueError, match="iterations = 7, but in the first 7 of them only the critic learns"):
        require_learning(settings("task=Argos-Push-SO100-v0", "controller.ppo.iterations=7"))
    require_learning(settings("controller.ppo.iterations=7"))  # reach's episodes are shorter
    require_learning(settings("task=Argos-Push-SO100-v0", "controller.ppo.iterations=0"))


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_number_that_is_none_is_named_before_any_work(value: str) -> None:
    with pytest.raises(SettingsError, match=f"adaptation.learning.noise = {value} is not a finite number"):
        settings(f"adaptation.learning.noise={value}")
    assert settings("adaptation.learning.radius=null").adaptation.learning.radius is None


def test_a_sources_number_that_is_none_is_named() -> None:
    web = {"kind": "pictures", "path": "somewhere", "weight": float("nan")}
    with pytest.raises(SettingsError, match="planner.sources.web.weight = nan is not a finite number"):
        settings_from({"planner": {"sources": {"web": web}}})
    web["weight"] = 2.0
    assert settings_from({"seed": 3, "planner": {"sources": {"web": web}}}).planner.sources["web"].weight == 2.0


@pytest.mark.parametrize("name", ["episodes", "num_envs"])
def test_no_demonstrations_are_refused_before_any_work(name: str) -> None:
    with pytest.raises(SettingsError, match=f"demos.{name} is 0; it should be 1 or more"):
        settings(f"demos.{name}=0")


def test_the_defaults_are_the_demo() -> None:
    assert settings("preset=demo") == Settings() == settings()


def test_each_task_has_a_folder_of_its_own() -> None:
    assert Settings(preset="desk").folder == Path("runs/desk")
    assert Settings(preset="desk", task="Argos-Push-SO100-v0").folder == Path("runs/desk-push-so100")
    assert Settings(task="Argos-Push-SO100-v0", run_dir="runs/mine").folder == Path("runs/mine")


def test_the_presets_grow() -> None:
    smoke, demo, desk, gpu = (settings(f"preset={name}") for name in ("smoke", "demo", "desk", "gpu"))
    for read in (
        lambda s: s.demos.episodes,
        lambda s: s.planner.loop.steps,
        lambda s: s.controller.ppo.iterations * s.controller.ppo.num_envs,
        lambda s: s.evaluation.episodes,
    ):
        assert read(smoke) < read(demo) < read(desk) < read(gpu)
    assert "dinov3-vitl16" in gpu.encoder.vision
    assert ppo_footprint(gpu).total < 0.6 * 80e9, "physics, renderer and networks need room, too"


def test_one_seed_is_that_of_every_stage() -> None:
    read = settings("seed=7", "planner.loop.seed=2", "controller.ppo.seed=1")
    assert read.seed == 7 and read.planner.loop.seed == 9 and read.controller.ppo.seed == 8
    assert read.controller.imitation.loop.seed == read.encoder.loop.seed == read.controller.dagger.loop.seed == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [("planner.loop.steps=many", "planner.loop.steps"), ("planner.model.size=enormous", "choose tiny or small")],
)
def test_a_mistake_names_the_setting(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(override)
