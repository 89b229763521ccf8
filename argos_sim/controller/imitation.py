"""Imitation: the controller learns the expert's torques, its targets taken from each demonstration's own future."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from argos_sim.configs import ImitationConfig
from argos_sim.controller.network import Controller
from argos_wm.data.latent_cache import LatentCache
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, fit


class ImitationData:
    """Draws (what the controller senses, what the expert did) from encoded demonstrations.

    Args:
        cache: encoded demonstrations.
        encode_proprio: raw (…, 2J) → standardised latents (…, D).
        period_frames: camera frames of one planner period; a target lies at most so far ahead.
    """

    def __init__(
        self,
        cache: LatentCache,
        controller: Controller,
        encode_proprio: Callable[[Tensor], Tensor],
        period_frames: int,
        cfg: ImitationConfig,
    ) -> None:
        self.cfg, self.history, self.period = cfg, controller.cfg.history, period_frames
        if cache.control_state is None or cache.control_action is None:
            raise ValueError("These demonstrations hold no states and torques between their frames to imitate.")
        frames, self.rate, _ = cache.control_state.shape
        self.proprio = encode_proprio(cache.control_state.flatten(0, 1))  # (F R, D)
        self.action = (cache.control_action.flatten(0, 1) / controller.torque_limit.cpu()).clamp(-1, 1)
        self.vision = cache.vision
        every = torch.arange(frames)
        self.first, self.last = cache.starts[cache.episode_of], cache.end(every)
        # The last frame of an episode has no future to be a target.
        self.usable = (every < self.last).nonzero().squeeze(-1)
        self.control_dt = 1.0 / (cache.fps * self.rate)

    def batch(self, size: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """``size`` random (inputs of the controller, action (size, J) in shares of the limits)."""
        cfg = self.cfg
        frame = self.usable[torch.randint(len(self.usable), (size,))]
        step = torch.randint(self.rate, (size,))
        ahead = 1 + (torch.rand(size) * torch.minimum(self.last[frame] - frame, torch.tensor(self.period))).long()
        target = frame + ahead
        now = frame * self.rate + step
        past = torch.arange(-self.history, 1)
        index = torch.maximum(now[:, None] + past, (self.first[frame] * self.rate)[:, None])
        target_vision = self.vision[target].float()
        target_proprio = self.proprio[target * self.rate]
        inputs = (
            _noisy(self.vision[frame].float(), cfg.vision_noise),
            _noisy(target_vision, cfg.target_vision_noise),
            self.proprio[index],
            _noisy(target_proprio, cfg.target_proprio_noise),
            torch.zeros(size, self.action.shape[1]),
            (ahead * self.rate - step)[:, None] * self.control_dt,
        )
        return inputs, self.action[now]


def _noisy(x: Tensor, std: float) -> Tensor:
    return x + std * torch.randn_like(x)


def torque_loss(controller: Controller, inputs: tuple[Tensor, ...], action: Tensor) -> dict[str, Tensor]:
    """The loss of ``action (B, J)`` done otherwise, and its RMS in N·m."""
    error = controller.action(*inputs) - action
    torque_rms = (error * controller.torque_limit).square().mean().sqrt()
    return {"loss": F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1) * 10, "torque_rms_nm": torque_rms}


def imitate(
    controller: Controller, data: ImitationData, cfg: ImitationConfig, out_dir: Path, logger: RunLogger
) -> Controller:
    """Train ``controller`` on ``data``; returns the averaged weights."""
    device = controller.torque_limit.device

    def loss(_: Forward, step: int) -> dict[str, Tensor]:
        inputs, action = data.batch(cfg.loop.rows)
        return torque_loss(controller, tuple(x.to(device) for x in inputs), action.to(device))

    trained = fit(controller, loss, cfg.loop, out_dir, logger, "imitation")
    assert isinstance(trained, Controller)
    return trained
