"""Whether a training fits: the planner's bytes on each GPU, worked out on any machine before one is rented."""

from __future__ import annotations

from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import RECORD
from argos_wm.encoders.text import load_text_encoder
from argos_wm.encoders.vision import SmallViTConfig
from argos_wm.latents import LatentSpec
from argos_wm.training.footprint import Footprint, footprint

DINOV3 = {"vits16": 384, "vitb16": 768, "vitl16": 1024, "vith16": 1280, "vit7b16": 4096}
"""Channels by what a hub id holds; patches are of 16 pixels."""
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
    cfg, joints = settings.encoder, tuple(environment_cfg(settings, 1).joint_names)
    if cfg.vision == "small-vit":
        small = SmallViTConfig(image_size=cfg.image_size)
        side, channels = small.image_size // small.patch, small.channels
    else:
        known = [width for name, width in DINOV3.items() if name in cfg.vision]
        if not known:
            raise ValueError(f"The channels of {cfg.vision} are not known; run scripts/train_encoder.py first.")
        side, channels = cfg.image_size // 16, known[0] * (2 if cfg.keep_cls else 1)
    return LatentSpec(cfg.vision, "", side, side, channels, cfg.proprio_dim, joints, "")


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
