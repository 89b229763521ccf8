"""Proprioception encoder: joint positions and velocities to a latent of D channels, and back.

Encoder and decoder are a linear map plus an MLP. The linear maps start as an isometry and its transpose, and the MLPs
at zero, so the pair is exact before any training. Training (``fit_proprio``) asks for robustness too: the planner's
latents are never exact, and the decoder must not magnify their error.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

VELOCITY_SCALE = 1.5
"""Joint speed [rad/s] that counts as one unit until ``set_scale`` has seen data: a brisk motion of an SO-100."""


class ProprioEncoder(nn.Module):
    """Autoencoder of raw proprioception (…, 2J): positions [rad], then velocities [rad/s].

    Attributes:
        centre, scale: (2J,) buffers; the networks see ``(raw - centre) / scale``.
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        joints: int,
        dim: int,
        hidden: int = 64,
        limits: Tensor | None = None,
        velocity_scale: float = VELOCITY_SCALE,
    ) -> None:
        """
        Args:
            joints: J.
            dim: D ≥ 2J; the latent keeps everything.
            hidden: width of the MLPs.
            limits: (J, 2) lower and upper joint limits [rad]; ±π when not given.
            velocity_scale: speed [rad/s] that counts as one unit.
        """
        super().__init__()
        if dim < 2 * joints:
            raise ValueError(
                f"The proprioceptive latent has dim {dim}, and {joints} joints need at least {2 * joints}."
            )
        self.joints, self.dim, self.hidden = joints, dim, hidden
        limits = torch.tensor([[-torch.pi, torch.pi]]).repeat(joints, 1) if limits is None else limits.float().cpu()
        # A uniform position within the limits gets unit variance.
        spread = (limits[:, 1] - limits[:, 0]) / 12**0.5
        self.register_buffer("centre", torch.cat([limits.mean(1), torch.zeros(joints)]))
        self.register_buffer("scale", torch.cat([spread, torch.full((joints,), float(velocity_scale))]))
        self.lift = nn.Linear(2 * joints, dim)
        self.drop = nn.Linear(dim, 2 * joints)
        self.encoder_mlp = _mlp(2 * joints, hidden, dim)
        self.decoder_mlp = _mlp(dim, hidden, 2 * joints)
        _start_as_isometry(self.lift, self.drop)

    @torch.no_grad()
    def set_scale(self, raw: Tensor) -> None:
        """Take centre and scale from data (N, 2J): per joint, but never below a tenth of what the limits gave."""
        flat = raw.float().reshape(-1, 2 * self.joints)
        self.centre.copy_(flat.mean(0))
        self.scale.copy_(torch.maximum(flat.std(0), 0.1 * self.scale))

    def encode(self, raw: Tensor) -> Tensor:
        """(…, 2J) to (…, D)."""
        x = (raw - self.centre) / self.scale
        return self.lift(x) + self.encoder_mlp(x)

    def decode(self, latent: Tensor) -> Tensor:
        """(…, D) to (…, 2J)."""
        return (self.drop(latent) + self.decoder_mlp(latent)) * self.scale + self.centre

    def settings(self) -> dict[str, Any]:
        """What the constructor needs to make this encoder again, weights and buffers aside; JSON."""
        return {"joints": self.joints, "dim": self.dim, "hidden": self.hidden}


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """One hidden layer, zero at the start."""
    network = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))
    last = network[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return network


@torch.no_grad()
def _start_as_isometry(lift: nn.Linear, drop: nn.Linear) -> None:
    """``lift`` keeps lengths up to a factor that gives unit variance; ``drop`` is its exact inverse on the image."""
    nn.init.orthogonal_(lift.weight)
    gain = (lift.out_features / lift.in_features) ** 0.5
    drop.weight.copy_(lift.weight.T / gain)
    lift.weight.mul_(gain)
    nn.init.zeros_(lift.bias)
    nn.init.zeros_(drop.bias)
