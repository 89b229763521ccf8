"""Stages that judge the planner's design in small worlds, where every answer can be checked.

Each trains what it compares on the same data, for the same number of steps, and writes its figures and a picture.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.utils import make_grid, save_image

from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import run_stage
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import deciding
from argos_wm.worlds import bouncing_shapes, curtain, forecasting, goal_reaching
from argos_wm.worlds.push_t import PushT
from argos_wm.worlds.two_room import TwoRoom
from argos_wm.worlds.world import World

SHOWN = 8
"""Scenes or tasks in a picture."""


def forecast_stage(settings: Settings) -> dict[str, Any]:
    """Bouncing Shapes: which futures a planner draws, and what is left of them in the mean."""
    cfg = settings.worlds.bouncing_shapes

    def work(folder: Path) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        for objective in ("flow", "mean"):
            logger = RunLogger(folder / objective, settings.logger, f"bouncing-{objective}", settings.to_dict())
            model = forecasting.train_forecaster(cfg, objective, folder / objective, logger)
            logger.close()
            scored = forecasting.score_forecaster(model, cfg)
            print(
                f"  {objective}: precision {scored['precision']:.3f}, recall {scored['recall']:.3f}, F1 error "
                f"{scored['f1_error']:.1f} points ({scored['scenes']} scenes)"
            )
            figures |= {f"{objective}.{k}": v for k, v in scored.items()}
            save_image(future_sheet(model, cfg), folder / f"{objective}.png")
        figures["f1_error_ratio"] = figures["flow.f1_error"] / figures["mean.f1_error"]
        return figures

    return run_stage(
        settings.folder / "worlds" / "bouncing_shapes",
        "bouncing_shapes",
        deciding(cfg),
        work,
        settings.overwrite,
    )


def future_sheet(model: Any, cfg: forecasting.ForecastConfig, samples: int = 7) -> Tensor:
    """A picture (3, H, W): a scene a row; before, now, all true futures laid over each other, and draws."""
    windows, scene = forecasting.draw_windows(SHOWN, cfg, torch.Generator().manual_seed(2))
    codec = cfg.codec()
    truth, _ = bouncing_shapes.futures(scene)
    options = [bouncing_shapes.render(truth[:, :, i], cfg.image_size).float() / 255 for i in range(truth.shape[2])]
    draws = forecasting.sample_futures(model, windows, dataclasses.replace(cfg, samples=samples), seed=2)
    columns = [
        codec.decode(windows.history.vision[:, 0]),
        codec.decode(windows.history.vision[:, 1]),
        torch.stack(options).amax(0),
        *(codec.decode(vision) for vision in draws),
    ]
    return make_grid(torch.stack(columns, 1).flatten(0, 1).clamp(0, 1), nrow=len(columns), padding=2, pad_value=0.5)


def memory_stage(settings: Settings) -> dict[str, Any]:
    """Behind the curtain: what a memory of tokens knows and the last states do not."""
    cfg = settings.worlds.curtain

    def work(folder: Path) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        for label in ("memory", "window"):
            logger = RunLogger(folder / label, settings.logger, f"curtain-{label}", settings.to_dict())
            model = curtain.train(cfg, label == "memory", folder / label, logger)
            logger.close()
            scored = curtain.score(model, cfg, label == "memory")
            print(
                f"  {label}: disc found in {100 * scored['found']:.1f} % of {scored['scenes']} scenes "
                f"{[round(100 * x, 1) for x in scored['found_ci']]}, error {scored['error']:.3f}"
            )
            figures |= {f"{label}.{k}": v for k, v in scored.items()}
        return figures

    return run_stage(settings.folder / "worlds" / "curtain", "curtain", deciding(cfg), work, settings.overwrite)


def goal_stage(settings: Settings, name: str) -> dict[str, Any]:
    """Two Room or Push T: goals reached by drawing states, and by search over actions, on the same data."""
    cfg: goal_reaching.GoalConfig = getattr(settings.worlds, name)
    world: World = TwoRoom() if name == "two_room" else PushT()

    def logger(folder: Path, part: str) -> RunLogger:
        return RunLogger(folder / part, settings.logger, f"{name}-{part}", settings.to_dict())

    def work(folder: Path) -> dict[str, Any]:
        trained = goal_reaching.train(world, cfg, folder, partial(logger, folder), settings.resolved_device())
        figures: dict[str, Any] = {}
        for ahead in cfg.ahead:
            start, goal = goal_reaching.held_out_tasks(world, cfg, ahead)
            found = goal_reaching.compare(trained, cfg, start, goal, ahead)
            print(f"  {ahead} steps ahead, {found['states.tasks']} tasks:")
            for label in ("random", "play", "states", "actions"):
                low, high = (round(100 * x, 1) for x in found[f"{label}.solved_ci"])
                seconds = found.get(f"{label}.seconds_per_plan")
                print(
                    f"    {label}: {100 * found[f'{label}.solved']:.1f} % [{low}, {high}] solved"
                    + (f", {seconds:.3f} s a plan" if seconds else "")
                )
            figures |= {f"{ahead}.{k}": v for k, v in found.items()}
            save_image(task_sheet(trained.planner(cfg, ahead), start[:SHOWN], goal[:SHOWN]), folder / f"{ahead}.png")
        return figures

    folder = settings.folder / "worlds" / name
    return run_stage(folder, name, deciding(cfg), work, settings.overwrite)


def task_sheet(planner: goal_reaching.StatePlanner, start: Tensor, goal: Tensor) -> Tensor:
    """A picture (3, H, W): a task a row; goal, start, and for every second period what was wanted and what came."""
    cfg, senses = planner.cfg, planner.senses
    world, codec = senses.world, senses.codec
    state, wanted = start, senses(goal)
    columns = [world.render(goal).float() / 255, world.render(start).float() / 255]
    for step in range(planner.ahead):
        state = world.step(state, planner.act(state, wanted, step).cpu())
        if (step + 1) % cfg.period == 0:
            columns += [codec.decode(planner.target.vision.cpu()), world.render(state).float() / 255]
    return make_grid(torch.stack(columns, 1).flatten(0, 1).clamp(0, 1), nrow=len(columns), padding=2, pad_value=0.5)
