"""Training of the small vision encoder: a randomized picture is mapped to the canonical scene behind it.

Two views of one state, before different backgrounds, in different light, from cameras moved a little, are pulled
together, while everything that simulation knows of the state is asked of the latents: the canonical picture, the
class of each pixel, the joints, the places of the blocks. The latents are batch-normalised, so the invariance loss is
the very figure that is reported, and noise is added before the decoders, so only well-carried channels are of use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from argos_wm.data.views import Augment, EncoderViews, seen_blocks
from argos_wm.decoder import CLASSES, LatentDecoder
from argos_wm.encoders.vision import SmallViT
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, LoopConfig, fit


@dataclass(frozen=True)
class EncoderObjective:
    """Weights of the objective. Every term is about 1 for an encoder that has learned nothing."""

    invariance: float = 4.0
    picture: float = 1.0
    segmentation: float = 1.0
    joints: float = 1.0
    blocks: float = 1.0
    decorrelation: float = 0.5
    """Mean squared correlation of two channels, times √(P·C): keeps one strong cue from filling all channels."""
    latent_noise: float = 0.3
    """Standard deviation of the noise on latents before every decoder, in standardised units."""
    foreground: float = 5.0
    """Weight of a foreground pixel's colour, the background's being 1: blocks are small."""
    block_pixels: float = 4.0
    """Weight of a block's pixel in the segmentation, the others' being 1."""


class EncoderTask(nn.Module):
    """The encoder with all that it is trained through: decoder and linear heads. Only the encoder and decoder stay."""

    joint_mean: Tensor
    joint_std: Tensor
    block_mean: Tensor
    block_std: Tensor

    def __init__(self, vision: SmallViT, decoder: LatentDecoder, views: EncoderViews) -> None:
        super().__init__()
        self.vision, self.decoder = vision, decoder
        size = vision.rows * vision.cols * vision.channels
        self.joint_head = nn.Linear(size, views.joints.shape[1])
        self.block_head = nn.Linear(size, 6)
        blocks = views.blocks[..., :2].flatten(1)
        self.register_buffer("joint_mean", views.joints.mean(0))
        self.register_buffer("joint_std", views.joints.std(0).clamp_min(0.02))
        self.register_buffer("block_mean", blocks.mean(0))
        self.register_buffer("block_std", blocks.std(0).clamp_min(0.005))

    def losses(
        self, views: EncoderViews, ids: Tensor, augment: Augment, weights: EncoderObjective
    ) -> dict[str, Tensor]:
        """The objective and its terms on the states ``ids (B,)``."""
        first = augment(views.image_a[ids], views.mask_a[ids].bool())
        second = augment(views.image_b[ids], views.mask_b[ids].bool())
        latents = self.vision(torch.cat([first, second]))  # (2B, P, C)
        z_a, z_b = latents.chunk(2)
        noisy = z_a + weights.latent_noise * torch.randn_like(z_a)
        picture, classes = self.decoder.draw(noisy)
        terms = {
            "invariance": 0.5 * (z_a - z_b).square().mean(),
            "picture": _picture_loss(picture, views.canonical[ids], views.classes[ids], weights),
            "segmentation": _segmentation_loss(classes, views.classes[ids], weights),
            "joints": F.mse_loss(
                self.joint_head(noisy.flatten(1)), (views.joints[ids] - self.joint_mean) / self.joint_std
            ),
            "blocks": self._block_loss(noisy, views.blocks[ids], views.classes[ids]),
            "decorrelation": _decorrelation(latents.flatten(1)),
        }
        loss = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return {"loss": loss, **terms}

    def _block_loss(self, latents: Tensor, blocks: Tensor, classes: Tensor) -> Tensor:
        target = (blocks[..., :2].flatten(1) - self.block_mean) / self.block_std
        seen = seen_blocks(classes)
        error = (self.block_head(latents.flatten(1)) - target).square().unflatten(1, (3, 2)).mean(2)
        return (error * seen).sum() / seen.sum().clamp_min(1)


def _picture_loss(picture: Tensor, canonical: Tensor, classes: Tensor, weights: EncoderObjective) -> Tensor:
    """Weighted squared error of the canonical picture ÷ 0.03, about what a grey picture would have."""
    weight = 1.0 + (weights.foreground - 1.0) * (classes > 0).unsqueeze(1)
    error = (picture - canonical.float() / 255.0).square()
    return (weight * error).sum() / (3.0 * weight.sum()) / 0.03


def _segmentation_loss(logits: Tensor, classes: Tensor, weights: EncoderObjective) -> Tensor:
    """Weighted cross-entropy of the pixels' classes."""
    weight = torch.tensor([1.0, 1.0] + [weights.block_pixels] * (len(CLASSES) - 2), device=logits.device)
    return F.cross_entropy(logits, classes.long(), weight)


def _decorrelation(latents: Tensor) -> Tensor:
    """Mean squared correlation of different channels of ``latents (N, F)``, times √F; they are normalised already."""
    count, size = latents.shape
    correlation = latents.T @ latents / count
    off_diagonal = correlation.square().sum() - correlation.diagonal().square().sum()
    return size**0.5 * off_diagonal / (size * (size - 1))


def train_encoder(
    views: EncoderViews,
    augment: Augment,
    cfg: LoopConfig,
    out_dir: Path,
    logger: RunLogger,
    vision: SmallViT | None = None,
    decoder: LatentDecoder | None = None,
    weights: EncoderObjective | None = None,
) -> tuple[SmallViT, LatentDecoder]:
    """Train the small encoder and its decoder on ``views``; both come back frozen.

    Args:
        views: training states (see ``EncoderViews.split``).
        augment: randomization of a picture behind and over its foreground.
        cfg: ``batch_size`` counts states, each seen twice.
        out_dir: folder of the checkpoint.
    """
    objective = weights or EncoderObjective()
    task = EncoderTask(vision or SmallViT(), decoder or LatentDecoder(), views)

    def loss_fn(_: Forward, step: int) -> dict[str, Tensor]:
        ids = torch.randint(len(views), (cfg.rows,))
        return task.losses(views, ids, augment, objective)

    trained = fit(task, loss_fn, cfg, out_dir, logger, "encoder")
    assert isinstance(trained, EncoderTask)
    trained.requires_grad_(False).eval()
    return trained.vision, trained.decoder
