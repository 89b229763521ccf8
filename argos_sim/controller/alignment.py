"""A camera that was moved is put right in its picture, and the arm itself says how.

Beforehand, in the old conditions, a *posture model* learns to tell the joints' angles from the latent of a picture. The
joints' own read-outs say afterwards whether it still can. Where it can't, the camera stands elsewhere, and a plane
homography of the picture is sought with which it can again: for a table seen from a moved pinhole that is exact, for
what stands on it an approximation (Hartley & Zisserman 2004, 13.1). No target, marker or gradient is needed: eight
numbers, found by the cross-entropy method (Rubinstein 1999) over pictures of the robot's own episodes.

``Eyes`` keep what was known: in each episode they look both ways and believe the one that fits the joints better.
Joints are compared with a picture as it arrives; where frames are late they have moved since by up to three steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from argos_sim.perception import Perception

Encode = Callable[[Tensor], Tensor]
"""Pictures (M, 3, H, W) uint8 → latents (M, P, C)."""
PRIOR = (0.1, 0.1, 0.3, 0.1, 0.1, 0.3, 0.03, 0.03)
"""How far each of a homography's eight numbers may be expected to be from the identity's."""
HUBER = 2.0
"""Errors above so many times the posture's own grow linearly: an object before the arm shall not decide."""
SEARCHED, REFINED, NEAR = 10, 4, 0.25
"""Rounds of the first search, and of later ones, which look only so far around the last result, in units of PRIOR."""
POPULATION, ELITE, PICTURES_A_ROUND = 48, 8, 48
"""Homographies tried in a round, those of them that the next one begins with, and pictures that they are tried on."""
KNOWN = 2.0
"""A homography is sought where the posture's error is above so many times what it was. The first one is believed if it
halves that error: not only a moved camera makes postures strange."""
PICTURES = "pictures"
"""Of an experience: what the camera saw (F, N, 3, H, W) uint8, frame by frame."""


class Posture(nn.Module):
    """Latents of pictures (M, P, C) → joint angles (M, J) [rad].

    Attributes:
        centre, scale: (J,) of the angles that it was fitted to [rad].
        error: (J,) its RMS error on episodes that it was not fitted to [rad].
    """

    centre: Tensor
    scale: Tensor
    error: Tensor

    def __init__(self, inputs: int, joints: int, width: int = 128) -> None:
        super().__init__()
        for name in ("centre", "scale", "error"):
            self.register_buffer(name, torch.ones(joints))
        self.linear = nn.Linear(inputs, joints)
        self.mlp = nn.Sequential(nn.Linear(inputs, width), nn.ELU(), nn.Dropout(0.2), nn.Linear(width, joints))

    def forward(self, vision: Tensor) -> Tensor:
        """See the class."""
        flat = vision.flatten(1)
        return self.centre + self.scale * (self.linear(flat) + self.mlp(flat))

    def residuals(self, vision: Tensor, joints: Tensor) -> Tensor:
        """How far (M, J) the angles seen are from those read, in units of ``error``."""
        return (self(vision) - joints) / self.error


def homography(numbers: Tensor) -> Tensor:
    """Maps (…, 3, 3) of a picture's coordinates, −1 … 1 from edge to edge, from how far their first eight numbers (…,
    8) are from the identity's."""
    return torch.eye(3) + F.pad(numbers, (0, 1)).unflatten(-1, (3, 3))


def sampling_grid(maps: Tensor, height: int, width: int) -> Tensor:
    """Where (N, H, W, 2) a picture that is seen through ``maps (N, 3, 3)`` is looked at, x and y in −1 … 1."""
    rows = (torch.arange(height, device=maps.device) + 0.5) / height * 2 - 1
    columns = (torch.arange(width, device=maps.device) + 0.5) / width * 2 - 1
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3) @ maps.transpose(1, 2)
    return (points[..., :2] / points[..., 2:].clamp_min(0.1)).view(len(maps), height, width, 2)


def sampled(pictures: Tensor, grid: Tensor) -> Tensor:
    """Pictures uint8 (N, 3, H, W) at ``grid (N, H, W, 2)``, bilinearly, as floats; edges go on."""
    return F.grid_sample(pictures.float(), grid, padding_mode="border", align_corners=False)


def warp(pictures: Tensor, maps: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) uint8 that show at x what ``pictures`` show at ``maps (N, 3, 3)`` x; edges go on."""
    return sampled(pictures, sampling_grid(maps, *pictures.shape[-2:])).round_().to(torch.uint8)


def error_of(residuals: Tensor) -> Tensor:
    """Mean (…,) over residuals (…, J) of their squares, of which large ones count as Huber does."""
    size = residuals.abs()
    return torch.where(size < HUBER, size.square(), 2 * HUBER * size - HUBER**2).mean(-1)


@dataclass(frozen=True)
class Views:
    """Pictures of one camera, and what the joints read at the time.

    Attributes:
        pictures: (M, 3, H, W) uint8.
        joints: (M, J) [rad].
        episode: (M,) which episode they are of, counted from 0.
    """

    pictures: Tensor
    joints: Tensor
    episode: Tensor

    def __getitem__(self, index: Tensor) -> Views:
        return Views(self.pictures[index], self.joints[index], self.episode[index])

    def drawn(self, count: int, seed: int) -> Views:
        """At most ``count`` of them."""
        return self[torch.randperm(len(self.joints), generator=torch.Generator().manual_seed(seed))[:count]]

    def split(self, seed: int) -> tuple[Views, Views]:
        """Those of a third of the episodes, at least of one, and all others."""
        order = torch.randperm(int(self.episode.max()) + 1, generator=torch.Generator().manual_seed(seed))
        chosen = torch.isin(self.episode, order[: max(1, len(order) // 3)])
        return self[chosen], self[~chosen]

    def costs(self, numbers: Tensor, posture: Posture, encode: Encode) -> Tensor:
        """How badly each of K homographies (K, 8) lets ``posture`` tell the joints from the pictures (K,): mean squared
        error in units of the posture's own, large ones counted as Huber does, and a little for being unlikely."""
        k, m = len(numbers), len(self.joints)
        maps = homography(numbers).repeat_interleave(m, 0)
        vision = encode(warp(self.pictures.repeat(k, 1, 1, 1), maps))
        found = error_of(posture.residuals(vision, self.joints.repeat(k, 1))).view(k, m).mean(1)
        return found + (numbers / torch.tensor(PRIOR)).square().mean(1) / m

    def strange(self, posture: Posture, encode: Encode) -> bool:
        """Whether ``posture`` no longer tells the joints, as where the camera was moved."""
        few = self.drawn(256, 0)
        return bool(few.costs(torch.zeros(1, 8), posture, encode) > KNOWN)


def fit_posture(views: Views, encode: Encode, steps: int, seed: int) -> Posture:
    """The posture model of the camera that took ``views``, which a third of the episodes judge."""
    torch.manual_seed(seed)
    kept, used = views.split(seed)
    (unseen, other), (seen, angle) = ((encode(part.pictures), part.joints) for part in (kept, used))
    model = Posture(seen[0].numel(), angle.shape[1])
    learn_posture(model, model, (seen, angle), (unseen, other), steps)
    return model


def learn_posture(
    network: nn.Module, posture: Posture, learned: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor], steps: int
) -> None:
    """Fit ``network``, whose last part is ``posture``, to latents (M, P, C) and angles (M, J) [rad], in place.

    Args:
        kept: others, of episodes that are not learned from, which tell the posture's ``error``.
    """
    seen, angle = learned
    posture.centre, posture.scale = angle.mean(0), angle.std(0).clamp_min(1e-3)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        index = torch.randint(len(angle), (256,))
        loss = ((network(seen[index].float()) - angle[index]) / posture.scale).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval().requires_grad_(False)
    wrong = torch.cat([network(part.float()) for part in kept[0].split(1024)]) - kept[1]
    posture.error = wrong.square().mean(0).sqrt().clamp_min(1e-3)


def aligned(views: Views, start: Tensor, posture: Posture, encode: Encode, seed: int) -> Tensor:
    """The homography's eight numbers (8,) with which ``posture`` fits the joints best, by the cross-entropy method.

    A local method, Levenberg–Marquardt with finite differences, ended further from the truth (docs/adaptation.md).

    Args:
        views: a third of their episodes judge what was found; of one episode alone, nothing can be.
        start: (8,) where to begin, not far from the truth unless it is zero; returned if nothing better was found.
    """
    kept, used = views.split(seed)
    if len(used.joints) == 0:
        return start
    generator = torch.Generator().manual_seed(seed)
    rounds, wide = (REFINED, NEAR) if bool(start.any()) else (SEARCHED, 1.0)
    mean, std = start.clone(), wide * torch.tensor(PRIOR)
    for number in range(rounds):
        few = used.drawn(PICTURES_A_ROUND, seed + number)
        tried = torch.cat([mean[None], mean + std * torch.randn(POPULATION - 1, 8, generator=generator)])
        costs = torch.cat([few.costs(part, posture, encode) for part in tried.split(16)])
        elite = tried[costs.argsort()[:ELITE]]
        mean, std = elite.mean(0), 0.3 * std + 0.7 * elite.std(0)
    before, after = kept.drawn(256, seed).costs(torch.stack([start, mean]), posture, encode)
    enough = before if bool(start.any()) else 0.5 * before
    return mean if after < enough else start


class Eyes:
    """How the robots of several learners look: each through its homography, or past it.

    Args:
        perception: their senses.
        posture: tells angles from latents.
        numbers: (L, 8) of the learners, who own equal shares of the robots.
        guarded: (L,) whether a learner may look past its homography, as the joints of each episode say.
    """

    def __init__(self, perception: Perception, posture: Posture, numbers: Tensor, guarded: Tensor) -> None:
        robots = len(perception.images)
        owner = torch.arange(robots, device=perception.device) * len(numbers) // robots
        self.perception, self.posture = perception, posture
        self.maps, self.moved = homography(numbers)[owner], numbers.any(1)[owner]
        self.guarded = guarded[owner]
        self.evidence = torch.zeros(robots, device=perception.device)
        """By how much the homography fitted the joints better than the bare picture, summed over the episode."""

    def reset(self, ids: Tensor) -> None:
        """Episodes begin in ``ids``."""
        self.evidence[ids] = 0.0

    def encode(self, pictures: Tensor, ids: Tensor, arrived: bool) -> Tensor:
        """Latents (n, P, C) of ``pictures (n, 3, H, W)`` of the robots ``ids``; those that have ``arrived`` count as
        evidence for the rest of the episode."""
        encode, moved = self.perception.encode, self.moved[ids]
        latents = encode(pictures)
        if not bool(moved.any()):
            return latents
        others = latents.clone()
        others[moved] = encode(warp(pictures[moved], self.maps[ids[moved]]))
        if arrived:
            encoder = self.perception.encoder
            assert encoder is not None, "eyes belong to an environment that tracks latents"
            joints = encoder.decode_proprio(self.perception.proprio[ids]).chunk(2, -1)[0]
            plain, warped = (error_of(self.posture.residuals(x, joints)) for x in (latents, others))
            self.evidence[ids] += plain - warped
        through = moved & (~self.guarded[ids] | (self.evidence[ids] > 0))
        return torch.where(through[:, None, None], others, latents)
