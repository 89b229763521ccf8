"""The planner: instructions and memory in, a sequence of wanted latent states out.

A plan is rolled out autoregressively: the predicted state takes its place in the history, and the next target is drawn
from there. With a goal, the way to it is filled from both of its ends instead (``hierarchy.py``). The noise of every
target follows from the plan's seed, so a plan can be made again, on the same kind of device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from argos_wm.compiling import Recorded, compile_layers, halve_products
from argos_wm.encoders.text import TextEncoder, TextFeatures, load_text_encoder
from argos_wm.hierarchy import bridge
from argos_wm.latents import LatentPlan, LatentState
from argos_wm.memory import MemoryTokens
from argos_wm.sampler import SamplerConfig
from argos_wm.world_model import WorldModel, load_extra

DEFAULT = SamplerConfig()


class Planner:
    """A frozen world model, its text encoder, and a sampler."""

    def __init__(self, world_model: WorldModel, text_encoder: TextEncoder, sampler: SamplerConfig = DEFAULT) -> None:
        if text_encoder.dim != world_model.text_dim:
            raise ValueError(
                f"The text encoder {text_encoder.name!r} makes tokens of width {text_encoder.dim}, and the world model "
                f"was trained on width {world_model.text_dim}. Use the text encoder it was trained with."
            )
        self.world_model, self.text_encoder, self.sampler = world_model, text_encoder, sampler
        self.spec = world_model.spec
        self._features: dict[str, TextFeatures] = {}
        self._draw = world_model.sample

    @staticmethod
    def load(folder: Path, sampler: SamplerConfig = DEFAULT, device: torch.device | str = "cpu") -> Planner:
        """Read a world model and the text encoder named in its ``extra["text_encoder"]``."""
        name = load_extra(folder).get("text_encoder", "hashed-ngram")
        return Planner(WorldModel.load(folder, device), load_text_encoder(name), sampler)

    @property
    def device(self) -> torch.device:
        return next(self.world_model.parameters()).device

    def accelerate(self) -> Planner:
        """Plan as fast as a GPU can, in place, after a minute of compiling at the first plan; on a CPU, do nothing.

        Layers are compiled; matrix products keep their weights in bfloat16 where they are multiplied so, for the same
        plans; and what is done for a small batch is recorded and replayed. The world model then serves inference alone.
        """
        if self.device.type == "cpu":
            return self
        model = self.world_model.requires_grad_(False)
        if model.autocasts(self.device):
            halve_products(model)
        compile_layers(model)
        self._draw = Recorded(model.sample)
        return self

    def features(self, instructions: Sequence[str]) -> TextFeatures:
        """Text features of B instructions; each distinct one is encoded once. An empty one is the null condition."""
        new = [text for text in dict.fromkeys(instructions) if text not in self._features]
        if new:
            encoded = self.text_encoder(new).to(self.device)
            self._features |= {text: encoded[i] for i, text in enumerate(new)}
        distinct = list(dict.fromkeys(instructions))
        chosen = [self._features[text] for text in distinct]
        length = max(len(features.mask) for features in chosen)
        padded = [_padded(features, length) for features in chosen]
        place = {text: i for i, text in enumerate(distinct)}
        rows = torch.tensor([place[text] for text in instructions], device=self.device)
        return TextFeatures(torch.stack([f.tokens for f in padded]), torch.stack([f.mask for f in padded]))[rows]

    @torch.no_grad()
    def next_state(
        self,
        history: LatentState,
        history_mask: Tensor,
        text: TextFeatures,
        horizon: Tensor,
        generator: torch.Generator,
    ) -> LatentState:
        """One target (B, …) at ``horizon`` (B,) seconds from now, for those who keep the history themselves; see
        ``plan``. ``text`` are ``features``."""
        noise = self.world_model.noise(len(horizon), horizon.device, generator)
        return self._draw(history, history_mask, text, horizon, noise=noise, **self.sampler.arguments())

    def plan(
        self,
        history: LatentState,
        history_mask: Tensor,
        instructions: Sequence[str],
        targets: int = 3,
        period: float = 0.8,
        seed: int = 0,
        memory: MemoryTokens | None = None,
        goal: LatentState | None = None,
        has_cameras: Tensor | None = None,
    ) -> LatentPlan:
        """Imagine the next states.

        Args:
            history: (B, S, …) at the world model's history offsets, oldest first, the current state last.
            history_mask: (B, S) bool, False for states that are not known.
            instructions: B texts.
            targets: T, states to imagine, one ``period`` [s] after the other.
            seed: of the sampler's noise.
            has_cameras: (B, V) bool, False for a camera that is not there.
            memory: what is remembered from before the history, times in seconds from now.
            goal: (B, …) a state that is wanted, all at the same time after now, on the history's clock. The plan is
                then the first ``targets`` states of the way to it: the nearest at most a ``period`` from now, the
                next ones farther apart. A planner follows the nearest and plans anew.
        """
        history, known = history.to(self.device), history_mask.to(self.device)
        text, cfg = self.features(instructions), self.sampler
        # On the same device: of large batches, drawing noise elsewhere took longer than planning.
        generator = torch.Generator(self.device).manual_seed(seed)
        memory = None if memory is None else memory.to(self.device)
        has_cameras = None if has_cameras is None else has_cameras.to(self.device)
        if goal is None:
            future = rollout(
                self.world_model,
                history,
                known,
                text,
                targets,
                period,
                generator,
                cfg,
                memory=memory,
                has_cameras=has_cameras,
                draw=self._draw,
            )
        else:
            way = bridge(
                self.world_model,
                history,
                known,
                text,
                goal.to(self.device),
                period,
                generator,
                cfg,
                memory=memory,
                has_cameras=has_cameras,
            )
            future = way.states[:, :targets]
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
    memory: MemoryTokens | None = None,
    actions: Tensor | None = None,
    has_cameras: Tensor | None = None,
    draw: Callable[..., LatentState] | None = None,
) -> LatentState:
    """T states (B, T, …), each predicted ``period`` seconds from the one before, which has joined the history.

    The history keeps its length: at each step the states nearest to the wanted offsets are remembered. The ``memory``
    is that of the first step, and grows older. ``actions`` (B, A, J) are those of the first step; of later ones none
    are known. ``draw`` takes the place of ``world_model.sample``.
    """
    draw = draw or world_model.sample
    offsets = torch.tensor(world_model.config.history, device=history.time.device)
    known, mask, future = history, history_mask, []
    for _ in range(targets):
        horizon = torch.full_like(history.time[:, 0], period)
        state = draw(
            history,
            history_mask,
            text,
            horizon,
            actions,
            has_proprio=has_proprio,
            has_cameras=has_cameras,
            memory=memory,
            noise=world_model.noise(len(horizon), horizon.device, generator),
            **sampler.arguments(),
        )
        memory, actions = None if memory is None else memory.aged(period), None
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
