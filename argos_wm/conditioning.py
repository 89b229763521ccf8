"""What the planner is told: text, actions and horizon, as tokens to attend to and as one vector for adaLN.

Shapes: B batch, L words, A action steps, J joints, W width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from argos_wm.attention import Sinusoids
from argos_wm.encoders.text import TextFeatures


class Shapes(NamedTuple):
    """What the backbone reads and writes."""

    rows: int
    cols: int
    channels: int
    proprio_dim: int
    text_dim: int
    action_steps: int
    action_dim: int
    cameras: int = 1

    @property
    def patches(self) -> int:
        """Of all cameras."""
        return self.cameras * self.rows * self.cols


class Conditioning(nn.Module):
    """Horizon, text and actions as one vector for adaLN, and text and actions as tokens.

    A condition that is absent has a learned stand-in in the vector and no token at all; dropping it in training and
    leaving it out in sampling are the same thing. One token that is always there keeps attention defined.
    """

    def __init__(self, shapes: Shapes, width: int, seed_design: bool = False) -> None:
        """``seed_design``: see ``WorldModelConfig.design``; text and actions are then told by tokens alone."""
        super().__init__()
        self.seed_design = seed_design
        self.words = nn.Linear(shapes.text_dim, width)
        self.word_position = Sinusoids(width, 0.01, 1.0)
        self.always = nn.Parameter(torch.empty(1, 1, width))
        self.null_text = nn.Parameter(torch.empty(1, width))
        self.text = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.action_token = nn.Linear(shapes.action_dim, width)
        self.null_actions = nn.Parameter(torch.empty(1, width))
        flat = shapes.action_steps * shapes.action_dim
        self.actions = nn.Sequential(nn.Flatten(1), nn.Linear(flat, width), nn.SiLU(), nn.Linear(width, width))
        self.horizon = nn.Sequential(Sinusoids(width, 0.2, 20.0), nn.Linear(width, width))
        if seed_design:  # what it leaves unused is not waited for by several processes
            for unused in (self.null_text, self.text, self.null_actions, self.actions):
                unused.requires_grad_(False)

    def text_tokens(self, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """Tokens (B, 1 + L, W), the first one always visible, and their mask (B, 1 + L)."""
        batch, length = text.mask.shape
        position = self.word_position(torch.arange(length, device=text.mask.device))
        words = self.words(text.tokens)
        words = words if self.seed_design else words + position
        tokens = torch.cat([self.always.expand(batch, -1, -1), words], 1)
        return tokens, torch.cat([text.mask.new_ones(batch, 1), text.mask], 1)

    def vector(self, horizon: Tensor, text: TextFeatures, actions: Tensor, has_actions: Tensor) -> Tensor:
        """(B, W) from horizon (B,), text, actions (B, A, J) and has_actions (B,) bool."""
        if self.seed_design:
            return self.horizon(horizon)
        weight = text.mask / text.mask.sum(1, keepdim=True).clamp_min(1)
        pooled = torch.einsum("bl,blw->bw", weight.to(text.tokens.dtype), text.tokens)
        has_text = text.mask.any(1, keepdim=True)
        said = torch.where(has_text, self.text(self.words(pooled)), self.null_text)
        done = torch.where(has_actions[:, None], self.actions(actions), self.null_actions)
        return self.horizon(horizon) + said + done
