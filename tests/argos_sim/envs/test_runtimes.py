"""Engines and renderers that do not run here: their configurations are whole, and what is missing is said at once."""

# pxr is a compiled module without type stubs; Isaac Lab's fields may be None before they are filled in
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportOptionalIterable=false

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from isaaclab.app.sim_launcher import validate_launch
from isaaclab.managers import EventTermCfg
from pxr import Usd, UsdLux

import tasks  # noqa: F401
from argos_sim import platform
from argos_sim.envs.latent_tracking import LatentTrackingSceneCfg
from argos_sim.pipeline.environment import environment_cfg, make_environment, physics_identity
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import fingerprint
from argos_sim.randomization import lights
from argos_sim.randomization.draws import Draws
from argos_sim.randomization.lights import INTENSITY, draw_dome
from argos_sim.randomization.ranges import get_ranges

COMBINATIONS = [
    ("isaacsim_physx", "isaacsim_rtx", "Isaac Sim is not installed"),
    ("isaacsim_physx", "newton_renderer", "Isaac Sim is not installed"),
    ("newton_mjwarp", "isaacsim_rtx", "Isaac Sim is not installed"),
    ("newton_mjwarp", "ovrtx", "The renderer ovrtx is not installed"),
    ("ovphysx", "ovrtx", "The renderer ovrtx is not installed"),
]
TASK = "Argos-Lift-SO100-v0"


@pytest.mark.parametrize(("physics", "renderer", "missing"), COMBINATIONS)
def test_a_combination_is_whole_and_its_runtime_asked_for_before_anything_starts(
    physics: str, renderer: str, missing: str
) -> None:
    settings = Settings(task=TASK, physics=physics, renderer=renderer)  # pyright: ignore[reportArgumentType]
    cfg = environment_cfg(settings, 4, encoder="encoder")
    cfg.validate()  # no field is left MISSING
    found, kit = validate_launch(cfg, {})
    assert bool(kit) == ("isaacsim" in physics + renderer) and found.has_ovrtx == (renderer == "ovrtx")
    assert cfg.scene.camera.renderer_cfg.colorize_semantic_segmentation is False, "classes are read as numbers"
    wanted = set(cfg.scene.camera.data_types)
    assert wanted <= {str(kind) for kind in cfg.scene.camera.renderer_cfg.supported_output_types()}
    assert (cfg.events.light is not None) == (renderer != "ovrtx")
    assert (cfg.events.shades is not None) == (renderer == "newton_renderer")
    needed = "ovrtx" if renderer == "ovrtx" else "isaacsim"
    if importlib.util.find_spec(needed) is None:
        with pytest.raises(ValueError, match=missing), make_environment(cfg):
            pytest.fail("nothing may start")


def test_isaac_sim_starts_on_the_device_that_is_asked_for_and_outlives_what_it_was_started_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, closed = [], []

    @contextmanager
    def kit(cfg: Any, wanted: dict[str, Any]) -> Iterator[None]:
        told.append(wanted)
        try:
            yield
        finally:
            closed.append(wanted)  # the real one ends the process here, before what was made is saved

    monkeypatch.setattr("isaaclab.app.launch_simulation", kit)
    monkeypatch.setattr(platform, "require_runtime", lambda cfg: None)
    monkeypatch.setattr(platform, "_KITS", [])
    cfg = environment_cfg(Settings(physics="isaacsim_physx", renderer="isaacsim_rtx", device="cpu"), 1)
    with platform.launch(cfg):
        assert told == [{"headless": True, "device": "cpu"}]
    monkeypatch.setenv("WORLD_SIZE", "2")
    cfg.sim.device = "cuda:1"
    with platform.launch(cfg):
        assert told[1] == {"headless": True, "device": "cuda:1", "multi_gpu": False}
    assert not closed


def test_a_missing_ovphysx_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "ovphysx" else find(name, *a))
    with pytest.raises(ValueError, match=r"ovphysx is not installed; .* or set physics=newton_mjwarp"):
        platform.require_runtime(environment_cfg(Settings(physics="ovphysx"), 1))


def test_classes_that_the_configurations_name_are_there() -> None:
    for physics, renderer, _ in COMBINATIONS:
        cfg = environment_cfg(Settings(physics=physics, renderer=renderer), 1)  # pyright: ignore[reportArgumentType]
        for part in (cfg.sim.physics, cfg.scene.camera.renderer_cfg):
            module, _ = str(part.class_type).split(":")
            assert importlib.util.find_spec(module) is not None, module


def test_engines_that_cannot_share_a_process_are_refused() -> None:
    cfg = environment_cfg(Settings(physics="ovphysx", renderer="isaacsim_rtx"), 1)
    with pytest.raises(ValueError, match="Invalid backend combination.* ovphysx with ovrtx"), make_environment(cfg):
        pytest.fail("nothing may start")


def test_the_light_is_drawn_about_the_scenes_own_and_is_that_under_nominal() -> None:
    stage, scene = Usd.Stage.CreateInMemory(), LatentTrackingSceneCfg(num_envs=1, env_spacing=1.0)
    light = UsdLux.DomeLight.Define(stage, scene.light.prim_path)
    light.CreateIntensityAttr()
    light.CreateColorAttr()
    senses = SimpleNamespace(generator=torch.Generator().manual_seed(0))
    env = SimpleNamespace(perception=senses, sim=SimpleNamespace(stage=stage))
    env.scene, env.draws = SimpleNamespace(cfg=scene), Draws(get_ranges("train"), 1)
    drawn = []
    for _ in range(200):
        draw_dome(env)
        drawn.append([light.GetIntensityAttr().Get() / scene.light.spawn.intensity, *light.GetColorAttr().Get()])
    drawn = torch.tensor(drawn)
    assert INTENSITY[0] <= drawn[:, 0].min() < 0.6 and 1.5 < drawn[:, 0].max() <= INTENSITY[1]
    assert drawn[:, 1:].max() <= 1.0 and (drawn[:, 1] - drawn[:, 3]).abs().max() > 0.15
    env.draws = Draws(get_ranges("nominal"), 1)
    draw_dome(env)
    assert light.GetIntensityAttr().Get() == scene.light.spawn.intensity
    assert tuple(light.GetColorAttr().Get()) == pytest.approx(scene.light.spawn.color)


def test_the_light_is_drawn_as_often_as_an_environment_begins_and_whenever_all_do() -> None:
    env, drawn = SimpleNamespace(num_envs=4, device="cpu"), []
    light = lights.RandomLight(EventTermCfg(func=lights.RandomLight, mode="reset"), env)  # pyright: ignore
    counts = []
    for ids in ([0, 1], [2], [0], [3], None, [1, 2, 3], None):
        light(env, None if ids is None else torch.tensor(ids), draw=drawn.append)
        counts.append(len(drawn))
    assert counts == [0, 0, 1, 1, 2, 2, 3]


def test_what_decides_physics_is_in_the_fingerprint_and_where_caches_lie_is_not() -> None:
    lift, stack = (Settings(task=f"Argos-{name}-SO100-v0") for name in ("Lift", "Stack"))
    marks = [fingerprint(physics_identity(s, "newton_mjwarp")) for s in (lift, stack)]
    assert marks[0] != marks[1], "stack takes more of Newton's steps"
    assert fingerprint(physics_identity(lift, "ovphysx")) not in marks
    assert "/tmp" not in str(physics_identity(lift, "ovphysx"))
