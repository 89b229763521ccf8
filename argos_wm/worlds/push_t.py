"""Push T: a round pusher moves a T on a table, after Diffusion Policy's task (arXiv 2303.04137).

Quasi-static, without walls of contact to resolve: the T moves only while it is pushed, along the direction that an
ellipsoidal limit surface gives for a frictionless push (Goyal 1991; Lynch 1992). The unit square, x to the right, y up.
A state is (pusher x, y, T x, y, angle [rad]), the T's place being its centre of mass. An action is the pusher's
displacement, in ``SPEED``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from argos_wm.worlds.drawing import box_distance, canvas, disc_distance, paint, pixel_centres, to_uint8

UNIT = 0.08
"""Thickness of the T's strokes; its bar is 4 long, its stem 3."""
PUSHER = 0.035
"""Radius."""
SPEED = 0.05
"""Longest displacement of the pusher a step, along each axis."""
SUBSTEPS = 5
"""Of a step; contacts are resolved in each, so that the pusher never sinks deeper than a third of its radius."""
TURNING = 0.09
"""Characteristic length of the limit surface: largest moment ÷ largest force. Near the T's radius of gyration."""
BOUNDS = (0.22, 0.78)
"""Where the T's centre of mass may be, so that all of it stays in the picture."""
PLACE_TOLERANCE = 0.04
ANGLE_TOLERANCE = math.pi / 9
"""As in Diffusion Policy's and DINO-WM's evaluations; angles are wrapped first, which theirs are not."""

COM = (4 * 1 * 0.0 + 3 * 1 * -2.0) / 7
"""Height of the centre of mass above the bar's middle, in ``UNIT``."""
PARTS = ((0.0, -COM, 2.0, 0.5), (0.0, -2.0 - COM, 0.5, 1.5))
"""Bar and stem around the centre of mass: middle x, y and half sides, in ``UNIT``."""


class PushT:
    """See ``World``."""

    name = "push-t"
    action_dim = 2
    proprio_dim = 2

    def __init__(self, image_size: int = 48) -> None:
        self.image_size = image_size

    def reset(self, count: int, generator: torch.Generator) -> Tensor:
        """The T anywhere, the pusher beside it, (count, 5)."""
        low, high = BOUNDS
        block = low + (high - low) * torch.rand(count, 2, generator=generator)
        angle = 2 * math.pi * torch.rand(count, 1, generator=generator) - math.pi
        pusher = PUSHER + (1 - 2 * PUSHER) * torch.rand(count, 2, generator=generator)
        return make_room(torch.cat([pusher, block, angle], 1))

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        """Move the pusher; whatever it runs into moves or stops it."""
        move = SPEED / SUBSTEPS * action.clamp(-1, 1)
        for _ in range(SUBSTEPS):
            pusher = (state[:, :2] + move).clamp(PUSHER, 1 - PUSHER)
            state = make_room(push(torch.cat([pusher, state[:, 2:]], 1)))
        return state

    def render(self, state: Tensor) -> Tensor:
        """A green T and an orange pusher on dark grey."""
        points = pixel_centres(self.image_size)
        local = rotate(points - state[:, None, None, 2:4], -state[:, 4, None, None])
        picture = canvas(len(state), self.image_size, (0.1, 0.1, 0.12))
        picture = paint(picture, torch.stack([_to_part(local, part) for part in PARTS]).amin(0), (0.3, 0.8, 0.4))
        return to_uint8(paint(picture, disc_distance(points, state[:, :2], PUSHER), (1.0, 0.6, 0.1)))

    def proprio(self, state: Tensor) -> Tensor:
        """The pusher's place (N, 2)."""
        return state[:, :2]

    def solved(self, state: Tensor, goal: Tensor) -> Tensor:
        """Whether the T is within ``PLACE_TOLERANCE`` and ``ANGLE_TOLERANCE`` of its goal, wherever the pusher is."""
        near = (state[:, 2:4] - goal[:, 2:4]).norm(dim=1) <= PLACE_TOLERANCE
        return near & (wrap(state[:, 4] - goal[:, 4]).abs() <= ANGLE_TOLERANCE)

    def explorer(self, count: int, generator: torch.Generator) -> Shover:
        """Pushes the T from one side, then from another."""
        return Shover(count, generator)


def wrap(angle: Tensor) -> Tensor:
    """An angle as it is seen, in [-π, π)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def rotate(vector: Tensor, angle: Tensor) -> Tensor:
    """Turn vectors (…, 2) counterclockwise by angle (…,)."""
    cos, sin = angle.cos(), angle.sin()
    x, y = vector.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1)


def push(state: Tensor) -> Tensor:
    """Move each T just so far that its pusher no longer overlaps it.

    A force f at r from the centre of mass moves a body on an ellipsoidal limit surface by (f, r × f / c²) times a
    factor, c being ``TURNING``; the factor is what ends the overlap.
    """
    for _ in range(2):  # the second time for a corner that the first turn brought nearer
        depth, normal, arm = contact(state)
        lever = arm[:, 0] * normal[:, 1] - arm[:, 1] * normal[:, 0]
        factor = depth.clamp_min(0) / (1 + (lever / TURNING).square())
        place = state[:, 2:4] - factor[:, None] * normal
        angle = state[:, 4] - factor * lever / TURNING**2
        state = torch.cat([state[:, :2], place.clamp(*BOUNDS), wrap(angle)[:, None]], 1)
    return state


def make_room(state: Tensor) -> Tensor:
    """Move each pusher out of its T, where the T could not give way."""
    for _ in range(2):
        depth, normal, _ = contact(state)
        pusher = state[:, :2] + depth.clamp_min(0)[:, None] * normal
        state = torch.cat([pusher, state[:, 2:]], 1)
    return state


def contact(state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where pusher and T are nearest.

    Returns:
        depth (N,) of their overlap, negative apart; unit normal (N, 2) from the T to the pusher; the T's nearest point
        (N, 2) from its centre of mass.
    """
    local = rotate(state[:, :2] - state[:, 2:4], -state[:, 4])
    distances, normals = zip(*(_box_normal(local, part) for part in PARTS), strict=True)
    distance, nearest = torch.stack(distances, 1).min(1)
    normal = torch.stack(normals, 1)[torch.arange(len(state)), nearest]
    point = local - distance[:, None] * normal
    return PUSHER - distance, rotate(normal, state[:, 4]), rotate(point, state[:, 4])


def _to_part(points: Tensor, part: tuple[float, float, float, float]) -> Tensor:
    """Signed distance of points in the T's frame to its bar or stem."""
    x, y, half_x, half_y = (UNIT * value for value in part)
    return box_distance(points - torch.tensor([x, y]), torch.tensor([half_x, half_y]))


def _box_normal(points: Tensor, part: tuple[float, float, float, float]) -> tuple[Tensor, Tensor]:
    """Signed distance (N,) of points (N, 2) to a part, and its gradient (N, 2)."""
    x, y, half_x, half_y = (UNIT * value for value in part)
    offset = points - torch.tensor([x, y])
    q = offset.abs() - torch.tensor([half_x, half_y])
    sign = torch.where(offset < 0, -1.0, 1.0)
    outside = q.clamp_min(0)
    length = outside.norm(dim=1)
    inner = torch.nn.functional.one_hot(q.argmax(1), 2).float()
    normal = torch.where((length > 0)[:, None], outside / length.clamp_min(1e-9)[:, None], inner) * sign
    return length + q.amax(1).clamp_max(0), normal


class Shover:
    """Goes around the T to a random side, pushes across it, and begins anew."""

    def __init__(self, count: int, generator: torch.Generator, noise: float = 0.3) -> None:
        self.generator, self.noise = generator, noise
        self.phase = torch.full((count,), 2)  # 0 approaches, 1 pushes, 2 wants a new side
        self.side, self.aim = torch.zeros(count), torch.zeros(count, 2)
        self.left = torch.zeros(count, dtype=torch.long)

    def act(self, state: Tensor) -> Tensor:
        """See ``Explorer``."""
        count, generator = len(state), self.generator
        fresh = (self.phase == 2) | (self.left <= 0)
        self.side = torch.where(fresh, 2 * math.pi * torch.rand(count, generator=generator), self.side)
        offset = UNIT * torch.randn(count, 2, generator=generator)
        self.aim = torch.where(fresh[:, None], offset, self.aim)
        self.left = torch.where(fresh, 25, self.left) - 1
        self.phase = torch.where(fresh, 0, self.phase)
        direction = torch.stack([self.side.cos(), self.side.sin()], 1)
        start = state[:, 2:4] + 0.26 * direction
        end = state[:, 2:4] + self.aim - 0.1 * direction
        ready = (self.phase == 0) & ((state[:, :2] - start).norm(dim=1) < SPEED)
        self.left = torch.where(ready, 4 + torch.randint(8, (count,), generator=generator), self.left)
        self.phase = torch.where(ready, 1, self.phase)
        target = torch.where((self.phase == 0)[:, None], self._around(state, start), end)
        action = (target - state[:, :2]) / SPEED
        action = action / action.abs().amax(1, keepdim=True).clamp_min(1.0)
        return action + self.noise * torch.randn(action.shape, generator=generator)

    def _around(self, state: Tensor, start: Tensor) -> Tensor:
        """The next place on a circle around the T, on the shorter way to ``start``."""
        centre = state[:, 2:4]
        mine, theirs = state[:, :2] - centre, start - centre
        at = torch.atan2(mine[:, 1], mine[:, 0])
        turn = wrap(torch.atan2(theirs[:, 1], theirs[:, 0]) - at).clamp(-0.4, 0.4)
        return centre + 0.26 * torch.stack([(at + turn).cos(), (at + turn).sin()], 1)
