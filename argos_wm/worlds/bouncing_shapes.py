"""Bouncing Shapes: futures that branch, and can be counted.

After FlowWM's benchmark (arXiv 2606.29059), written anew. Shapes of different colours fly straight in the unit square.
A shape that meets a wall leaves it in one of three directions, each as likely, so that two pictures of the past say
where every future lies but not which will come. Within ``HORIZON`` a shape meets at most one wall: with two shapes
there are one, three or nine futures, and all are known.

A state is (x, y, vx, vy) of each shape; speeds are in squares a second.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from argos_wm.worlds.drawing import box_distance, canvas, disc_distance, paint, pixel_centres, to_uint8

RADIUS = 0.08
SPEED = 0.4
HORIZON = 0.8
"""Seconds to the future that is asked for: at this speed a third of the way across."""
LEAVES = (-math.pi / 4, 0.0, math.pi / 4)
"""Angles from the wall's inward normal at which a shape may leave."""
COLOURS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""A disc in the first channel, a square in the second: each shape can be read by itself."""
SHAPES = len(COLOURS)
TOLERANCE = 0.05
"""Distance at which a shape counts as where a future has it; different leaves are further apart soon after a bounce."""


@dataclass
class Scene:
    """N scenes of ``SHAPES`` shapes.

    Attributes:
        place, velocity: (N, K, 2).
    """

    place: Tensor
    velocity: Tensor

    def back(self, seconds: float) -> Scene:
        """The same flight earlier, before any wall."""
        return Scene(self.place - seconds * self.velocity, self.velocity)


def scenes(count: int, past: float, generator: torch.Generator) -> Scene:
    """Random scenes whose shapes have flown straight for ``past`` seconds."""
    angle = 2 * math.pi * torch.rand(count, SHAPES, generator=generator)
    velocity = SPEED * torch.stack([angle.cos(), angle.sin()], -1)
    low, high = RADIUS, 1 - RADIUS
    # Both ends of the straight past lie inside, hence all of it.
    lower = torch.maximum(torch.tensor(low), low + past * velocity)
    upper = torch.minimum(torch.tensor(high), high + past * velocity)
    return Scene(lower + (upper - lower) * torch.rand(count, SHAPES, 2, generator=generator), velocity)


def futures(scene: Scene, seconds: float = HORIZON) -> tuple[Tensor, Tensor]:
    """Where each shape may be after ``seconds``.

    Returns:
        places (N, K, 3, 2), one for each of ``LEAVES``, all alike where no wall is met, and whether one is (N, K).
    """
    time, normal = next_wall(scene)
    bounces = time < seconds
    straight = scene.place + seconds * scene.velocity
    base = torch.atan2(normal[..., 1], normal[..., 0])
    options = []
    for leave in LEAVES:
        heading = torch.stack([(base + leave).cos(), (base + leave).sin()], -1)
        there = scene.place + time[..., None] * scene.velocity + (seconds - time)[..., None] * SPEED * heading
        there = _along_walls(there)
        options.append(torch.where(bounces[..., None], there, straight))
    return torch.stack(options, 2), bounces


def next_wall(scene: Scene) -> tuple[Tensor, Tensor]:
    """Seconds until each shape meets a wall (N, K), and that wall's inward normal (N, K, 2)."""
    ahead = torch.where(scene.velocity > 0, 1 - RADIUS - scene.place, RADIUS - scene.place)
    times = torch.where(scene.velocity == 0, torch.inf, ahead / scene.velocity)
    time, axis = times.min(-1)
    normal = torch.nn.functional.one_hot(axis, 2) * -scene.velocity.sign()
    return time, normal


def _along_walls(place: Tensor) -> Tensor:
    """A shape that would leave through a second wall, in a corner, slides along it: nothing branches twice."""
    return place.clamp(RADIUS, 1 - RADIUS)


def draw_future(scene: Scene, generator: torch.Generator, seconds: float = HORIZON) -> Tensor:
    """One future of each scene, (N, K, 2)."""
    places, _ = futures(scene, seconds)
    choice = torch.randint(len(LEAVES), places.shape[:2], generator=generator)
    return places.gather(2, choice[..., None, None].expand(-1, -1, 1, 2)).squeeze(2)


def render(place: Tensor, image_size: int = 32) -> Tensor:
    """Pictures uint8 (N, 3, H, W) of shapes at place (N, K, 2)."""
    points, picture = pixel_centres(image_size), canvas(len(place), image_size)
    disc = disc_distance(points, place[:, 0], RADIUS)
    square = box_distance(points - place[:, 1, None, None], torch.full((2,), RADIUS))
    # Adding keeps both readable where they overlap.
    parts = [paint(picture, d, c) for d, c in zip((disc, square), COLOURS, strict=True)]
    return to_uint8(sum(parts[1:], parts[0]))


def read(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Where shapes are in pictures, and whether they can be made out.

    Args:
        pictures: float (N, 3, H, W) in [0, 1], for example decoded from latents.

    Returns:
        places (N, K, 2), and sharp (N, K) bool: one blob of about the right size. The mean of several futures is a
        picture of several ghosts, and no future.
    """
    size = pictures.shape[-1]
    weight = (pictures[:, :SHAPES] - 0.25).clamp_min(0)
    mass = weight.sum((-1, -2))
    points = pixel_centres(size)
    place = torch.einsum("nkhw,hwd->nkd", weight, points) / mass.clamp_min(1e-6)[..., None]
    spread = torch.einsum("nkhw,nkhw->nk", weight, (points - place[:, :, None, None]).square().sum(-1))
    spread = spread / mass.clamp_min(1e-6)
    expected_mass, expected_spread = _nominal(size)
    sharp = (mass > 0.5 * expected_mass) & (mass < 1.5 * expected_mass) & (spread < 2 * expected_spread)
    return place, sharp


def _nominal(size: int) -> tuple[Tensor, Tensor]:
    """Mass and spread of whole shapes as ``read`` measures them, (K,) each."""
    weight = (render(torch.full((1, SHAPES, 2), 0.5), size)[0, :SHAPES].float() / 255 - 0.25).clamp_min(0)
    mass = weight.sum((-1, -2))
    distance = (pixel_centres(size) - 0.5).square().sum(-1)
    return mass, (weight * distance).sum((-1, -2)) / mass


def score(places: Tensor, sharp: Tensor, truth: Tensor, bounces: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1 of sampled futures against all that there are.

    Args:
        places: (N, M, K, 2) of M samples a scene, as ``read`` gives them.
        sharp: (N, M, K) bool.
        truth, bounces: of ``futures``.

    Returns:
        ``precision``: share of samples that are a future, all shapes at once; ``recall``: share of the distinct futures
        that some sample is; ``f1`` their harmonic mean; (N,) each.
    """
    apart = (places[:, :, :, None] - truth[:, None]).norm(dim=-1)  # (N, M, K, 3)
    is_option = (apart <= TOLERANCE) & sharp[..., None]
    precision = is_option.any(-1).all(-1).float().mean(1)
    hits, counts = torch.zeros(len(places)), torch.zeros(len(places))
    for combination in itertools.product(range(len(LEAVES)), repeat=places.shape[2]):
        # Where a shape meets no wall its three options are one: only the first is counted.
        distinct = torch.stack([bounces[:, k] | (c == 0) for k, c in enumerate(combination)]).all(0)
        found = torch.stack([is_option[:, :, k, c] for k, c in enumerate(combination)]).all(0).any(1)
        counts += distinct
        hits += distinct & found
    recall = hits / counts
    f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-9)
    return {"precision": precision, "recall": recall, "f1": f1}
