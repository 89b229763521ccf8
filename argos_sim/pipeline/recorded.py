"""What a policy met: data on which its export must agree with torch.

From the run's own demonstrations, or, for weights without a run such as the shipped ones, from episodes that they play
on MuJoCo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from argos_sim.configs import ImitationConfig
from argos_sim.controller.imitation import ImitationData
from argos_sim.controller.network import INPUTS, Controller
from argos_sim.mujoco_c.loop import Loop
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.planner import load_cache
from argos_sim.pipeline.settings import Settings
from argos_wm.encoders.state import StateEncoder
from argos_wm.latents import LatentState
from argos_wm.planner import Planner
from argos_wm.training.encoder import EncoderViews

OBSERVATIONS, SEEN = 1000, 256
"""Observations of the controller, and pictures and moments of the other parts."""
ARMS = 8


@dataclass
class Recorded:
    """Inputs of all parts of a policy.

    Attributes:
        observations: of the controller by their names, (M, …).
        images: (K, 3, S, S) uint8, or (K, V, 3, S, S).
        joints: (K, 2J) positions and speeds [rad, rad/s].
        history: (K, S, …), and which of its states are ``known`` (K, S).
        texts: K instructions.
        horizon: (K,) [s].
    """

    observations: dict[str, Tensor]
    images: Tensor
    joints: Tensor
    history: LatentState
    known: Tensor
    texts: list[str]
    horizon: Tensor


def from_demonstrations(
    settings: Settings, encoder: StateEncoder, planner: Planner, controller: Controller
) -> Recorded:
    """The run's own, drawn by torch's default generator; previous actions are random."""
    cache, rates = load_cache(settings), environment_cfg(settings, 1).rates
    data = ImitationData(cache, controller, encoder.encode_proprio, rates.frames_per_plan, ImitationConfig())
    inputs, _ = data.batch(OBSERVATIONS)
    observations: dict[str, Tensor] = dict(zip(INPUTS, inputs, strict=True))
    observations["last_action"] = 2 * torch.rand_like(observations["last_action"]) - 1
    images = EncoderViews.load(settings.folder / "views" / "views.safetensors").image_a[:SEEN]
    frames = torch.randint(len(cache.time), (len(images),))
    frames = torch.minimum(frames, cache.end(frames) - 1)
    model = planner.world_model
    windows = cache.windows(frames, torch.ones_like(frames), model.config.history, model.config.action_steps)
    return Recorded(
        observations,
        images,
        encoder.decode_proprio(cache.proprio[frames].float()),
        windows.history,
        windows.history_mask,
        [cache.instructions[i] for i in windows.episode.tolist()],
        torch.empty(len(frames)).uniform_(0.1, rates.planner_period_s),
    )


class _Watched:
    """A controller in torch that moves arms of MuJoCo's loop, and remembers what it was shown."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.seen: dict[str, list[Tensor]] = {name: [] for name in INPUTS}
        self.images: list[Tensor] = []
        self.joints: list[Tensor] = []
        self.moments: list[tuple[LatentState, Tensor, list[str], float]] = []

    def reset(self) -> None:
        """See ``mujoco_c.loop.Drive``."""
        self.last: Tensor | None = None

    @torch.no_grad()
    def torques(self, loop: Loop) -> np.ndarray:
        """See ``mujoco_c.loop.Drive``."""
        now, target, past = loop.senses, loop.target, self.controller.cfg.history
        if self.last is None:
            self.last = torch.zeros(len(loop.arms), self.controller.cfg.joints)
            self.history = now.proprio[:, None].expand(-1, past + 1, -1)
        self.history = torch.cat([self.history[:, 1:], now.proprio[:, None]], 1)
        to_go = torch.full((len(loop.arms), 1), loop.time_to_go)
        inputs = (now.vision, target.vision, self.history, target.proprio, self.last, to_go)
        torque = self.controller(*inputs)
        for name, value in zip(INPUTS, inputs, strict=True):
            self.seen[name].append(value.clone())
        self.images.append(now.images.clone())
        self.joints.append(torch.from_numpy(loop.arms.joints()).float())
        texts = [loop.arms.world.texts[i] for i in loop.arms.asked]
        self.moments.append((*now.history(loop.offsets), texts, loop.time_to_go))
        self.last = torque / self.controller.torque_limit
        return torque.numpy()


def from_mujoco(settings: Settings, encoder: StateEncoder, planner: Planner, controller: Controller) -> Recorded:
    """Of an episode of ``ARMS`` arms that the policy plays."""
    world = World.of(environment_cfg(settings, 1))
    loop = Loop(world, settings.ranges("nominal"), encoder, planner, ARMS, seed=settings.seed)
    watched = _Watched(controller)
    loop.run(watched, ARMS, "recorded for the export")
    every = {name: torch.cat(values) for name, values in watched.seen.items()}
    chosen = torch.randperm(len(every["time_to_go"]))[:OBSERVATIONS]
    few = torch.randperm(len(chosen))[:SEEN]
    history = LatentState.cat([moment[0] for moment in watched.moments])
    texts = [text for moment in watched.moments for text in moment[2]]
    return Recorded(
        {name: value[chosen] for name, value in every.items()},
        torch.cat(watched.images)[few],
        torch.cat(watched.joints)[few],
        history[few],
        torch.cat([moment[1] for moment in watched.moments])[few],
        [texts[i] for i in few.tolist()],
        torch.cat([torch.full((ARMS,), moment[3]) for moment in watched.moments])[few].clamp_min(0.1),
    )
