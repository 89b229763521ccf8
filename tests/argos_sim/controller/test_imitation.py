"""Imitation sees the demonstrations rightly: past behind, target ahead, time to go between them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from argos_sim.configs import ImitationConfig
from argos_sim.controller.imitation import ImitationData, imitate
from argos_sim.controller.network import Controller, ControllerConfig
from argos_wm.data.latent_cache import LatentCache
from argos_wm.latents import LatentSpec
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig

FRAMES, RATE, JOINTS, EPISODES, PERIOD = 12, 5, 2, 6, 8
SPEC = LatentSpec("small-vit", "abc", 2, 2, 3, 4, ("a", "b"), "stats")
CFG = ControllerConfig(
    patches=4, channels=3, proprio_dim=4, joints=JOINTS, history=2, attention_width=8, hidden=(32, 32)
)
EXACT = ImitationConfig(target_vision_noise=0.0, target_proprio_noise=0.0, vision_noise=0.0)


def cache() -> LatentCache:
    """Latents that count: vision holds the frame's number, proprioception the control step's."""
    total = FRAMES * EPISODES
    frame = torch.arange(total).float()
    step = torch.arange(total * RATE).float().view(total, RATE)
    state = step[..., None].expand(total, RATE, 2 * JOINTS).contiguous()
    return LatentCache(
        SPEC,
        10.0,
        ["touch"] * EPISODES,
        torch.arange(EPISODES + 1) * FRAMES,
        frame[:, None, None].expand(total, 4, 3).contiguous(),
        state[:, 0],
        state[:, 0, :JOINTS],
        torch.zeros(total, JOINTS),
        torch.arange(total) % FRAMES / 10.0,
        state,
        (step / step.max())[..., None].expand(total, RATE, JOINTS).contiguous(),
    )


@pytest.fixture
def controller() -> Controller:
    return Controller(CFG, torch.ones(JOINTS))


def test_windows_of_imitation_are_consistent_in_time(controller: Controller) -> None:
    data = ImitationData(cache(), controller, lambda raw: raw, PERIOD, EXACT)
    (vision, target_vision, proprio, target_proprio, last, time), action = data.batch(500)
    frame, target = vision[:, 0, 0].long(), target_vision[:, 0, 0].long()
    now = proprio[:, -1, 0]
    assert (target > frame).all()
    assert (target - frame <= PERIOD).all()
    assert (frame // FRAMES == target // FRAMES).all(), "a target came from another episode"
    assert torch.equal((now // RATE).long(), frame)
    assert torch.allclose(time[:, 0], (target * RATE - now) * 0.02)
    assert torch.equal(target_proprio[:, 0], target.float() * RATE)
    assert torch.allclose(action[:, 0], now / (FRAMES * EPISODES * RATE - 1))
    assert not last.any()
    gaps = proprio[:, 1:, 0] - proprio[:, :-1, 0]
    start = (frame // FRAMES * FRAMES * RATE).float()
    assert ((gaps == 1) | (proprio[:, :-1, 0] == start[:, None])).all()


def test_a_controller_learns_what_the_expert_did(controller: Controller, tmp_path: Path) -> None:
    data = ImitationData(cache(), controller, lambda raw: raw / 360, PERIOD, EXACT)
    cfg = ImitationConfig(LoopConfig(steps=150, batch_size=128, learning_rate=3e-3), 0.0, 0.0, 0.0)
    before = error(controller, data)
    trained = imitate(controller, data, cfg, tmp_path, RunLogger(tmp_path, "none"))
    assert error(trained, data) < 0.5 * before


def error(controller: Controller, data: ImitationData) -> float:
    torch.manual_seed(9)
    inputs, action = data.batch(400)
    with torch.no_grad():
        return float((controller.action(*inputs) - action).square().mean())
