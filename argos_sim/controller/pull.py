"""What keeps PPO near the policy that it began as."""

from __future__ import annotations

import torch
from rsl_rl.storage import RolloutStorage
from torch import Tensor
from torch.nn import functional as F

from argos_sim.controller.actor import ControllerModel
from argos_sim.controller.network import PROPRIO, TARGET_VISION, VISION, Controller


class ImitationPull:
    """The squared distance of the actor's mean to the imitated action, as rsl_rl's auxiliary actor loss.

    rsl_rl's PPO has one place for a further loss on the actor, made for mirror symmetry; this fills that place.
    """

    use_mirror_loss = True

    def __init__(self, prior: Controller, weight: float, scale: float) -> None:
        self.prior, self.mirror_loss_coeff, self.scale = prior.eval().requires_grad_(False), weight, scale

    def augment_batch(self, batch: RolloutStorage.Batch, original_batch_size: int) -> None:
        """Nothing is mirrored."""

    def compute_loss(self, actor: ControllerModel, batch: RolloutStorage.Batch, original_batch_size: int) -> Tensor:
        """Mean over the batch and the joints of ((action − imitated action) / scale)²."""
        obs, cfg = batch.observations, self.prior.cfg
        assert obs is not None
        shape = (cfg.patches, cfg.channels)
        with torch.no_grad():
            imitated = self.prior.action(
                obs[VISION].unflatten(-1, shape), obs[TARGET_VISION].unflatten(-1, shape), *cfg.split(obs[PROPRIO])
            )
        return F.mse_loss(actor.output_mean / self.scale, imitated / self.scale)
