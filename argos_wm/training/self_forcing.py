"""Self-forcing: the model is trained on what it imagined itself, because that is what it will be given.

In a roll-out the history consists of the model's own states, whose errors no recording has. For a share of the windows
the history is therefore imagined: the model starts one or more periods earlier, rolls out to now, and is then trained
to predict the *recorded* future from there, which teaches it to come back. The roll-out itself carries no gradient (as
in scheduled sampling, and Self Forcing's stop-gradient, arXiv 2506.08009). Where a future branches, a roll-out may have
taken another branch than the recording; the objective suits futures that the instruction and the past decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from argos_wm.data.latent_cache import LatentCache
from argos_wm.data.windows import Windows
from argos_wm.encoders.text import TextFeatures
from argos_wm.latents import LatentState
from argos_wm.planner import recall, rollout
from argos_wm.sampler import SamplerConfig
from argos_wm.world_model import WorldModel


@dataclass(frozen=True)
class SelfForcingConfig:
    """How much of a training is done on imagined histories."""

    share: float = 0.0
    """Of the windows that have enough past; 0 is teacher forcing."""
    start: float = 0.5
    """Share of the steps after which it begins: a model that imagines nothing yet teaches nothing."""
    most: int = 2
    """Longest roll-out, in periods; steps take all lengths up to it in turns."""
    sampler: SamplerConfig = field(default_factory=lambda: SamplerConfig(steps=2))

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.most < 1:
            raise ValueError(
                f"Self-forcing's share {self.share} must lie between 0 and 1, and its roll-outs of {self.most} periods "
                "be at least 1 long."
            )


def self_forced(
    model: WorldModel,
    windows: Windows,
    text: TextFeatures,
    cache: LatentCache,
    period: float,
    cfg: SelfForcingConfig,
    step: int,
) -> Windows:
    """The windows, some of them with a history that the model imagined.

    Args:
        windows: cut from ``cache``; text of the same rows. Both on the model's device.
        period: of the roll-out [s].
        step: of the training. It decides the roll-out's length: the processes of a sharded model must all evaluate it
            equally often.
    """
    length = 1 + step % cfg.most
    back, frame = length * round(period * cache.fps), windows.frame.cpu()
    first = cache.starts[cache.episode_of[frame]]
    chosen = ((torch.rand(len(frame)) < cfg.share) & (frame - back >= first)).nonzero().squeeze(-1)
    config, device = model.config, windows.horizon.device
    index = chosen.to(device)
    if len(chosen):
        ahead = torch.full_like(chosen, back)
        origin = cache.windows(frame[chosen] - back, ahead, config.history, config.action_steps).to(device)
    else:  # taken part in, for other processes' sake, and thrown away
        index = index.new_zeros(1)
        origin = windows[index]
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    future = rollout(
        model,
        origin.history,
        origin.history_mask,
        text[index],
        length,
        period,
        generator,
        cfg.sampler,
        origin.has_proprio,
        has_cameras=origin.has_cameras,
    )
    if not len(chosen):
        return windows
    known = LatentState.cat([origin.history, future], dim=1)
    mask = torch.cat([origin.history_mask, origin.history_mask.new_ones(len(chosen), length)], 1)
    history, seen = recall(known, mask, torch.tensor(config.history, device=device))
    history.time = history.time - history.time[:, -1:]
    return replace(
        windows,
        history=_placed(windows.history, history, index),
        history_mask=windows.history_mask.index_copy(0, index, seen),
    )


def _placed(into: LatentState, rows: LatentState, index: Tensor) -> LatentState:
    """A copy of ``into`` with ``rows`` at ``index``."""
    return LatentState(
        into.vision.index_copy(0, index, rows.vision),
        into.proprio.index_copy(0, index, rows.proprio),
        into.time.index_copy(0, index, rows.time),
    )
