"""Laws of how sight is learned: what it knows of joints is measured on others' episodes, and pictures alone tell it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tasks  # noqa: F401  registers the gymnasium ids
from argos_sim.deploy.manifest import SIGHT
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline import sight
from argos_sim.pipeline.export import policy_of, with_sight
from argos_sim.pipeline.play import Weights
from argos_sim.pipeline.settings import Settings
from argos_sim.precision import ExportConfig
from tests.argos_sim.deploy.test_runtime import MANIFEST as SO100

MANIFEST = dataclasses.replace(SO100, joint_names=("pan", "lift"))
SETTINGS = Settings(export=ExportConfig(sight_episodes=24))


def test_the_shipped_weights_tell_an_arms_joints_from_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    weights = Weights.of(PRETRAINED)
    manifest, networks, _ = policy_of(SETTINGS, weights, own=False)
    none = dataclasses.replace(SETTINGS, export=ExportConfig(sight_episodes=0))
    assert with_sight(none, weights, False, manifest, networks) is manifest
    found = with_sight(SETTINGS, weights, False, manifest, networks)
    assert networks[-1].name == SIGHT and found.sight is not None
    pan = found.joint_names.index("shoulder_pan")
    assert found.sight.known()[pan] and found.sight.error[pan] < 0.15 < found.sight.spread[pan]
    assert f"shoulder_pan to {found.sight.error[pan]:.2f} rad" in capsys.readouterr().out
    vision = networks[-1].inputs["vision"]
    assert isinstance(vision, torch.Tensor)
    told = networks[-1].module(vision)
    other = networks[-1].module(vision.flip(1))  # patches in another order
    assert float((told - other)[:, pan].square().mean().sqrt()) > 2 * found.sight.error[pan]


def test_what_sight_does_not_know_is_not_exported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Latents that have nothing to do with the arm."""
    vision, angles = torch.randn(600, 4, 3), torch.randn(600, 2)
    monkeypatch.setattr(sight, "STEPS", 50)
    monkeypatch.setattr(sight, "_from_demonstrations", lambda _: (vision, angles, torch.arange(600) // 10))
    manifest, networks = MANIFEST, []
    assert with_sight(SETTINGS, Weights.of(PRETRAINED), True, manifest, networks) is manifest and networks == []
    assert "No joint is told well" in capsys.readouterr().out


def test_the_error_is_that_of_episodes_that_were_not_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of which a third has its angles the other way around: whichever are kept apart, they are told."""
    vision = torch.randn(900, 4, 40)
    angles = torch.stack([vision[:, 0, 0], vision[:, 1, 20]], 1)
    episode = torch.arange(900) // 30
    turned = torch.where(episode < 10, -1.0, 1.0)[:, None]
    monkeypatch.setattr(sight, "STEPS", 400)
    monkeypatch.setattr(sight, "_from_demonstrations", lambda _: (vision, turned * angles, episode))
    traced, found = sight.sight_of(SETTINGS, Weights.of(PRETRAINED), True, MANIFEST)
    assert np.allclose(found.error, 2.0, atol=0.4), "kept were the first ten, whose angles are the opposite"
    told = traced.module(vision[300:])
    assert float((told - angles[300:]).square().mean().sqrt()) < 0.4, "the rest was learned"


def test_no_more_latents_are_taken_than_memory_is_meant_for(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SimpleNamespace(patches=4, channels=3)
    frames = SimpleNamespace(
        time=torch.zeros(90), vision=torch.randn(90, 4, 3), positions=torch.randn(90, 2), spec=spec
    )
    frames.episode_of = torch.arange(90) // 10
    monkeypatch.setattr(sight, "load_cache", lambda _: SizedCache(frames))
    for most, count in ((12 * 40, 40), (10**9, 90)):
        monkeypatch.setattr(sight, "MOST_NUMBERS", most)
        vision, angles, episode = sight._from_demonstrations(SETTINGS)
        assert len(vision) == len(angles) == len(episode) == count


class SizedCache:
    """Nine episodes."""

    def __init__(self, frames: SimpleNamespace) -> None:
        self.__dict__.update(frames.__dict__)

    def __len__(self) -> int:
        return 9
