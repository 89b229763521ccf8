"""Windows of demonstrations: what was, what is, and what will be.

A window is one training example of the planner: a history of latent states that ends now, a horizon, the latent
state at that horizon, and the actions in between. What a recording lacks is marked as absent, never invented.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from argos_wm.latents import LatentState, sent
from argos_wm.memory import MemoryTokens


@dataclass
class Windows:
    """B windows with S history states and A action steps.

    Attributes:
        history: vision (B, S, P, C), proprio (B, S, D), oldest first; ``time`` (B, S) in seconds from now, ending in 0.
        history_mask: (B, S) bool, False before the start of the episode.
        target: vision (B, P, C), proprio (B, D); ``time`` (B,) is the horizon.
        horizon: (B,) seconds from now to the target.
        actions: (B, A, J) mean torque over A equal parts of the horizon, in units of each joint's limit.
        episode: (B,) index of the episode.
        frame: (B,) index of the current frame among all frames of the cache.
        has_actions: (B,) bool, False where the recording has none; None if all have them.
        has_proprio: (B,) bool, False where nothing is known of joints, as in people's videos; None if all have it.
        has_cameras: (B, V) bool, False for a camera that is not there; None if all are.
        goal: (B, …) a state at or after the target that the episode goes on to; ``time`` (B,) in seconds from now.
        has_goal: (B,) bool, False where no goal is told; None if all have one, or there is no ``goal``.
        memory: tokens of states older than the history, their times in seconds from now.
    """

    history: LatentState
    history_mask: Tensor
    target: LatentState
    horizon: Tensor
    actions: Tensor
    episode: Tensor
    frame: Tensor
    has_actions: Tensor | None = None
    has_proprio: Tensor | None = None
    has_cameras: Tensor | None = None
    goal: LatentState | None = None
    has_goal: Tensor | None = None
    memory: MemoryTokens | None = None

    def __len__(self) -> int:
        return self.horizon.shape[0]

    def __getitem__(self, index: Any) -> Windows:
        """Index the batch."""
        return self._map(lambda value: value[index])

    @staticmethod
    def cat(parts: Sequence[Windows]) -> Windows:
        """Join batches of one history length; what some parts have and others lack is marked as absent there."""
        sizes = [len(part) for part in parts]
        joined: dict[str, Any] = {}
        for name in ("history", "target"):
            joined[name] = LatentState.cat([getattr(part, name) for part in parts])
        for name in ("history_mask", "horizon", "actions", "episode", "frame"):
            joined[name] = torch.cat([getattr(part, name) for part in parts])
        for name in ("has_actions", "has_proprio"):
            flags = [getattr(part, name) for part in parts]
            if any(flag is not None for flag in flags):
                full = [torch.ones(n, dtype=torch.bool) if f is None else f for n, f in zip(sizes, flags, strict=True)]
                joined[name] = torch.cat(full)
        if any(part.has_cameras is not None for part in parts):
            cameras = next(part.has_cameras.shape[1] for part in parts if part.has_cameras is not None)
            full = [torch.ones(n, cameras, dtype=torch.bool) for n in sizes]
            given = [f if p.has_cameras is None else p.has_cameras for f, p in zip(full, parts, strict=True)]
            joined["has_cameras"] = torch.cat(given)
        if any(part.goal is not None for part in parts):
            joined["goal"] = LatentState.cat([part.target if part.goal is None else part.goal for part in parts])
            joined["has_goal"] = torch.cat([_has_goal(part) for part in parts])
        if any(part.memory is not None for part in parts):
            raise ValueError("Windows with memory cannot be joined with others; give all of a batch the same memory.")
        return Windows(**joined)

    def to(self, device: torch.device | str) -> Windows:
        return self._map(lambda value: sent(value, device) if isinstance(value, Tensor) else value.to(device))

    def float(self) -> Windows:
        """Vision that was kept as it is stored as float32."""
        parts = {name: getattr(self, name) for name in ("history", "target", "goal")}
        seen = {name: replace(part, vision=part.vision.float()) for name, part in parts.items() if part is not None}
        return replace(self, **seen)

    def pin_memory(self) -> Windows:
        """In memory that a GPU copies from while it computes."""
        return self._map(lambda value: value.pin_memory())

    def _map(self, f: Callable[[Any], Any]) -> Windows:
        mapped: dict[str, Any] = {name: None if value is None else f(value) for name, value in vars(self).items()}
        return Windows(**mapped)


def _has_goal(windows: Windows) -> Tensor:
    if windows.goal is None:
        return torch.zeros(len(windows), dtype=torch.bool)
    return torch.ones(len(windows), dtype=torch.bool) if windows.has_goal is None else windows.has_goal


@dataclass(frozen=True)
class WindowConfig:
    """Which windows are drawn for training."""

    period: float = 0.8
    """The planner's period [s], the horizon it is used with."""
    period_share: float = 0.5
    """Share of windows with the planner's period as horizon; the others reach anywhere up to the episode's end, where
    the instruction's goal is itself the target."""
    shortest_horizon: float = 0.1
    start_share: float = 0.3
    """Share of windows at the start of an episode, where only the instruction tells the futures apart."""
    start_length: float = 0.3
    """What counts as the start [s]."""
    static_share: float = 0.1
    """Share of windows drawn from all frames; the rest begin where the arm moves within a period."""
    goal_share: float = 0.0
    """Share of windows that are told where their episode goes on to: a state anywhere from the target to the end. A
    planner trained so can fill the way between two states."""
    motion: float = 0.05
    """RMS change of the joint positions over a period that counts as moving [rad]."""

    def draw_goals(self, ahead: Tensor, left: Tensor) -> Tensor | None:
        """Frames from now to the goals that are told (B,), 0 where none is; None if none ever is.

        Args:
            ahead: (B,) frames to the target.
            left: (B,) frames to the recording's end.
        """
        if self.goal_share <= 0:
            return None
        goal = ahead + (torch.rand(len(ahead)) * (left - ahead + 1)).long()
        return torch.where(torch.rand(len(ahead)) < self.goal_share, goal, torch.zeros_like(goal))
