"""Whether a training fits: the planner's and PPO's bytes on each GPU, worked out on any machine beforehand."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import RECORD
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.text import load_text_encoder
from argos_wm.encoders.vision import SmallViTConfig
from argos_wm.latents import LatentSpec
from argos_wm.training.footprint import Footprint, footprint

DINOV3 = {
    "vits16": (384, 12, 6),  # and vits16plus
    "vitb16": (768, 12, 12),
    "vitl16": (1024, 24, 16),
    "vith16": (1280, 32, 20),
    "vit7b16": (4096, 40, 32),
}
"""Channels, layers and heads by what a hub id holds; patches are of 16 pixels (arXiv 2508.10104)."""
FLOAT, HALF = 4, 2
"""Bytes of a number; what is kept for long is kept in half precision on a GPU."""
GIB = 2**30
LONG = "a caption of very many words " * 20
"""Encoders cut it to the most words that they read."""


def latent_spec(settings: Settings) -> LatentSpec:
    """Of the run's encoder, or of the one that its settings name, as far as shapes go.

    Raises:
        ValueError: neither is known.
    """
    if (settings.folder / "encoder" / RECORD).is_file():
        return load_encoder(settings).spec
    if settings.encoder.folder is not None:
        return StateEncoder.load(Path(settings.encoder.folder)).spec
    cfg, joints = settings.encoder, tuple(environment_cfg(settings, 1).joint_names)
    if cfg.vision == "small-vit":
        small = SmallViTConfig(image_size=cfg.image_size)
        side, channels = small.image_size // small.patch, small.channels
    else:
        side, channels = cfg.image_size // 16, _dinov3(cfg.vision)[0] * (2 if cfg.keep_cls else 1)
    return LatentSpec(cfg.vision, "", side, side, channels, cfg.proprio_channels(len(joints)), joints, "")


def dinov3_config(hub_id: str) -> Any:
    """A transformers configuration of the DINOv3 of this name, to make one with random weights."""
    from transformers import DINOv3ViTConfig

    channels, layers, heads = _dinov3(hub_id)
    gated = "plus" in hub_id or channels == 4096  # SwiGLU
    return DINOv3ViTConfig(
        hidden_size=channels,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * channels if channels == 4096 else 4 * channels,
        hidden_act="silu" if gated else "gelu",
        use_gated_mlp=gated,
        num_register_tokens=4,
    )


def _dinov3(hub_id: str) -> tuple[int, int, int]:
    known = [sizes for name, sizes in DINOV3.items() if name in hub_id]
    if not known:
        raise ValueError(f"The channels of {hub_id} are not known; run scripts/train_encoder.py first.")
    return known[0]


def planner_footprint(settings: Settings) -> Footprint:
    """Print and return what each of ``planner.loop.micro_batches`` processes needs to train the run's planner."""
    cfg, spec = settings.planner, latent_spec(settings)
    text = load_text_encoder(cfg.text_encoder)
    words, processes = text([LONG]).mask.shape[1], cfg.loop.micro_batches
    goals = cfg.windows.goal_share > 0
    found = footprint(cfg.model, spec, text.dim, words, len(spec.joint_names), cfg.loop, processes, goals)
    size, rows = f"{found.parameters / 1e6:.0f} M parameters", cfg.loop.rows
    print(f"  {size}, {spec.patches} patches of {spec.channels}; {rows} rows on each of {processes} process(es)")
    for name, value in vars(found).items():
        if name != "parameters":
            print(f"  {name:12} {value / GIB:7.2f} GiB")
    print(f"  {'total':12} {found.total / GIB:7.2f} GiB")
    return found


@dataclass(frozen=True)
class PPOFootprint:
    """Bytes of latents and activations in one process of PPO, worked out from their shapes, not measured; physics,
    renderer and the networks come on top."""

    rollouts: int
    """Every latent and every target of an iteration, once."""
    history: int
    """Past frames, for the planner."""
    present: int
    """What is sensed and wanted now, as observed before and after a step, and as it was last kept."""
    learning: int
    """A minibatch's latents, and what the policy keeps of them for the backward pass: some six tensors (rows, P, W)."""

    @property
    def total(self) -> int:
        return self.rollouts + self.history + self.present + self.learning


def ppo_footprint(settings: Settings) -> PPOFootprint:
    """Print and return what PPO needs if one process has all of ``controller.ppo.num_envs``."""
    cfg, spec, env = settings.controller.ppo, latent_spec(settings), environment_cfg(settings, 1)
    rates, envs = env.rates, cfg.num_envs
    latents = envs * spec.patches * spec.channels
    frames, targets = cfg.steps / rates.control_per_frame + 1, cfg.steps / rates.control_per_plan + 1
    rows = envs * cfg.steps // cfg.minibatches
    found = PPOFootprint(
        rollouts=round((frames + targets) * latents * HALF),
        history=(round(env.perception.history_s * rates.camera_hz) + 1) * latents * HALF,
        present=2 * latents * (3 * FLOAT + HALF),
        learning=FLOAT * rows * spec.patches * (2 * spec.channels + 6 * settings.controller.attention_width),
    )
    print(f"  PPO of {envs} environments in one process, {rows} samples in a minibatch")
    for name, value in (*asdict(found).items(), ("total", found.total)):
        print(f"  {name:12} {value / GIB:7.2f} GiB")
    return found
