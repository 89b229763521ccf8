"""Laws of the encoder's training."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from argos_wm.data.views import EncoderViews
from argos_wm.decoder import DecoderConfig, LatentDecoder
from argos_wm.encoders.measure import invariance
from argos_wm.encoders.vision import SmallViT, SmallViTConfig
from argos_wm.training.encoder import EncoderObjective, EncoderTask, train_encoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig

SIZE = 32


def scenes(count: int = 128) -> EncoderViews:
    """A white bar whose place is the first joint, and three coloured squares."""
    generator = torch.Generator().manual_seed(0)
    joints = torch.rand(count, 6, generator=generator)
    columns = torch.arange(SIZE)
    bar = (columns - (4 + 24 * joints[:, :1])).abs() < 3  # (N, W)
    classes = torch.zeros(count, SIZE, SIZE, dtype=torch.uint8)
    for colour in range(3):
        classes[:, 20:26, 4 + 9 * colour : 10 + 9 * colour] = 2 + colour
    classes[:, :16] = bar[:, None].to(torch.uint8)
    palette = torch.tensor([[120, 120, 120], [255, 255, 255], [200, 30, 30], [30, 180, 40], [30, 60, 210]])
    image = palette[classes.long()].permute(0, 3, 1, 2).to(torch.uint8)
    mask, pairs = (classes > 0).to(torch.uint8), torch.arange(count).view(-1, 2)
    blocks = torch.rand(count, 3, 3, generator=generator)
    return EncoderViews(image, image, mask, mask, image, classes, joints, blocks, pairs, torch.arange(count) // 2)


def fill(images: Tensor, masks: Tensor) -> Tensor:
    """A plain random background."""
    colour = torch.randint(0, 256, (len(images), 3, 1, 1), dtype=torch.uint8)
    return torch.where(masks.unsqueeze(1), images, colour)


def networks() -> tuple[SmallViT, LatentDecoder]:
    torch.manual_seed(0)
    vision = SmallViT(SmallViTConfig(image_size=SIZE, stem=(16, 32), width=32, depth=1, heads=2, channels=4))
    return vision, LatentDecoder(DecoderConfig(channels=4, image_size=SIZE, width=24))


def test_a_short_training_buys_invariance_and_pictures(tmp_path: Path) -> None:
    views = scenes()
    vision, decoder = networks()
    cfg = LoopConfig(steps=60, batch_size=32, learning_rate=3e-3, warmup_steps=5, log_every=30, checkpoint_every=60)
    before = EncoderTask(vision, decoder, views).train().losses(views, torch.arange(64), fill, EncoderObjective())
    vision, decoder = train_encoder(views, fill, cfg, tmp_path, RunLogger(tmp_path), vision, decoder)
    after = EncoderTask(vision, decoder, views).train().losses(views, torch.arange(64), fill, EncoderObjective())
    assert after["invariance"] < 0.5 * before["invariance"]
    assert after["picture"] < 0.7 * before["picture"]
    assert not any(p.requires_grad for p in [*vision.parameters(), *decoder.parameters()])
    assert invariance(vision.eval(), views, fill)["ratio"] < 0.7


def test_invariance_is_zero_for_one_picture_seen_twice_and_blocks_out_of_sight_do_not_count() -> None:
    views = scenes(32)
    task = EncoderTask(*networks(), views).eval()
    same = task.losses(views, torch.arange(32), lambda images, masks: images, EncoderObjective())
    assert same["invariance"] == 0
    views.classes[:] = 0
    assert task.losses(views, torch.arange(32), fill, EncoderObjective())["blocks"] == 0
