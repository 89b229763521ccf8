"""Look: contact sheets of randomized environments, to see what is trained on before anything is."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.pipeline.environment import Scenes, environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import PRESETS
from argos_sim.viewing.stills import contact_sheet

ENVIRONMENTS = 64
TITLES = {
    "nominal": "nominal: the scene as modelled",
    "train": "train: what is trained on",
    "unseen": "unseen: background families and ranges never trained on",
    "complete": "complete: every axis there is",
}


def look(settings: Settings) -> list[Path]:
    """Write ``<run>/look/<randomization>.png``, the first frame of 64 environments, for each randomization preset."""
    folder = settings.folder / "look"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    presets = {name: settings.ranges(name) for name in PRESETS}
    with Scenes(environment_cfg(settings, ENVIRONMENTS), presets.values()) as scenes:
        for name, ranges in tqdm(presets.items(), desc="looking"):
            env = scenes.having(ranges)
            env.set_ranges(ranges)
            paths.append(folder / f"{name}.png")
            contact_sheet(first_frames(env), TITLES.get(name, name)).save(paths[-1], optimize=True)
    for path in paths:
        print(f"[look] {path}")
    return paths


def first_frames(env: LatentTrackingEnv) -> Tensor:
    """What every environment's camera sees after a reset, uint8 (N, 3, H, W)."""
    env.reset()
    perception = env.perception
    # An environment without latents renders when it is asked to, not by itself.
    perception.look(env.common_step_counter, torch.zeros_like(env.episode_length_buf))
    return perception.images.cpu()
