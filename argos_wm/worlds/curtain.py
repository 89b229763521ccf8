"""Behind the curtain: a world that cannot be foretold from the last moments, only from memory.

A disc lies somewhere on a table. A curtain falls in front of it and stays down for longer than the planner's window,
while a square wanders over the curtain, so that there is always something new to look at. Then the curtain rises: where
is the disc? A planner whose history holds only curtains can but guess; one with a memory of tokens can know.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from argos_wm.data.windows import Windows
from argos_wm.evaluation import wilson_interval
from argos_wm.latents import LatentState, patch_cells
from argos_wm.memory import ChangeComponents, remember
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, LoopConfig, fit
from argos_wm.world_model import WorldModel, WorldModelConfig, no_text
from argos_wm.worlds.drawing import box_distance, canvas, disc_distance, paint, pixel_centres, to_uint8
from argos_wm.worlds.pixels import PixelCodec

DISC, SQUARE = 0.08, 0.06
PERIOD = 0.8
"""Seconds between states, and to the rise of the curtain."""
SEEN = 2
"""States in which the disc is in sight, at the beginning."""
TOLERANCE = 0.06
"""Distance at which the disc counts as found."""
TEXT_DIM = 1
JUDGE_SEED = 2**40
"""Beyond the seeds of training steps, so that no judged scene was trained on."""


@dataclass(frozen=True)
class CurtainConfig:
    """How planners with and without memory are trained and judged."""

    image_size: int = 32
    patch: int = 8
    longest: int = 8
    """Most states for which the curtain stays down; 3 is the least, one more than the window sees."""
    budget: int = 24
    """Tokens of memory: a state and a half."""
    model: WorldModelConfig = field(
        default_factory=lambda: WorldModelConfig(history=(-PERIOD, 0.0), context_noise=0.0, time_mean=1.0)
    )
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=1000, batch_size=128, learning_rate=1e-3, ema_decay=0.998)
    )
    scenes: int = 500
    steps: int = 5

    def codec(self) -> PixelCodec:
        """How pictures become latents."""
        return PixelCodec(self.image_size, self.patch)


def render(disc: Tensor, square: Tensor, down: Tensor, size: int) -> Tensor:
    """Pictures uint8 (N, 3, H, W): a red disc (N, 2), or a grey curtain where ``down`` (N,), and a green square."""
    points, picture = pixel_centres(size), canvas(len(disc), size)
    picture = paint(picture, disc_distance(points, disc, DISC), (1.0, 0.1, 0.1))
    picture = torch.where(down[:, None, None, None], torch.full_like(picture, 0.4), picture)
    distance = box_distance(points - square[:, None, None], torch.full((2,), SQUARE))
    return to_uint8(paint(picture, distance, (0.1, 0.9, 0.1)))


def draw_windows(
    count: int, cfg: CurtainConfig, generator: torch.Generator, components: ChangeComponents, memory: bool
) -> tuple[Windows, Tensor]:
    """Random scenes as windows whose history is all curtain, and where the disc is (count, 2)."""
    codec, states = cfg.codec(), SEEN + cfg.longest
    disc = DISC + (1 - 2 * DISC) * torch.rand(count, 2, generator=generator)
    wander = 0.12 * torch.randn(count, states + 1, 2, generator=generator)
    start = torch.rand(count, 1, 2, generator=generator)
    square = (start + wander.cumsum(1)).clamp(SQUARE, 1 - SQUARE)
    hidden = torch.randint(3, cfg.longest + 1, (count,), generator=generator)
    # States are counted from the end: the last ``hidden`` are curtain, the SEEN before them show the disc.
    age = torch.arange(states - 1, -1, -1)
    known = age < hidden[:, None] + SEEN
    down = age < hidden[:, None]
    pictures = [render(disc, square[:, i], down[:, i], cfg.image_size) for i in range(states)]
    vision = torch.stack([codec.encode(picture) for picture in pictures], 1)
    time = (-PERIOD * age.float()).expand(count, -1)
    whole = LatentState(vision, torch.zeros(count, states, 1), time)
    lifted = render(disc, square[:, states], torch.zeros(count, dtype=torch.bool), cfg.image_size)
    horizon = torch.full((count,), PERIOD)
    windows = Windows(
        history=whole[:, -2:],
        history_mask=known[:, -2:],
        target=LatentState(codec.encode(lifted), torch.zeros(count, 1), horizon),
        horizon=horizon,
        actions=torch.zeros(count, 1, 1),
        episode=torch.arange(count),
        frame=torch.arange(count),
        has_actions=torch.zeros(count, dtype=torch.bool),
        has_proprio=torch.zeros(count, dtype=torch.bool),
    )
    if memory:
        cells, now = patch_cells(codec.rows, codec.rows), torch.zeros(count)
        windows.memory = remember(whole[:, :-2], known[:, :-2], now, cells, cfg.budget, components)
    return windows, disc


def change_components(cfg: CurtainConfig) -> ChangeComponents:
    """How patches of this world change, from random scenes."""
    everything = ChangeComponents.everything(3 * cfg.patch**2)
    windows, _ = draw_windows(256, cfg, torch.Generator().manual_seed(5), everything, memory=False)
    changes = torch.cat(
        [windows.history.vision.diff(dim=1)[:, 0], windows.target.vision - windows.history.vision[:, 1]]
    )
    return ChangeComponents.fit(changes.flatten(0, 1), 0.95)


def train(cfg: CurtainConfig, memory: bool, out_dir: Path, logger: RunLogger) -> WorldModel:
    """Train a world model with or without memory on fresh scenes."""
    torch.manual_seed(cfg.loop.seed)
    components = change_components(cfg)
    model = WorldModel(replace(cfg.model, action_steps=1), cfg.codec().spec("curtain", ()), TEXT_DIM, 1)
    text = no_text(cfg.loop.rows, TEXT_DIM, "cpu")

    def loss(forward: Forward, step: int) -> dict[str, Tensor]:
        windows, _ = draw_windows(cfg.loop.rows, cfg, torch.default_generator, components, memory)
        return forward(windows, text)

    trained = fit(model, loss, cfg.loop, out_dir, logger, f"curtain_{'memory' if memory else 'window'}")
    assert isinstance(trained, WorldModel)
    return trained


@torch.no_grad()
def score(model: WorldModel, cfg: CurtainConfig, memory: bool, seed: int = JUDGE_SEED) -> dict[str, Any]:
    """How often the disc is found when the curtain rises, and the error of the drawn picture in standardised units."""
    windows, disc = draw_windows(cfg.scenes, cfg, torch.Generator().manual_seed(seed), change_components(cfg), memory)
    drawn = model.sample(
        windows.history,
        windows.history_mask,
        None,
        windows.horizon,
        has_proprio=windows.has_proprio,
        memory=windows.memory,
        steps=cfg.steps,
        generator=torch.Generator().manual_seed(seed),
    )
    away = (find_disc(cfg.codec().decode(drawn.vision)) - disc).norm(dim=1)
    error = (drawn.vision - windows.target.vision).square().flatten(1).mean(1)
    found = int((away <= TOLERANCE).sum())
    return {
        "scenes": len(disc),
        "found": found / len(disc),
        "found_ci": wilson_interval(found, len(disc)),
        "median_distance": float(away.median()),
        "error": float(error.mean().sqrt()),
    }


def find_disc(pictures: Tensor) -> Tensor:
    """Centre (N, 2) of what is red in float pictures (N, 3, H, W); nowhere, far outside, if nothing is."""
    weight = (pictures[:, 0] - pictures[:, 1:].amax(1) - 0.3).clamp_min(0)
    mass = weight.sum((1, 2))
    centre = torch.einsum("nhw,hwd->nd", weight, pixel_centres(pictures.shape[-1])) / mass.clamp_min(1e-6)[:, None]
    return torch.where((mass > 1.0)[:, None], centre, torch.full_like(centre, 9.0))
