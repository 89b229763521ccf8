"""Procedural backgrounds: families of textures drawn in batches, and compositing behind the segmented foreground.

A family is a function ``(grid, generator) -> (N, 3, H, W)`` of colours in [0, 1] that draws N textures with different
parameters at once. Coordinates run from 0 to 1 across the picture's shorter side, so a texture looks alike at every
resolution. A background belongs to an episode: draw a bank once, give each environment one entry at reset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from argos_sim.randomization.photographs import FAMILY, photograph_bank

CANONICAL_COLOUR = (209, 207, 201)
"""The canonical background, RGB: the light grey of a table, far from the blocks' colours and from the dark arm."""
VIVID_SHARE = 0.25
"""Share of texture colours that are vivid; a real room has red cloths and green mats."""
VIVID_CHROMA = 0.5
"""Most chroma (largest minus smallest channel) of a background colour. The blocks' is above it: a block stays visible
on a cloth of its own hue, though barely."""


@dataclass(frozen=True)
class Grid:
    """Where a batch of textures is evaluated: ``x``, ``y (N, H, W)``, 0 to 1 across the shorter side."""

    x: Tensor
    y: Tensor

    @staticmethod
    def make(count: int, size: tuple[int, int], device: torch.device | str) -> Grid:
        height, width = size
        unit = 1.0 / min(height, width)
        rows = (torch.arange(height, device=device) + 0.5) * unit
        cols = (torch.arange(width, device=device) + 0.5) * unit
        y, x = torch.meshgrid(rows, cols, indexing="ij")
        return Grid(x.expand(count, -1, -1), y.expand(count, -1, -1))

    @property
    def count(self) -> int:
        return self.x.shape[0]

    def rotated(self, generator: torch.Generator) -> Grid:
        """The same points in frames turned by random angles and moved by random offsets."""
        angle = uniform(self, 0.0, math.tau, generator)
        x, y = self.x - 0.5, self.y - 0.5
        moved = Grid(x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos())
        return Grid(moved.x + uniform(self, 0.0, 8.0, generator), moved.y + uniform(self, 0.0, 8.0, generator))


def uniform(grid: Grid, low: float, high: float, generator: torch.Generator) -> Tensor:
    """One number a texture, (N, 1, 1), uniform in [low, high]."""
    draw = torch.rand(grid.count, 1, 1, generator=generator, device=generator.device)
    return (low + (high - low) * draw).to(grid.x.device)


def random_colours(grid: Grid, colours: int, generator: torch.Generator) -> Tensor:
    """``colours`` colours a texture, (N, colours, 3): any lightness, mostly muted, a share of them vivid."""
    shape = (grid.count, colours, 1)
    draws = torch.rand(3, *shape, generator=generator, device=generator.device).to(grid.x.device)
    vivid = torch.rand(shape, generator=generator, device=generator.device).to(grid.x.device) < VIVID_SHARE
    chroma = torch.where(vivid, VIVID_CHROMA * (0.5 + 0.5 * draws[0]), 0.18 * draws[0])
    phase = math.tau * (draws[1] + torch.arange(3, device=grid.x.device) / 3.0)
    hue = 0.5 + 0.5 * phase.cos()
    hue = (hue - hue.amin(-1, keepdim=True)) / (hue.amax(-1, keepdim=True) - hue.amin(-1, keepdim=True))
    floor = (1.0 - chroma) * (0.1 + 0.9 * draws[2])
    return floor + chroma * hue


def mix(weight: Tensor, colours: Tensor) -> Tensor:
    """Blend from the first to the second of ``colours (N, 2, 3)`` by ``weight (N, H, W)`` in [0, 1]."""
    first, second = colours[:, 0, :, None, None], colours[:, 1, :, None, None]
    return first + (second - first) * weight.unsqueeze(1)


def fractal_noise(grid: Grid, octaves: int, cells: int, generator: torch.Generator) -> Tensor:
    """Value noise (N, H, W) in [0, 1]: random lattices of ``cells``, twice as fine and half as strong each octave."""
    n, height, width = grid.x.shape
    total = torch.zeros(n, 1, height, width, device=grid.x.device)
    for octave in range(octaves):
        side = cells * 2**octave + 1
        lattice = torch.rand(n, 1, side, side, generator=generator, device=generator.device).to(grid.x.device)
        total += F.interpolate(lattice, (height, width), mode="bicubic", align_corners=True) * 0.5**octave
    total = total.squeeze(1)
    low, high = total.amin((1, 2), keepdim=True), total.amax((1, 2), keepdim=True)
    return (total - low) / (high - low).clamp_min(1e-6)


def _wave(phase: Tensor, sharpness: Tensor) -> Tensor:
    """A periodic step in [0, 1] of period 1 in ``phase``, from a sine to nearly square as ``sharpness`` grows."""
    return torch.sigmoid(sharpness * torch.sin(math.tau * phase))


def canonical(grid: Grid, generator: torch.Generator) -> Tensor:
    """The one plain background that canonical pictures have."""
    colour = torch.tensor(CANONICAL_COLOUR, device=grid.x.device) / 255.0
    return colour[None, :, None, None].expand(-1, -1, *grid.x.shape[1:]).expand(grid.count, -1, -1, -1)


def plain(grid: Grid, generator: torch.Generator) -> Tensor:
    """One colour."""
    return mix(torch.zeros_like(grid.x), random_colours(grid, 2, generator))


def gradient(grid: Grid, generator: torch.Generator) -> Tensor:
    """Two colours that fade into each other along a random direction: light falling in from a window."""
    turned = grid.rotated(generator).x
    low, high = turned.amin((1, 2), keepdim=True), turned.amax((1, 2), keepdim=True)
    return mix((turned - low) / (high - low), random_colours(grid, 2, generator))


def noise(grid: Grid, generator: torch.Generator) -> Tensor:
    """Stains and clouds: value noise of five octaves."""
    return mix(fractal_noise(grid, 5, 3, generator), random_colours(grid, 2, generator))


def checker(grid: Grid, generator: torch.Generator) -> Tensor:
    """A chess board, turned at random."""
    turned, scale = grid.rotated(generator), uniform(grid, 2.0, 9.0, generator)
    odd = ((turned.x * scale).floor() + (turned.y * scale).floor()) % 2
    return mix(odd, random_colours(grid, 2, generator))


def stripes(grid: Grid, generator: torch.Generator) -> Tensor:
    """Parallel stripes, soft or sharp."""
    turned = grid.rotated(generator)
    phase = turned.x * uniform(grid, 2.0, 14.0, generator)
    return mix(_wave(phase, uniform(grid, 1.0, 12.0, generator)), random_colours(grid, 2, generator))


def voronoi(grid: Grid, generator: torch.Generator, cells: int = 20) -> Tensor:
    """Patches of colour about random centres: paper, cables and tools on a desk."""
    centres = torch.rand(2, grid.count, cells, 1, 1, generator=generator, device=generator.device).to(grid.x.device)
    aspect_x, aspect_y = grid.x.amax(), grid.y.amax()
    x, y = grid.x.unsqueeze(1) - centres[0] * aspect_x, grid.y.unsqueeze(1) - centres[1] * aspect_y
    nearest = (x.square() + y.square()).argmin(1).flatten(1)
    colours = random_colours(grid, cells, generator)
    picked = colours.gather(1, nearest.unsqueeze(-1).expand(-1, -1, 3))
    return picked.transpose(1, 2).unflatten(2, grid.x.shape[1:])


def spectral(grid: Grid, generator: torch.Generator) -> Tensor:
    """Three colours mixed by two random fields of a power-law spectrum, rough or smooth, stretched along one axis.

    Natural pictures have such spectra (Field 1987); the slope and the stretch vary, so that the family holds sand,
    grain, brushed metal and cloth.
    """
    colours = random_colours(grid, 3, generator)
    first = mix(_power_law(grid, generator), colours[:, :2])
    last = colours[:, 2, :, None, None]
    return first + (last - first) * _power_law(grid, generator).unsqueeze(1)


def _power_law(grid: Grid, generator: torch.Generator) -> Tensor:
    """Gaussian fields (N, H, W), squashed to [0, 1], of amplitude 1 / frequency^slope, slopes 0.5 to 2.5."""
    n, height, width = grid.x.shape
    device = grid.x.device
    white = torch.randn(n, height, width, generator=generator, device=generator.device).to(device)
    fy = torch.fft.fftfreq(height, device=device)[None, :, None] * height
    fx = torch.fft.rfftfreq(width, device=device)[None, None, :] * width
    angle, stretch = uniform(grid, 0.0, math.tau, generator), uniform(grid, 0.0, 2.0, generator).exp()
    along, across = fx * angle.cos() + fy * angle.sin(), fy * angle.cos() - fx * angle.sin()
    frequency = ((along * stretch).square() + across.square()).sqrt().clamp_min(1.0)
    field = torch.fft.irfft2(
        torch.fft.rfft2(white) * frequency ** -uniform(grid, 0.5, 2.5, generator), s=(height, width)
    )
    field = field - field.mean((1, 2), keepdim=True)
    return torch.sigmoid(uniform(grid, 1.0, 5.0, generator) * field / field.std((1, 2), keepdim=True).clamp_min(1e-6))


def collage(grid: Grid, generator: torch.Generator) -> Tensor:
    """Two textures of other families, the one laid over part of the other: a mat on a table, a wall behind it."""
    sources = (plain, gradient, noise, checker, stripes, spectral)
    textures = torch.stack([source(grid, generator) for source in sources], 1)  # (N, F, 3, H, W)
    draw = torch.rand(grid.count, len(sources), generator=generator, device=generator.device).to(grid.x.device)
    order, every = draw.argsort(1), torch.arange(grid.count, device=grid.x.device)
    turned = grid.rotated(generator).x
    edge = turned - turned.mean((1, 2), keepdim=True) - uniform(grid, -0.3, 0.3, generator)
    torn = fractal_noise(grid, 4, 3, generator) - 0.5
    over = edge + uniform(grid, 0.0, 1.5, generator) * torn > 0
    return torch.where(over.unsqueeze(1), textures[every, order[:, 0]], textures[every, order[:, 1]])


def bricks(grid: Grid, generator: torch.Generator) -> Tensor:
    """Courses of bricks with mortar between them, each brick of its own shade."""
    rows = uniform(grid, 4.0, 10.0, generator)
    course = (grid.y * rows).floor()
    along = grid.x * rows * uniform(grid, 0.35, 0.6, generator) + 0.5 * (course % 2)
    gap = uniform(grid, 0.06, 0.14, generator)
    mortar = ((grid.y * rows) % 1 < gap) | (along % 1 < 0.5 * gap)
    shade = (torch.sin(along.floor() * 12.9898 + course * 78.233) * 43758.5453) % 1
    body = mix(0.35 * shade, random_colours(grid, 2, generator))
    return torch.where(mortar.unsqueeze(1), mix(torch.zeros_like(grid.x), random_colours(grid, 2, generator)), body)


def dots(grid: Grid, generator: torch.Generator) -> Tensor:
    """Polka dots on a lattice."""
    turned, scale = grid.rotated(generator), uniform(grid, 3.0, 10.0, generator)
    u, v = (turned.x * scale) % 1 - 0.5, (turned.y * scale) % 1 - 0.5
    inside = torch.sigmoid((uniform(grid, 0.2, 0.42, generator) - (u.square() + v.square()).sqrt()) * 30.0)
    return mix(inside, random_colours(grid, 2, generator))


def wood(grid: Grid, generator: torch.Generator) -> Tensor:
    """Rings of a sawn trunk, bent by noise."""
    x, y = grid.x - uniform(grid, -0.5, 1.5, generator), grid.y - uniform(grid, -0.5, 1.5, generator)
    radius = (x.square() + (y * uniform(grid, 0.2, 1.0, generator)).square()).sqrt()
    radius = radius + 0.12 * fractal_noise(grid, 3, 3, generator)
    rings = (radius * uniform(grid, 5.0, 14.0, generator)) % 1
    return mix(rings.square(), random_colours(grid, 2, generator))


def plaid(grid: Grid, generator: torch.Generator) -> Tensor:
    """A woven cloth: bands of two colours cross over a third."""
    turned = grid.rotated(generator)
    sharpness = uniform(grid, 4.0, 12.0, generator)
    warp_band = _wave(turned.x * uniform(grid, 2.0, 8.0, generator), sharpness)
    weft_band = _wave(turned.y * uniform(grid, 2.0, 8.0, generator), sharpness)
    cloth = mix(0.7 * warp_band, random_colours(grid, 2, generator))
    band = random_colours(grid, 1, generator)[:, 0, :, None, None]
    return cloth + (band - cloth) * (0.5 * weft_band).unsqueeze(1)


def warp(grid: Grid, generator: torch.Generator) -> Tensor:
    """Marble: broad waves bent by noise that is itself bent by noise."""
    bend = fractal_noise(grid, 2, 2, generator) + fractal_noise(grid, 4, 4, generator)
    turned = grid.rotated(generator)
    phase = turned.x * uniform(grid, 0.5, 2.0, generator) + bend * uniform(grid, 0.8, 2.5, generator)
    return mix(_wave(phase, uniform(grid, 1.0, 5.0, generator)), random_colours(grid, 2, generator))


FAMILIES: dict[str, Callable[[Grid, torch.Generator], Tensor]] = {
    f.__name__: f
    for f in (
        canonical,
        plain,
        gradient,
        noise,
        checker,
        stripes,
        voronoi,
        spectral,
        collage,
        bricks,
        dots,
        wood,
        plaid,
        warp,
    )
}


def make_background_bank(
    families: Sequence[str],
    count: int,
    size: int | tuple[int, int],
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw ``count`` backgrounds, uint8 (count, 3, H, W), as many of each family, family by family in turn.

    Args:
        families: names in ``FAMILIES``, or ``photographs:`` and a folder of pictures.
        size: picture size in pixels, (H, W) or one number for a square.
        generator: source of all randomness; the same seed on the same kind of device gives the same bank.
    """
    unknown = [name for name in families if name not in FAMILIES and not name.startswith(FAMILY)]
    if unknown or not families:
        raise ValueError(f"There is no background family {unknown}. Choose from: {', '.join(FAMILIES)}.")
    shape = (size, size) if isinstance(size, int) else size
    bank = torch.empty(count, 3, *shape, dtype=torch.uint8, device=device)
    for i, name in enumerate(families):
        places = range(i, count, len(families))
        if not places:  # fewer backgrounds than families
            break
        if name.startswith(FAMILY):
            bank[i :: len(families)] = photograph_bank(Path(name.removeprefix(FAMILY)), len(places), shape, generator)
            continue
        colours = FAMILIES[name](Grid.make(len(places), shape, device), generator)
        bank[i :: len(families)] = (colours.clamp(0, 1) * 255.0).round().to(torch.uint8)
    return bank


def composite(images: Tensor, foreground: Tensor, backgrounds: Tensor) -> Tensor:
    """Put ``backgrounds`` behind the foreground of ``images``.

    Args:
        images: (N, 3, H, W), uint8 or float.
        foreground: (N, H, W) bool, True where the robot or an object is seen.
        backgrounds: like ``images``, or broadcastable to it.

    Returns:
        Like ``images``; the foreground's pixels are untouched.
    """
    return torch.where(foreground.bool().unsqueeze(1), images, backgrounds)


def canonical_background(size: int | tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """The canonical background, uint8 (1, 3, H, W)."""
    height, width = (size, size) if isinstance(size, int) else size
    return torch.tensor(CANONICAL_COLOUR, dtype=torch.uint8, device=device)[None, :, None, None].expand(
        1, 3, height, width
    )
