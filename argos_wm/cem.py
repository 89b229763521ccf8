"""Planning by search over actions: the cross-entropy method on a world model, as DINO-WM plans (arXiv 2411.04983).

Action sequences are drawn from a Gaussian, rolled out in the world model, and judged by how near the last state is to
the goal; the best refit the Gaussian, and so on. It needs a model that follows actions, and a great many of its steps:
the baseline that a planner which draws states directly must beat.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from argos_wm.latents import LatentState
from argos_wm.world_model import WorldModel


@dataclass(frozen=True)
class CEMConfig:
    """The search; DINO-WM's own has 300 samples, 30 elites and 10 to 30 iterations."""

    samples: int = 300
    """Action sequences drawn in each iteration."""
    elites: int = 30
    """Of them, those that the next iteration is drawn around."""
    iterations: int = 10
    std: float = 0.5
    """Of the first draw, in shares of the actions' range."""
    proprio_weight: float = 1.0
    """Of the goal's proprioception beside its vision."""
    batch: int = 4096
    """States predicted at once."""


class CEMPlanner:
    """Searches for actions that bring a world model's state to a goal."""

    def __init__(self, world_model: WorldModel, period: float, cfg: CEMConfig = CEMConfig()) -> None:
        """
        Args:
            world_model: deterministic (``objective="mean"``), so that a cost belongs to its actions.
            period: seconds that one step of it takes, over which its ``action_steps`` are spread.
        """
        if world_model.config.objective != "mean":
            raise ValueError("The search over actions needs a world model of the mean; train one with objective=mean.")
        self.world_model, self.period, self.cfg = world_model, period, cfg

    @torch.no_grad()
    def plan(
        self,
        state: LatentState,
        goal: LatentState,
        periods: int,
        generator: torch.Generator,
        start: Tensor | None = None,
    ) -> Tensor:
        """Actions toward the goal.

        Args:
            state, goal: (B, …).
            periods: H, steps of the world model to the time at which the goal is wanted.
            start: (B, H, A, J) to search around first, such as the rest of the last plan; zero if None.

        Returns:
            (B, H, A, J) in [-1, 1]: the mean of the last elites.
        """
        cfg, model, batch = self.cfg, self.world_model, len(state)
        shape = (batch, periods, model.config.action_steps, model.action_dim)
        device = state.time.device
        mean = torch.zeros(shape, device=device) if start is None else start
        std = torch.full(shape, cfg.std, device=device)
        rows = torch.arange(batch, device=device)[:, None]
        for _ in range(cfg.iterations):
            noise = torch.randn(batch, cfg.samples, *shape[1:], generator=generator).to(device)
            drawn = (mean[:, None] + std[:, None] * noise).clamp(-1, 1)
            drawn[:, 0] = mean  # the best guess so far is never lost
            cost = self.cost(state, goal, drawn)
            best = drawn[rows, cost.topk(cfg.elites, dim=1, largest=False).indices]
            mean, std = best.mean(1), best.std(1, correction=0)
        return mean

    def cost(self, state: LatentState, goal: LatentState, actions: Tensor) -> Tensor:
        """Squared distance to the goal (B, N) after actions (B, N, H, A, J)."""
        batch, count = actions.shape[:2]
        last = self.roll_out(state[torch.arange(batch).repeat_interleave(count)], actions.flatten(0, 1))
        vision, proprio = last.vision.unflatten(0, (batch, count)), last.proprio.unflatten(0, (batch, count))
        seen = (vision - goal.vision[:, None]).square().flatten(2).mean(-1)
        return seen + self.cfg.proprio_weight * (proprio - goal.proprio[:, None]).square().mean(-1)

    def roll_out(self, state: LatentState, actions: Tensor) -> LatentState:
        """The state (B, …) after actions (B, H, A, J)."""
        parts = []
        for rows in torch.arange(len(state)).split(self.cfg.batch):
            part = state[rows]
            for step in actions[rows].unbind(1):
                horizon = torch.full_like(part.time, self.period)
                known = torch.ones(len(part), 1, dtype=torch.bool, device=part.time.device)
                part = self.world_model.sample(part[:, None], known, None, horizon, step)
            parts.append(part)
        return LatentState.cat(parts)
