"""The benchmarks run from data to figures; what they measure is measured elsewhere, at size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from argos_wm.cem import CEMConfig
from argos_wm.latents import LatentState
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from argos_wm.worlds import forecasting, goal_reaching
from argos_wm.worlds.bouncing_shapes import SHAPES
from argos_wm.worlds.pixels import PixelCodec
from argos_wm.worlds.push_t import PushT
from argos_wm.worlds.two_room import TwoRoom
from argos_wm.worlds.world import World, record

LOOP = LoopConfig(steps=2, batch_size=4, warmup_steps=1)
SIZE = {"width": 32, "depth": 1, "context_depth": 1, "heads": 2}


def test_pixels_come_back() -> None:
    images = torch.randint(0, 256, (3, 3, 24, 24), dtype=torch.uint8)
    codec = PixelCodec(24, 6)
    latents = codec.encode(images)
    assert latents.shape == (3, 16, 108)
    assert torch.allclose(codec.decode(latents), images.float() / 255, atol=1e-5)
    with pytest.raises(ValueError, match="cannot be cut"):
        PixelCodec(24, 7)


def test_a_perfect_forecaster_scores_without_error_and_one_that_repeats_does_not(tmp_path: Path) -> None:
    base = forecasting.ForecastConfig()
    cfg = replace(base, model=replace(base.model, **SIZE), loop=LOOP, scenes=20, samples=2, steps=2)
    model = forecasting.train_forecaster(cfg, "flow", tmp_path, RunLogger(tmp_path))
    figures = forecasting.score_forecaster(model, cfg)
    assert figures["scenes"] == 20 and figures["f1_error"] > 50
    windows, scene = forecasting.draw_windows(20, cfg, torch.Generator().manual_seed(1))
    place, sharp = forecasting.world.read(cfg.codec().decode(windows.target.vision))
    truth, bounces = forecasting.world.futures(scene)
    scored = forecasting.world.score(place[:, None], sharp[:, None], truth, bounces)
    assert place.shape == (20, SHAPES, 2) and (scored["precision"] == 1).all()


@pytest.mark.parametrize("world", [TwoRoom(), PushT()])
def test_goals_are_sought_by_states_and_by_actions(tmp_path: Path, world: World) -> None:
    base = goal_reaching.GoalConfig(patch=12 if world.name == "push-t" else 8)
    cfg = replace(
        base,
        episodes=10,
        length=31,
        ahead=(10,),
        tasks=6,
        model=replace(base.model, **SIZE),
        loop=LOOP,
        follower_loop=LOOP,
        cem=CEMConfig(samples=6, elites=2, iterations=2),
    )
    cache = goal_reaching.encode(world, record(world, cfg.episodes, cfg.length, 0), cfg.patch)
    assert cache.vision.shape[0] == 10 * cfg.length and (cache.actions.abs() <= 1).all()  # pyright: ignore[reportAttributeAccessIssue]
    trained = goal_reaching.train(world, cfg, tmp_path, lambda name: RunLogger(tmp_path / name))
    start, goal = goal_reaching.held_out_tasks(world, cfg, 10)
    assert len(start) == 6 and not world.solved(start, goal).any()
    figures = goal_reaching.compare(trained, cfg, start, goal, 10)
    for label in ("random", "play", "states", "actions"):
        assert figures[f"{label}.tasks"] == 6 and 0 <= figures[f"{label}.solved"] <= 1
    assert figures["time_ratio"] > 0


def test_ways_are_as_long_as_the_goal_is_due_then_as_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def ways(model: object, here: LatentState, goal: LatentState, periods: torch.Tensor, *_: object) -> LatentState:
        asked.append(int(periods[0]))
        return LatentState.stack([goal])

    monkeypatch.setattr(goal_reaching, "whole_ways", ways)
    world, cfg = TwoRoom(), goal_reaching.GoalConfig()
    senses = goal_reaching.Senses(world, cfg.patch)
    planner = goal_reaching.StatePlanner(None, lambda here, there: torch.zeros(2, 2), senses, cfg, 25)  # pyright: ignore
    state = world.reset(2, torch.Generator().manual_seed(0))
    for step in range(50):
        planner.act(state, senses(state), step)
    assert asked == [5, 4, 3, 2, 1] * 2


def test_a_planner_that_knows_the_actions_solves_everything() -> None:
    """The measure itself: replaying what the recording did reaches its goal."""
    world = TwoRoom()
    cfg = goal_reaching.GoalConfig(ahead=(25,))
    episodes = record(world, 30, 61, 0)
    start, goal = episodes.states[:, 0], episodes.states[:, 25]

    class Replay:
        senses = goal_reaching.Senses(world, cfg.patch)

        ahead = 25

        def act(self, state: torch.Tensor, wanted: object, step: int) -> torch.Tensor:
            return episodes.actions[:, min(step, 24)]

    assert goal_reaching.judge(Replay(), start, goal, "replay")["solved"] == 1.0  # pyright: ignore[reportArgumentType]
