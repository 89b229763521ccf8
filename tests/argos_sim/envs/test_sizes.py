"""Objects of several sizes: which environment has which, what engines and camera make of it, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from isaaclab_newton.physics import NewtonCfg

import tasks  # noqa: F401
from argos_sim.envs.latent_tracking import LatentTrackingEnvCfg
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.envs.sizes import SIZES, in_turn, scales
from argos_sim.mdp import events
from argos_sim.mujoco_c.world import World
from argos_sim.perception import CLASSES
from argos_sim.pipeline import environment
from argos_sim.pipeline.environment import Scenes, environment_cfg, make_environment
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import get_ranges

N = 2 * SIZES
NOMINAL = get_ranges("nominal")
SIZED = replace(NOMINAL, object_size=(0.8, 1.2))
TASK = "Argos-Push-SO100-v0"
HALF, MASS = 0.015, 0.03


def configuration(engine: str = "ovphysx") -> LatentTrackingEnvCfg:
    cfg = environment_cfg(Settings(task=TASK, randomization="nominal"), N, physics=engine)
    cfg.ranges = SIZED
    cfg.apply()
    return cfg


@pytest.fixture(scope="module", params=("ovphysx", "newton_mjwarp"))
def env(request: pytest.FixtureRequest) -> Iterator[LatentTrackingEnv]:
    with make_environment(configuration(request.param)) as env:
        yield env


def test_every_object_has_every_size_and_not_all_the_same() -> None:
    cfg = configuration()
    factors = scales(cfg.scene, cfg.object_names(), SIZED.object_size)
    assert factors.shape == (N, 3)
    for of_one in factors.T:
        assert sorted(of_one.tolist()) == pytest.approx(sorted([0.8, 0.9, 1.0, 1.1, 1.2] * 2))
    assert (factors[0] == 1).all() and (factors[1:SIZES].std(1) > 0.1).all()


def test_isaac_lab_is_told_the_combinations_that_the_factors_say() -> None:
    cfg = configuration()
    factors = scales(cfg.scene, cfg.object_names(), SIZED.object_size)
    chosen = np.stack(np.unravel_index(in_turn(np.ones(SIZES**3), N), (SIZES,) * 3), 1)
    assert torch.allclose(0.8 + 0.1 * torch.from_numpy(chosen).float(), factors, atol=1e-6)


def test_ranges_of_one_size_leave_the_scene_as_it_is_modelled() -> None:
    cfg = configuration()
    cfg.ranges = NOMINAL
    cfg.apply()
    assert cfg.scene.red.spawn.size == (2 * HALF,) * 3  # pyright: ignore[reportAttributeAccessIssue]


def test_mujocos_world_is_the_modelled_one() -> None:
    world = World.of(configuration())
    assert (world.half_size, world.object_mass) == (HALF, MASS)


def test_engines_and_camera_have_each_environments_own_sizes(env: LatentTrackingEnv) -> None:
    env.reset()
    half, factor = env.instruction.half_size, env.object_scale
    assert torch.allclose(half, HALF * factor)
    for i, name in enumerate(env.instruction.objects):
        mass = env.scene[name].data.body_mass.torch.flatten()
        assert torch.allclose(mass, MASS * factor[:, i] ** 3, rtol=1e-4)
    seen = env.perception.render()[1]
    area = torch.stack([(seen == CLASSES.index(name)).flatten(1).sum(1) for name in env.instruction.objects], 1)
    assert area[factor > 1.15].float().mean() > 1.5 * area[factor < 0.85].float().mean()
    for _ in range(20):
        env.step(torch.zeros(N, 6))
    height = env.instruction.object_positions()[..., 2] - env.scene.env_origins[:, None, 2]
    assert torch.allclose(height, half, rtol=0.005), "they lie on the table with their own lower faces"


def test_other_sizes_in_a_scene_that_stands_are_refused(env: LatentTrackingEnv) -> None:
    with pytest.raises(ValueError, match=r"objects of sizes \(1.0, 1.0\), and the scene was made with \(0.8, 1.2\)"):
        env.set_ranges(NOMINAL)


def test_another_scene_is_made_only_for_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, closed = [], []

    @contextmanager
    def make(cfg: LatentTrackingEnvCfg):
        opened.append(cfg.ranges.object_size)
        yield SimpleNamespace(cfg=cfg)
        closed.append(cfg.ranges.object_size)

    monkeypatch.setattr(environment, "make_environment", make)
    wanted = [NOMINAL, get_ranges("train"), get_ranges("complete")]
    with Scenes(environment_cfg(Settings(task=TASK), N, physics="newton_mjwarp"), wanted) as scenes:
        for ranges in wanted:
            cfg = scenes.having(ranges).cfg
            assert cfg.distractors, "one of them lays some"
            assert isinstance(cfg.sim.physics, NewtonCfg) and cfg.scene.num_envs == N, "all else is as it was asked for"
        assert opened == [(1.0, 1.0), (0.8, 1.2)]
        assert closed == [(1.0, 1.0)], "before the other was made"
    assert closed == opened


def test_a_restored_object_that_is_larger_here_does_not_begin_within_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(
        events, "write_object", lambda env, name, ids, position, rotation: written.update({name: position})
    )
    factor = torch.tensor([[1.0, 1.2], [0.8, 1.2]])
    instruction = SimpleNamespace(objects=("red", "blue"), half_size=HALF * factor)
    env = SimpleNamespace(instruction=instruction, cfg=SimpleNamespace(ranges=SIZED))
    poses = torch.zeros(2, 2, 7)
    poses[..., 2] = torch.tensor([[0.0149, 0.0149], [0.015, 0.3]])
    events.restore_objects(env, torch.arange(2), poses)
    assert written["red"][:, 2].tolist() == pytest.approx([0.015, 0.015])
    assert written["blue"][:, 2].tolist() == pytest.approx([0.018, 0.3])
    env.cfg.ranges = NOMINAL
    events.restore_objects(env, torch.arange(2), poses)
    assert written["red"][:, 2].tolist() == pytest.approx([0.0149, 0.015]), "as deep as it lay in the table"
