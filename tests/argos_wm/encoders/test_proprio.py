"""Laws of the proprioception encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from argos_wm.encoders.proprio import ProprioEncoder
from argos_wm.encoders.state import StateEncoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from argos_wm.training.proprio import train_proprio

SHIPPED = Path(__file__).parents[3] / "assets" / "pretrained" / "encoder"


def motions(count: int = 4000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = torch.cat([torch.full((6,), 0.4), torch.full((6,), 1.0)])
    return torch.randn(count, 12, generator=generator) * scale + 0.3


def test_an_untrained_pair_is_exact() -> None:
    encoder = ProprioEncoder(6, 16)
    raw = motions(50).unflatten(0, (5, 10))
    assert encoder.encode(raw).shape == (5, 10, 16)
    assert torch.allclose(encoder.decode(encoder.encode(raw)), raw, atol=1e-5)


def test_a_short_training_keeps_it_exact_and_bounds_noise(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = LoopConfig(steps=300, batch_size=128, learning_rate=1e-3, log_every=100, checkpoint_every=300)
    encoder = train_proprio(ProprioEncoder(6, 16), motions(), cfg, tmp_path, RunLogger(tmp_path))
    raw = motions(500)
    latent = encoder.encode(raw)
    assert (encoder.decode(latent) - raw)[:, :6].square().mean().sqrt() < 0.005
    noise = 0.1 * torch.randn(latent.shape, generator=torch.Generator().manual_seed(1)) * latent.std(0)
    assert (encoder.decode(latent + noise) - raw)[:, :6].square().mean().sqrt() < 0.06


def test_a_latent_too_small_for_the_joints_is_refused() -> None:
    with pytest.raises(ValueError, match="dim 8, and 6 joints need at least 12"):
        ProprioEncoder(6, 8)


def test_the_shipped_weights_give_back_what_they_were_given() -> None:
    encoder = StateEncoder.load(SHIPPED)
    raw = encoder.proprio.centre + encoder.proprio.scale * torch.randn(
        1000, 12, generator=torch.Generator().manual_seed(0)
    )
    back = encoder.decode_proprio(encoder.encode_proprio(raw))
    assert (back - raw)[:, :6].square().mean().sqrt() < 0.005
    assert (back - raw)[:, 6:].square().mean().sqrt() < 0.05
