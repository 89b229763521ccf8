"""A policy's sight: the network that tells joints from latents, by which a robot doubts its cameras (``deploy.sight``).

It is fitted to the run's own demonstrations, or for weights without a run to episodes that they play on MuJoCo.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from argos_sim.controller.alignment import Posture, learn_posture
from argos_sim.controller.network import load_controller
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.sight_settings import SightSettings
from argos_sim.mujoco_c.loop import Loop
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.planner import load_cache
from argos_sim.pipeline.play import Weights
from argos_sim.pipeline.recorded import in_torch
from argos_sim.pipeline.settings import Settings
from argos_sim.traced import Traced, traced_sight
from argos_wm.encoders.state import StateEncoder
from argos_wm.planner import Planner

SQUEEZED = 16
"""Channels of a patch, at most, that the posture is told from: a ViT-L's 1,024 would make it larger than the rest."""
STEPS, FRAMES = 1500, 8192
"""Of fitting, and pictures that it is fitted to, at most; ..."""
MOST_NUMBERS = 2**29
"""... fewer where their latents would be more numbers than this."""
KEPT_SHARE, COMPARED = 1 / 3, 256
"""Of the episodes, those that judge; and latents on which its export is compared with torch."""
ARMS = 96
"""On MuJoCo at a time."""


class Sight(nn.Module):
    """Latents (M, P, C) → joint angles (M, J) [rad]; patches are squeezed alike."""

    def __init__(self, patches: int, channels: int, joints: int) -> None:
        super().__init__()
        size = min(channels, SQUEEZED)
        self.squeeze = nn.Linear(channels, size)
        self.posture = Posture(patches * size, joints)

    def forward(self, vision: Tensor) -> Tensor:
        """See the class."""
        return self.posture(self.squeeze(vision))


def sight_of(settings: Settings, weights: Weights, own: bool, manifest: PolicyManifest) -> tuple[Traced, SightSettings]:
    """The network, and what it knows; ``own`` says that the run has demonstrations.

    Args:
        manifest: of the export, as far as it is known.
    """
    torch.manual_seed(settings.seed)
    vision, angles, episode = _from_demonstrations(settings) if own else _from_mujoco(settings, weights, manifest)
    kept = episode < max(1, round(KEPT_SHARE * (int(episode.max()) + 1)))
    sight = Sight(vision.shape[1], vision.shape[2], angles.shape[1])
    learn_posture(sight, sight.posture, (vision[~kept], angles[~kept]), (vision[kept], angles[kept]), STEPS)
    posture = sight.posture
    numbers = (tuple(values.tolist()) for values in (posture.centre, posture.scale, posture.error))
    return traced_sight(sight, vision[:COMPARED].float()), SightSettings(*numbers)


def _from_demonstrations(settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, angles, and which episode they are of, counted in random order."""
    cache = load_cache(settings)
    count = min(FRAMES, MOST_NUMBERS // (cache.spec.patches * cache.spec.channels))
    frames = torch.randperm(len(cache.time))[:count].sort().values
    return cache.vision[frames], cache.positions[frames], torch.randperm(len(cache))[cache.episode_of[frames]]


def _from_mujoco(settings: Settings, weights: Weights, manifest: PolicyManifest) -> tuple[Tensor, Tensor, Tensor]:
    """The same of ``export.sight_episodes`` episodes that the weights play, randomized as in training."""
    encoder = StateEncoder.load(weights.encoder)
    planner = Planner.load(weights.planner, settings.controller.sampling)
    controller = load_controller(weights.controller, encoder.spec, f"the encoder {weights.encoder}")
    policy, moving = in_torch(manifest, encoder, planner, controller)
    world, episodes = World.of(environment_cfg(settings, 1)), settings.export.sight_episodes
    # Of larger latents fewer episodes: every picture of theirs is kept.
    pictures = world.plans * world.rates.frames_per_plan + 1
    episodes = min(episodes, max(2, MOST_NUMBERS // (encoder.spec.patches * encoder.spec.channels * pictures)))
    loop = Loop(world, settings.ranges("train"), policy, min(ARMS, episodes), seed=settings.seed)
    seen, read, joints, look = list[np.ndarray](), list[np.ndarray](), len(world.joint_names), loop.senses.look

    def watched() -> None:
        look()
        seen.append(loop.senses.vision)
        read.append(loop.arms.joints()[:, :joints])

    loop.senses.look = watched
    loop.run(moving, episodes, "seen for the export's sight")
    arms, batches = len(loop.arms), -(-episodes // len(loop.arms))
    batch = torch.arange(len(seen)) // (len(seen) // batches)
    episode = batch[:, None] * arms + torch.arange(arms)
    vision, angles = (torch.from_numpy(np.stack(part)) for part in (seen, read))
    return vision.flatten(0, 1), angles.float().flatten(0, 1), episode.flatten()
