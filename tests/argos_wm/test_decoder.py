"""Laws of the latent decoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from argos_wm.checkpoint import CheckpointError, save_json
from argos_wm.decoder import CLASSES, DecoderConfig, LatentDecoder


@pytest.mark.parametrize("cfg", [DecoderConfig(), DecoderConfig(rows=8, cols=8, channels=6, image_size=32, width=32)])
def test_latents_become_pictures_and_classes(cfg: DecoderConfig) -> None:
    decoder = LatentDecoder(cfg).eval()
    latents = torch.randn(2, cfg.rows * cfg.cols, cfg.channels)
    picture, classes = decoder.draw(latents)
    assert picture.shape == (2, 3, cfg.image_size, cfg.image_size)
    assert classes.shape == (2, len(CLASSES), cfg.image_size, cfg.image_size)
    assert picture.min() >= 0 and picture.max() <= 1
    assert torch.equal(decoder(latents), picture)


def test_a_saved_decoder_draws_the_same(tmp_path: Path) -> None:
    decoder, latents = LatentDecoder().eval(), torch.randn(2, 16, 16)
    decoder.save(tmp_path)
    assert torch.equal(LatentDecoder.load(tmp_path)(latents), decoder(latents))


def test_every_latent_may_change_every_quarter_of_the_picture() -> None:
    decoder, latents = LatentDecoder().eval(), torch.randn(1, 16, 16)
    changed = latents.clone()
    changed[:, 0] += 1.0
    corner = (decoder(changed) - decoder(latents))[:, :, 48:, 48:]
    assert corner.abs().max() > 0


def test_a_grid_that_cannot_reach_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot reach 60 pixels; choose 64"):
        LatentDecoder(DecoderConfig(image_size=60))


def test_settings_of_something_else_are_refused(tmp_path: Path) -> None:
    save_json(tmp_path / "decoder.json", {"depth": 3})
    with pytest.raises(CheckpointError, match="does not describe a decoder"):
        LatentDecoder.load(tmp_path)
