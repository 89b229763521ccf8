"""Which futures does a planner imagine? Training and scoring on Bouncing Shapes, where all of them are known.

A generative planner should draw each future and nothing else; a network that predicts the mean draws their blur.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from argos_wm.data.windows import Windows
from argos_wm.latents import LatentState
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, LoopConfig, fit
from argos_wm.world_model import WorldModel, WorldModelConfig, no_text
from argos_wm.worlds import bouncing_shapes as world
from argos_wm.worlds.pixels import PixelCodec

PAST = 0.4
"""Seconds between the two pictures that are seen."""
TEXT_DIM = 1
"""Nothing is said in this world."""
JUDGE_SEED = 2**40
"""Beyond the seeds of training steps, so that no judged scene was trained on."""


@dataclass(frozen=True)
class ForecastConfig:
    """How a planner is trained and judged."""

    image_size: int = 32
    patch: int = 8
    model: WorldModelConfig = field(
        default_factory=lambda: WorldModelConfig(history=(-PAST, 0.0), context_noise=0.0, time_mean=2.5)
    )
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=3000, batch_size=128, learning_rate=1e-3, ema_decay=0.998)
    )
    scenes: int = 500
    """Judged."""
    samples: int = 32
    """Futures drawn of each; nine are the most that there are."""
    steps: int = 10
    """Heun steps of a draw."""

    def codec(self) -> PixelCodec:
        """How pictures become latents."""
        return PixelCodec(self.image_size, self.patch)


def draw_windows(count: int, cfg: ForecastConfig, generator: torch.Generator) -> tuple[Windows, world.Scene]:
    """Random scenes as windows: two pictures of the past, and one of the futures."""
    codec = cfg.codec()
    scene = world.scenes(count, PAST, generator)
    future = world.draw_future(scene, generator)
    pictures = [world.render(place, cfg.image_size) for place in (scene.back(PAST).place, scene.place, future)]
    before, now, then = (codec.encode(picture) for picture in pictures)
    nothing = torch.zeros(count, 1)
    windows = Windows(
        history=LatentState(
            torch.stack([before, now], 1), torch.zeros(count, 2, 1), torch.tensor([-PAST, 0.0]).expand(count, 2)
        ),
        history_mask=torch.ones(count, 2, dtype=torch.bool),
        target=LatentState(then, nothing, torch.full((count,), world.HORIZON)),
        horizon=torch.full((count,), world.HORIZON),
        actions=torch.zeros(count, 1, 1),
        episode=torch.arange(count),
        frame=torch.arange(count),
        has_actions=torch.zeros(count, dtype=torch.bool),
        has_proprio=torch.zeros(count, dtype=torch.bool),
    )
    return windows, scene


def train_forecaster(
    cfg: ForecastConfig, objective: Literal["flow", "mean"], out_dir: Path, logger: RunLogger
) -> WorldModel:
    """Train a world model on fresh scenes; resumes by itself, as ``fit`` does."""
    torch.manual_seed(cfg.loop.seed)
    config = replace(cfg.model, objective=objective, action_steps=1)
    model = WorldModel(config, cfg.codec().spec("bouncing-shapes", ()), TEXT_DIM, 1)
    text = no_text(cfg.loop.rows, TEXT_DIM, "cpu")

    def loss(forward: Forward, step: int) -> dict[str, Tensor]:
        windows, _ = draw_windows(cfg.loop.rows, cfg, torch.default_generator)
        return forward(windows, text)

    trained = fit(model, loss, cfg.loop, out_dir, logger, f"bouncing_{objective}")
    assert isinstance(trained, WorldModel)
    return trained


@torch.no_grad()
def score_forecaster(model: WorldModel, cfg: ForecastConfig, seed: int = JUDGE_SEED) -> dict[str, Any]:
    """Precision, recall and F1 of a model's futures over ``cfg.scenes`` scenes, and the error of F1 in points.

    F1 is that of the mean precision and the mean recall; ``f1_error`` is 100 (1 − F1), with a 95 % bootstrap interval
    over scenes.
    """
    windows, scene = draw_windows(cfg.scenes, cfg, torch.Generator().manual_seed(seed))
    drawn = sample_futures(model, windows, cfg, seed)
    places, sharp = zip(*(world.read(cfg.codec().decode(vision).clamp(0, 1)) for vision in drawn), strict=True)
    truth, bounces = world.futures(scene)
    figures = world.score(torch.stack(places, 1), torch.stack(sharp, 1), truth, bounces)
    precision, recall = figures["precision"], figures["recall"]
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(len(precision), (1000, len(precision)), generator=generator)
    errors = f1_error(precision[rows].mean(1), recall[rows].mean(1))
    branching = bounces.any(1)
    return {
        "scenes": len(precision),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1_error": float(f1_error(precision.mean(), recall.mean())),
        "f1_error_ci": torch.quantile(errors, torch.tensor([0.025, 0.975])).tolist(),
        "branching_scenes": int(branching.sum()),
        "branching_f1_error": float(f1_error(precision[branching].mean(), recall[branching].mean())),
    }


def f1_error(precision: Tensor, recall: Tensor) -> Tensor:
    """100 (1 − F1)."""
    return 100 * (1 - 2 * precision * recall / (precision + recall).clamp_min(1e-9))


def sample_futures(model: WorldModel, windows: Windows, cfg: ForecastConfig, seed: int) -> list[Tensor]:
    """``cfg.samples`` draws of the target's vision (N, P, C); a model of the mean always gives the same one."""
    generator = torch.Generator().manual_seed(seed)
    draws = cfg.samples if model.config.objective == "flow" else 1
    return [
        model.sample(
            windows.history,
            windows.history_mask,
            None,
            windows.horizon,
            has_proprio=windows.has_proprio,
            steps=cfg.steps,
            generator=generator,
        ).vision
        for _ in range(draws)
    ]
