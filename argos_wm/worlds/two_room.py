"""Two Room: a dot in two rooms that a door joins, the smallest world in which the straight way is often wrong.

After DINO-WM's wall (arXiv 2411.04983): the wall and the door are elsewhere in each episode. The unit square, x to the
right, y up. A state is (x, y, x of the wall, y of the door's middle); an action is a displacement, in ``SPEED``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from argos_wm.worlds.drawing import box_distance, canvas, disc_distance, paint, pixel_centres, to_uint8

RADIUS = 0.04
SPEED = 0.05
"""Longest displacement a step, along each axis."""
WALL = 0.04
"""Thickness of the wall; with the dot's size on both sides it is wider than a step, so that nothing jumps through."""
DOOR = 0.24
"""Width of the opening."""
TOLERANCE = 0.05
"""Distance from the goal that counts as there."""


class TwoRoom:
    """See ``World``."""

    name = "two-room"
    action_dim = 2
    proprio_dim = 2

    def __init__(self, image_size: int = 32) -> None:
        self.image_size = image_size

    def reset(self, count: int, generator: torch.Generator) -> Tensor:
        """Dots anywhere but in the wall, (count, 4)."""
        wall = 0.35 + 0.3 * torch.rand(count, generator=generator)
        door = 0.2 + 0.6 * torch.rand(count, generator=generator)
        place = free_place(wall, torch.rand(count, 2, generator=generator))
        return torch.cat([place, wall[:, None], door[:, None]], 1)

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        """Move along x, then along y; what is in the way stops that axis only, so that the dot slides along walls."""
        x, y, wall, door = state.unbind(1)
        dx, dy = (SPEED * action.clamp(-1, 1)).unbind(1)
        thick, gap = WALL / 2 + RADIUS, DOOR / 2 - RADIUS
        wanted = (x + dx).clamp(RADIUS, 1 - RADIUS)
        blocked = ((wanted - wall).abs() < thick) & ((y - door).abs() > gap)
        x = torch.where(blocked, torch.where(x < wall, wall - thick, wall + thick), wanted)
        wanted = (y + dy).clamp(RADIUS, 1 - RADIUS)
        inside = (x - wall).abs() < thick
        y = torch.where(inside, torch.minimum(torch.maximum(wanted, door - gap), door + gap), wanted)
        return torch.stack([x, y, wall, door], 1)

    def render(self, state: Tensor) -> Tensor:
        """A white dot, grey walls, on black."""
        points = pixel_centres(self.image_size)
        wall, door = state[:, 2, None, None], state[:, 3, None, None]
        x, y = points.unbind(-1)
        slab = torch.maximum((x - wall).abs() - WALL / 2, DOOR / 2 - (y - door).abs())
        picture = paint(canvas(len(state), self.image_size), slab, (0.2, 0.4, 0.9))
        border = -box_distance(points - 0.5, torch.full((2,), 0.49))
        picture = paint(picture, border.expand(len(state), -1, -1), (0.2, 0.4, 0.9))
        return to_uint8(paint(picture, disc_distance(points, state[:, :2], RADIUS), (1.0, 0.8, 0.2)))

    def proprio(self, state: Tensor) -> Tensor:
        """The dot's place (N, 2)."""
        return state[:, :2]

    def solved(self, state: Tensor, goal: Tensor) -> Tensor:
        """Whether the dot is within ``TOLERANCE`` of its goal."""
        return (state[:, :2] - goal[:, :2]).norm(dim=1) <= TOLERANCE

    def explorer(self, count: int, generator: torch.Generator) -> Wanderer:
        """Walks from one random place to the next."""
        return Wanderer(count, generator)


def free_place(wall: Tensor, unit: Tensor) -> Tensor:
    """Map unit (N, 2) in the unit square to places outside of the walls at x = wall (N,), either room alike."""
    thick = WALL / 2 + RADIUS
    low, high = wall - thick - RADIUS, 1 - RADIUS - wall - thick
    along = unit[:, 0] * (low + high)
    x = torch.where(along < low, RADIUS + along, wall + thick + along - low)
    return torch.stack([x, RADIUS + (1 - 2 * RADIUS) * unit[:, 1]], 1)


class Wanderer:
    """Walks noisily to a random place, through the door if it lies in the other room, then to another.

    A share of the walks is blind and runs into the wall: from play that never does, nobody could learn that it stops.
    """

    def __init__(
        self, count: int, generator: torch.Generator, noise: float = 0.4, blind: float = 0.4, patience: int = 20
    ) -> None:
        """``patience``: steps after which a walk is given up."""
        self.generator, self.noise, self.blind, self.patience = generator, noise, blind, patience
        self.waypoint: Tensor = torch.full((count, 2), torch.nan)
        self.sees, self.left = torch.ones(count, dtype=torch.bool), torch.zeros(count, dtype=torch.long)

    def act(self, state: Tensor) -> Tensor:
        """See ``Explorer``."""
        place, wall, door = state[:, :2], state[:, 2], state[:, 3]
        done = ~((self.waypoint - place).norm(dim=1) > SPEED) | (self.left <= 0)  # also those that have none yet
        new = free_place(wall, torch.rand(len(state), 2, generator=self.generator))
        seeing = torch.rand(len(state), generator=self.generator) >= self.blind
        self.waypoint = torch.where(done[:, None], new, self.waypoint)
        self.sees = torch.where(done, seeing, self.sees)
        self.left = torch.where(done, self.patience, self.left) - 1
        toward = torch.where(self.sees[:, None], self._next(place, wall, door), self.waypoint)
        action = (toward - place) / SPEED
        action = action / action.abs().amax(1, keepdim=True).clamp_min(1.0)
        return action + self.noise * torch.randn(action.shape, generator=self.generator)

    def _next(self, place: Tensor, wall: Tensor, door: Tensor) -> Tensor:
        """The waypoint, or on the way to the other room the near end of the door, then its far end."""
        thick = WALL / 2 + RADIUS
        across = (place[:, 0] < wall) != (self.waypoint[:, 0] < wall)
        in_line = (place[:, 1] - door).abs() < DOOR / 2 - RADIUS
        side = torch.where(place[:, 0] < wall, -1.0, 1.0)
        through = ((place[:, 0] - wall).abs() < thick) | in_line
        near = torch.stack([wall + side * (thick + 0.01), door], 1)
        far = torch.stack([wall - side * (thick + 0.01), door], 1)
        return torch.where(across[:, None], torch.where(through[:, None], far, near), self.waypoint)
