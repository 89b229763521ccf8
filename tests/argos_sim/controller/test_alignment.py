"""Laws of the camera's alignment: what a homography does to a picture, how joints find it, who looks through it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from argos_sim.controller.alignment import Eyes, Posture, Views, aligned, fit_posture, homography, warp
from argos_sim.envs.camera import CameraPose

SIZE = 32


def numbers(**values: float) -> Tensor:
    names = ("xx", "xy", "x", "yx", "yy", "y", "px", "py")
    return torch.tensor([values.get(name, 0.0) for name in names])


def encode(pictures: Tensor) -> Tensor:
    """4 x 4 patches of one channel."""
    return F.avg_pool2d(pictures.float().mean(1, keepdim=True), SIZE // 4).flatten(1)[..., None] / 30


def pictures_of(joints: Tensor, moved: Tensor | None = None) -> Tensor:
    """A blob whose place (x, y) is the joints' (M, 2), as a camera sees it before or after it was moved."""
    line = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    place = joints
    if moved is not None:
        there = torch.cat([joints, torch.ones(len(joints), 1)], 1) @ homography(moved).T
        place = there[:, :2] / there[:, 2:]
    far = (x - place[:, 0, None, None]).square() + (y - place[:, 1, None, None]).square()
    return (250 * torch.exp(-far / 0.08))[:, None].expand(-1, 3, -1, -1).round().byte()


def views(joints: Tensor, moved: Tensor | None = None) -> Views:
    """Ten pictures an episode."""
    return Views(pictures_of(joints, moved), joints, torch.arange(len(joints)) // 10)


def places(count: int, seed: int) -> Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * 1.2 - 0.6


@pytest.fixture(scope="module")
def posture() -> Posture:
    joints = places(1600, 0)
    return fit_posture(views(joints), encode, 600, 0)


def test_nothing_moves_nothing_and_whole_pixels_are_moved_exactly() -> None:
    picture = torch.randint(0, 256, (1, 3, SIZE, SIZE), dtype=torch.uint8)
    assert torch.equal(warp(picture, homography(torch.zeros(1, 8))), picture)
    moved = warp(picture, homography(numbers(x=4 / SIZE, y=-6 / SIZE)[None]))
    assert torch.equal(moved[..., 3:, :-2], picture[..., :-3, 2:])
    assert torch.equal(moved[..., 0, :-2], picture[..., 0, 2:]), "edges go on"


def test_a_table_seen_from_elsewhere_is_brought_back_exactly() -> None:
    pose, shift = CameraPose(), torch.tensor([0.03, 0.03, 0.03])

    def seen(moved: Tensor) -> tuple[Tensor, Tensor]:
        """What a pinhole camera sees of a pattern on the table, and the map from the table to its picture."""
        half = torch.tensor(pose.quaternion)
        cos, sin = 1 - 2 * half[0] ** 2, 2 * half[0] * half[3]
        turn = torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        focal = 2 * pose.focal_length / 20.955
        position = torch.tensor(pose.position) + moved
        table = torch.tensor([[1, 0, -position[0]], [0, 1, -position[1]], [0, 0, -position[2]]])
        to_picture = torch.diag(torch.tensor([focal, focal, 1.0])) @ turn.T @ table
        line = (torch.arange(64) + 0.5) / 64 * 2 - 1
        y, x = torch.meshgrid(line, line, indexing="ij")
        there = torch.stack([x, y, torch.ones_like(x)], -1) @ torch.linalg.inv(to_picture).T
        there = there[..., :2] / there[..., 2:]
        pattern = 127 + 100 * torch.sin(25 * there[..., 0]) * torch.cos(25 * there[..., 1])
        return pattern.round().byte().expand(1, 3, -1, -1), to_picture

    (before, old), (after, new) = seen(torch.zeros(3)), seen(shift)
    map_ = new @ torch.linalg.inv(old)
    back = warp(after, (map_ / map_[2, 2])[None])
    inner = (..., slice(12, -12), slice(12, -12))
    apart, moved = ((x[inner].float() - before[inner].float()).abs().mean() for x in (back, after))
    assert apart < 2 and moved > 20


def test_the_joints_say_how_the_camera_was_moved(posture: Posture) -> None:
    truth = numbers(x=0.2, y=-0.15, xx=0.05, yy=-0.04)
    joints = places(300, 1)
    seen = views(joints, truth)
    assert seen.strange(posture, encode) and not views(joints).strange(posture, encode)
    found = aligned(seen, torch.zeros(8), posture, encode, 0)
    corners = torch.tensor([[x, y, 1.0] for x in (-0.6, 0.6) for y in (-0.6, 0.6)])
    there, wanted = (p[:, :2] / p[:, 2:] for p in (corners @ homography(n).T for n in (found, truth)))
    off = (there - wanted).norm(dim=1).max() * SIZE / 2
    assert off < 1.5, "pixels"
    again = aligned(seen, found, posture, encode, 1)
    kept = seen.costs(torch.stack([found, again]), posture, encode)
    assert kept[1] < 1.1 * kept[0]


def test_an_unlucky_search_changes_nothing(posture: Posture, monkeypatch: pytest.MonkeyPatch) -> None:
    joints = places(90, 2)
    start = numbers(x=0.1)
    monkeypatch.setattr("argos_sim.controller.alignment.POPULATION", 8)
    monkeypatch.setattr("argos_sim.controller.alignment.NEAR", 1.0)
    monkeypatch.setattr("argos_sim.controller.alignment.REFINED", 1)
    assert torch.equal(aligned(views(joints, start), start, posture, encode, 0), start)


def test_strange_postures_that_no_camera_explains_are_left_alone(posture: Posture) -> None:
    joints = places(200, 4)
    bent = views(joints)
    bent = Views(bent.pictures, joints + 0.8 * joints.flip(0), bent.episode)  # read-outs that have to do with nothing
    assert bent.strange(posture, encode)
    assert torch.equal(aligned(bent, torch.zeros(8), posture, encode, 0), torch.zeros(8))


def test_one_episode_is_not_enough_to_find_and_judge(posture: Posture) -> None:
    joints = places(10, 6)
    one, start = views(joints, numbers(x=0.2)), numbers(x=0.1)

    def blind(pictures: torch.Tensor) -> torch.Tensor:
        raise AssertionError("nothing is looked at")

    assert torch.equal(aligned(one, start, posture, blind, 0), start)


def test_who_judges_was_not_looked_at() -> None:
    some = views(places(70, 5))
    kept, used = some.split(0)
    assert not set(kept.episode.tolist()) & set(used.episode.tolist())
    assert len(kept.joints) == 20 and len(used.joints) == 50
    assert torch.equal(kept.pictures, pictures_of(kept.joints)), "each with its joints"


class Senses:
    """What ``Eyes`` take of ``Perception``; a proprioceptive latent is the joints' state itself."""

    def __init__(self, joints: Tensor) -> None:
        self.device = "cpu"
        self.images = torch.zeros(len(joints), 3, SIZE, SIZE, dtype=torch.uint8)
        self.proprio = torch.cat([joints, torch.zeros_like(joints)], 1)
        self.encoder = SimpleNamespace(decode_proprio=lambda latent: latent)
        self.encode = encode


def test_who_guards_what_it_knew_believes_the_joints_of_the_episode(posture: Posture) -> None:
    truth, joints = numbers(x=0.25, y=-0.2), places(6, 3)
    senses: Any = Senses(joints)
    learned = torch.stack([truth, truth, torch.zeros(8)])
    eyes = Eyes(senses, posture, learned, torch.tensor([True, False, True]))
    every = torch.arange(6)
    moved, plain = pictures_of(joints, truth), pictures_of(joints)

    looked = eyes.encode(plain, every, False)
    assert torch.equal(looked[[0, 1, 4, 5]], encode(plain)[[0, 1, 4, 5]]), "nothing is known of the episode yet"
    assert not bool(eyes.evidence.any()), "a judge's look is no evidence"
    assert not torch.equal(looked[2:4], encode(plain)[2:4]), "whoever guards nothing looks through what it learned"

    back, straight = encode(warp(moved, homography(truth).expand(6, -1, -1))), encode(moved)
    seen = eyes.encode(moved, every, True)
    assert torch.equal(seen[:4], back[:4]) and torch.equal(seen[4:], straight[4:])
    assert torch.equal(eyes.encode(moved, every, False)[:4], back[:4]), "for the rest of the episode"

    eyes.reset(torch.tensor([0]))
    seen = eyes.encode(plain, every, True)
    assert torch.equal(seen[0], encode(plain)[0]), "the camera stands where it stood: an episode of its own"
    part = eyes.encode(plain[[5, 0]], torch.tensor([5, 0]), True)
    assert torch.equal(part, encode(plain)[[5, 0]])
