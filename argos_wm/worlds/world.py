"""What a small world is: states in one tensor, a step, a picture, and a test of success.

A world holds no state of its own: every function maps tensors of N states to tensors, so that a planner can be judged
in thousands of episodes at once, from any state, again and again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class World(Protocol):
    """N states (N, S), each step one action (N, A) in [-1, 1]."""

    name: str
    image_size: int
    action_dim: int
    proprio_dim: int
    """What the agent feels of itself."""

    def reset(self, count: int, generator: torch.Generator) -> Tensor:
        """Random states (count, S)."""
        ...

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        """The states after one action; actions beyond [-1, 1] are clipped."""
        ...

    def render(self, state: Tensor) -> Tensor:
        """Pictures uint8 (N, 3, H, W)."""
        ...

    def proprio(self, state: Tensor) -> Tensor:
        """(N, proprio_dim)."""
        ...

    def solved(self, state: Tensor, goal: Tensor) -> Tensor:
        """(N,) bool: whether what matters in each state is where it is in the goal, within the world's tolerance."""
        ...

    def explorer(self, count: int, generator: torch.Generator) -> Explorer:
        """A policy that plays in ``count`` copies, without a task."""
        ...


class Explorer(Protocol):
    """Plays: moves with a purpose that changes, and with noise, so that any two states of an episode are a task."""

    def act(self, state: Tensor) -> Tensor:
        """Actions (N, A) for the states (N, S)."""
        ...


@dataclass
class Episodes:
    """N recorded episodes of T states and T − 1 actions.

    Attributes:
        states: (N, T, S).
        actions: (N, T - 1, A), what was done between a state and the next.
    """

    states: Tensor
    actions: Tensor

    def __len__(self) -> int:
        return len(self.states)


def record(world: World, count: int, length: int, seed: int) -> Episodes:
    """Let the world's explorer play ``count`` episodes of ``length`` states."""
    generator = torch.Generator().manual_seed(seed)
    explorer, state = world.explorer(count, generator), world.reset(count, generator)
    states, actions = [state], []
    for _ in range(length - 1):
        action = explorer.act(state).clamp(-1, 1)
        state = world.step(state, action)
        states.append(state)
        actions.append(action)
    return Episodes(torch.stack(states, 1), torch.stack(actions, 1))


def tasks(world: World, episodes: Episodes, ahead: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Starts and goals (count, S) each, ``ahead`` steps apart in one recorded episode, and none solved at its start.

    Goals are thus reachable within ``ahead`` steps (the protocol of DINO-WM, arXiv 2411.04983).
    """
    generator = torch.Generator().manual_seed(seed)
    n, length = episodes.states.shape[:2]
    if length <= ahead:
        raise ValueError(f"Episodes of {length} states hold no goal {ahead} steps ahead; record longer ones.")
    pairs = torch.cartesian_prod(torch.arange(n), torch.arange(length - ahead))
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    start, goal = episodes.states[pairs[:, 0], pairs[:, 1]], episodes.states[pairs[:, 0], pairs[:, 1] + ahead]
    unsolved = (~world.solved(start, goal)).nonzero().squeeze(-1)[:count]
    if len(unsolved) < count:
        raise ValueError(f"Only {len(unsolved)} of {count} tasks in these episodes are unsolved at their start.")
    return start[unsolved], goal[unsolved]
