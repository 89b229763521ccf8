"""A toy world of latents for the planner's tests: the instruction picks one of two goals that vision shows."""

from __future__ import annotations

import torch

from argos_wm.data.latent_cache import LatentCache
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.latents import LatentSpec
from argos_wm.world_model import WorldModel, WorldModelConfig

SPEC = LatentSpec("toy", "0", 2, 2, 3, 4, ("pan", "lift"), "0")
SMALL = WorldModelConfig(width=32, depth=2, context_depth=1, heads=2, precision="fp32", action_steps=2)
GROUPS = {"touch red": "red", "go to red": "red", "touch blue": "blue"}


def toy_cache(episodes: int = 12, frames: int = 31, fps: float = 10.0) -> LatentCache:
    """Proprioception moves in a straight line from rest to the goal that the instruction names."""
    generator = torch.Generator().manual_seed(0)
    goals = torch.randn(episodes, 2, 4, generator=generator)
    texts = [list(GROUPS)[i % 3] for i in range(episodes)]
    named = torch.tensor([GROUPS[text] == "blue" for text in texts]).long()
    time = torch.arange(frames) / fps
    path = goals[torch.arange(episodes), named][:, None] * (time / time[-1])[:, None]
    vision = goals.repeat(1, 1, 2).reshape(episodes, 1, 4, 4)[..., :3].expand(-1, frames, -1, -1).clone()
    vision[:, :, 0, 0] += path[..., 0]
    total = episodes * frames
    return LatentCache(
        spec=SPEC,
        fps=fps,
        instructions=texts,
        starts=torch.arange(episodes + 1) * frames,
        vision=vision.reshape(total, 4, 3).half(),
        proprio=path.reshape(total, 4),
        positions=path.reshape(total, 4)[:, :2],
        actions=torch.arange(total)[:, None].repeat(1, 2) / 100.0,
        time=time.repeat(episodes),
        control_state=torch.zeros(total, 5, 4),
        control_action=torch.zeros(total, 5, 2),
    )


def toy_model(config: WorldModelConfig = SMALL, scramble: bool = True) -> WorldModel:
    """A small world model; ``scramble`` moves it away from the initialisation at which everything is the identity."""
    torch.manual_seed(0)
    model = WorldModel(config, SPEC, HashedNGramEncoder().dim, 2)
    if scramble:
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()
