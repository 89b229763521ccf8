"""Training of the proprioception autoencoder: exact where the robot has been and beyond, and robust to noise."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from argos_wm.encoders.proprio import ProprioEncoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, LoopConfig, fit

LATENT_NOISE = 0.1
"""Standard deviation of the noise on latents: about the error of a planner that is worth following."""


def train_proprio(
    encoder: ProprioEncoder, raw: Tensor, cfg: LoopConfig, out_dir: Path, logger: RunLogger
) -> ProprioEncoder:
    """Train ``encoder`` on ``raw`` proprioception (N, 2J) and return it frozen.

    Half of each batch is data; half is spread twice as wide, so that the pair stays exact where a disturbed robot
    ends up. The noisy term is small against the exact one: it decides only what exactness leaves open.
    """
    encoder.set_scale(raw)

    def loss_fn(_: Forward, step: int) -> dict[str, Tensor]:
        data = raw[torch.randint(len(raw), (cfg.rows // 2,))]
        wide = encoder.centre + 2.0 * encoder.scale * torch.randn(cfg.rows // 2, 2 * encoder.joints)
        batch = torch.cat([data, wide])
        latent = encoder.encode(batch)
        exact = ((encoder.decode(latent) - batch) / encoder.scale).square().mean()
        noisy = encoder.decode(latent + LATENT_NOISE * torch.randn_like(latent))
        robust = ((noisy - batch) / encoder.scale).square().mean()
        # Without a bound on the latents the cheapest defence against noise is to make them large.
        spread = (latent[: len(data)].square().mean() - 1.0).square()
        return {"loss": 100.0 * exact + robust + spread, "exact": exact, "robust": robust}

    trained = fit(encoder, loss_fn, cfg, out_dir, logger, "proprio")
    assert isinstance(trained, ProprioEncoder)
    return trained.requires_grad_(False).eval()
