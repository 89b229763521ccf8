"""The planner: instructions and memory in, a sequence of wanted latent states out.

A plan is rolled out autoregressively: the predicted state takes its place in the history, and the next target is drawn
from there. The noise of every target follows from the plan's seed, so a plan can be made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from argos_wm.encoders.text import TextEncoder, TextFeatures, load_text_encoder
from argos_wm.flow import Solver
from argos_wm.latents import LatentPlan, LatentState
from argos_wm.world_model import WorldModel, load_extra


@dataclass(frozen=True)
class SamplerConfig:
    """How a plan is drawn from the world model."""

    steps: int = 5
    """Solver steps a target."""
    solver: Solver = "heun"
    guidance_scale: float = 1.0
    """1 is the conditional model and costs half."""
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """Flow times at which guidance applies; 1 is noise."""
    temperature: float = 0.3
    """Standard deviation of the noise that a sample starts from. 1 draws from all the futures that were learned; a
    controller wants a likely one. It matters while a planner is unsure: the better it is trained, the less."""

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of ``WorldModel.sample``."""
        return dict(vars(self))


class Planner:
    """A frozen world model, its text encoder, and a sampler."""

    def __init__(
        self, world_model: WorldModel, text_encoder: TextEncoder, sampler: SamplerConfig = SamplerConfig()
    ) -> None:
        if text_encoder.dim != world_model.text_dim:
            raise ValueError(
                f"The text encoder {text_encoder.name!r} makes tokens of width {text_encoder.dim}, and the world model "
                f"was trained on width {world_model.text_dim}. Use the text encoder it was trained with."
            )
        self.world_model, self.text_encoder, self.sampler = world_model, text_encoder, sampler
        self.spec = world_model.spec
        self._features: dict[str, TextFeatures] = {}

    @staticmethod
    def load(folder: Path, sampler: SamplerConfig = SamplerConfig(), device: torch.device | str = "cpu") -> Planner:
        """Read a world model and the text encoder named in its ``extra["text_encoder"]``."""
        name = load_extra(folder).get("text_encoder", "hashed-ngram")
        return Planner(WorldModel.load(folder, device), load_text_encoder(name), sampler)

    @property
    def device(self) -> torch.device:
        return next(self.world_model.parameters()).device

    def features(self, instructions: Sequence[str]) -> TextFeatures:
        """Text features of B instructions; each distinct one is encoded once. An empty one is the null condition."""
        new = [text for text in dict.fromkeys(instructions) if text not in self._features]
        if new:
            encoded = self.text_encoder(new).to(self.device)
            self._features |= {text: encoded[i] for i, text in enumerate(new)}
        chosen = [self._features[text] for text in instructions]
        length = max(len(features.mask) for features in chosen)
        padded = [_padded(features, length) for features in chosen]
        return TextFeatures(torch.stack([f.tokens for f in padded]), torch.stack([f.mask for f in padded]))

    def plan(
        self,
        history: LatentState,
        history_mask: Tensor,
        instructions: Sequence[str],
        targets: int = 3,
        period: float = 0.8,
        seed: int = 0,
    ) -> LatentPlan:
        """Imagine the next states.

        Args:
            history: (B, S, …) at the world model's history offsets, oldest first, the current state last.
            history_mask: (B, S) bool, False for states that are not known.
            instructions: B texts.
            targets: T, states to imagine, one ``period`` [s] after the other.
            seed: of the sampler's noise.
        """
        history = history.to(self.device)
        text = self.features(instructions)
        generator = torch.Generator().manual_seed(seed)
        future = rollout(
            self.world_model, history, history_mask.to(self.device), text, targets, period, generator, self.sampler
        )
        cfg = self.sampler
        return LatentPlan(future, list(instructions), seed, cfg.steps, cfg.guidance_scale)


def rollout(
    world_model: WorldModel,
    history: LatentState,
    history_mask: Tensor,
    text: TextFeatures | None,
    targets: int,
    period: float,
    generator: torch.Generator,
    sampler: SamplerConfig,
    has_proprio: Tensor | None = None,
) -> LatentState:
    """T states (B, T, …), each predicted ``period`` seconds from the one before, which has joined the history.

    The history keeps its length: at each step the states nearest to the wanted offsets are remembered.
    """
    offsets = torch.tensor(world_model.config.history, device=history.time.device)
    known, mask, future = history, history_mask, []
    for _ in range(targets):
        horizon = torch.full_like(history.time[:, 0], period)
        state = world_model.sample(
            history,
            history_mask,
            text,
            horizon,
            has_proprio=has_proprio,
            generator=generator,
            **sampler.arguments(),
        )
        future.append(state)
        known = LatentState.cat([known, state[:, None]], dim=1)
        mask = torch.cat([mask, mask.new_ones(len(state), 1)], 1)
        history, history_mask = recall(known, mask, offsets)
    return LatentState.stack(future)


def recall(known: LatentState, mask: Tensor, offsets: Tensor) -> tuple[LatentState, Tensor]:
    """The history at ``offsets`` (S,) [s] before the last of the ``known`` states (B, K, …).

    Each offset takes the known state nearest to it, with its own time. A state farther from its offset than half of
    the smallest gap between offsets is masked, as if it were not remembered.
    """
    wanted = known.time[:, -1:] + offsets
    distance = (known.time[:, None] - wanted[..., None]).abs().masked_fill(~mask[:, None], torch.inf)
    nearest, index = distance.min(-1)
    rows = torch.arange(len(index), device=index.device)[:, None]
    tolerance = offsets.diff().min() / 2 if len(offsets) > 1 else torch.inf
    return known[rows, index], nearest <= tolerance


def _padded(features: TextFeatures, length: int) -> TextFeatures:
    missing = length - len(features.mask)
    pad = torch.nn.functional.pad
    return TextFeatures(pad(features.tokens, (0, 0, 0, missing)), pad(features.mask, (0, missing)))
