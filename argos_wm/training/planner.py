"""Train the world model on a latent cache, and watch from the first log step whether it listens.

Beside the loss, the curves show on held-out windows: ``error_ratio`` (against repeating the current latent),
``text_sensitivity`` and ``action_sensitivity`` (the error with a wrong instruction or another window's actions ÷ the
error with the right ones; 1 is deaf). They are read from one evaluation at t = 1, where the flow model's guess is the
conditional mean: cheap enough to look often, and it moves before samples do.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from argos_wm.data.instructions import Instructions
from argos_wm.data.latent_cache import LatentCache, WindowSampler
from argos_wm.data.windows import WindowConfig, Windows
from argos_wm.encoders.text import TextEncoder, TextFeatures
from argos_wm.latents import LatentState
from argos_wm.training.ahead import Ahead
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, LoopConfig, fit
from argos_wm.training.parallel import Parallel
from argos_wm.training.self_forcing import SelfForcingConfig, self_forced
from argos_wm.world_model import WorldModel, WorldModelConfig

VALIDATION_SHARE = 0.1
"""Share of the episodes that is never trained on."""
PROBE_WINDOWS = 128
PROBE_EVERY = 5
"""Log steps between two looks at the held-out windows; the first log step has one."""


def train_planner(
    cache: LatentCache,
    text_encoder: TextEncoder,
    config: WorldModelConfig,
    windows: WindowConfig,
    loop: LoopConfig,
    out_dir: Path,
    logger: RunLogger,
    groups: Mapping[str, Hashable] | None = None,
    device: torch.device | str = "cpu",
    label: str = "planner",
    parallel: Parallel | None = None,
    self_forcing: SelfForcingConfig | None = None,
    start_from: Path | None = None,
) -> WorldModel:
    """Train a world model; resumes by itself, as ``fit`` does.

    Args:
        cache: demonstrations as latents; a share of its episodes is held out by ``held_out``.
        config, windows, loop: settings of the model, the windows and the optimisation.
        out_dir: folder of the checkpoint.
        groups: what each instruction asks for, see ``Instructions``; needed to choose wrong ones.
        parallel: the run's processes, each with its own ``device``; None is one alone.
        self_forcing: how much is trained on imagined histories; None is nothing.
        start_from: folder of a trained planner to begin with; None begins with random weights.

    Returns:
        the averaged weights, in evaluation mode; the caller saves them.
    """
    forcing = self_forcing or SelfForcingConfig()
    torch.manual_seed(loop.seed)
    model = WorldModel(config, cache.spec, text_encoder.dim, cache.actions.shape[1]).to(device)
    if start_from is not None:
        model.start_from(start_from)
    training, validation = cache.split(VALIDATION_SHARE)
    sampler = WindowSampler(cache, training, windows, config.history, config.action_steps)
    instructions = Instructions(cache.instructions, text_encoder, groups)
    probe = Probe(cache, validation, windows, config, instructions)

    def draw(number: int) -> tuple[Windows, TextFeatures]:
        drawn = sampler(loop.rows)
        return drawn, instructions.right(drawn.episode)

    ahead = Ahead(draw, loop, parallel, device)

    def loss_fn(forward: Forward, number: int) -> dict[str, Tensor]:
        step, (drawn, text) = number // loop.micro_batches, ahead(number)
        batch, text = drawn.to(device).float(), text.to(device)
        if forcing.share > 0 and step >= forcing.start * loop.steps:
            batch = self_forced(model, batch, text, cache, windows.period, forcing, step)
        return forward(batch, text) | (probe(model) if looks_at(step, loop) else {})

    trained = fit(model, loss_fn, loop, out_dir, logger, label, parallel)
    assert isinstance(trained, WorldModel)
    return trained


def looks_at(step: int, loop: LoopConfig) -> bool:
    """Whether the held-out windows are looked at in a step: the first that is logged, then now and then."""
    return (step + 1) % (PROBE_EVERY * loop.log_every) == 0 or step + 1 == min(loop.log_every, loop.steps)


class Probe:
    """Held-out windows on which a model is looked at while it trains."""

    def __init__(
        self,
        cache: LatentCache,
        episodes: Tensor,
        windows: WindowConfig,
        config: WorldModelConfig,
        instructions: Instructions,
    ) -> None:
        moving = replace(windows, start_share=0.0, static_share=0.0, period_share=1.0)
        starting = replace(moving, start_share=1.0)
        self.instructions = instructions
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            shape = (config.history, config.action_steps)
            self.moving = WindowSampler(cache, episodes, moving, *shape)(PROBE_WINDOWS).float()
            self.starting = WindowSampler(cache, episodes, starting, *shape)(PROBE_WINDOWS).float()

    @torch.no_grad()
    def __call__(self, model: WorldModel) -> dict[str, Tensor]:
        """Scalars by name, without gradients."""
        windows, right = self.moving, self.instructions.right(self.moving.episode)
        now = windows.history[:, -1]
        guess = expected(model, windows, right)
        values = {
            "vision_error_ratio": rms(guess.vision, windows.target.vision) / rms(now.vision, windows.target.vision),
            "proprio_error_ratio": rms(guess.proprio, windows.target.proprio)
            / rms(now.proprio, windows.target.proprio),
        }
        acted = [expected(model, windows, right, a) for a in (windows.actions, windows.actions.roll(1, 0))]
        errors = [rms(state.proprio, windows.target.proprio) for state in acted]
        values["action_sensitivity"] = errors[1] / errors[0]
        if self.instructions.can_be_wrong:
            windows = self.starting
            said = (self.instructions.right(windows.episode), self.instructions.wrong(windows.episode))
            errors = [rms(expected(model, windows, text).proprio, windows.target.proprio) for text in said]
            values |= {"text_sensitivity": errors[1] / errors[0], "start_proprio_error": errors[0]}
        return values


def expected(model: WorldModel, windows: Windows, text: TextFeatures, actions: Tensor | None = None) -> LatentState:
    """The model's guess from pure noise at t = 1, the conditional mean: one Euler step all the way."""
    device = next(model.parameters()).device
    windows, generator = windows.to(device), torch.Generator().manual_seed(0)
    return model.sample(
        windows.history,
        windows.history_mask,
        text.to(device),
        windows.horizon,
        None if actions is None else actions.to(device),
        has_proprio=windows.has_proprio,
        has_cameras=windows.has_cameras,
        steps=1,
        solver="euler",
        generator=generator,
    ).to("cpu")


def rms(a: Tensor, b: Tensor) -> Tensor:
    """Root of the mean squared difference."""
    return (a - b).square().mean().sqrt()
