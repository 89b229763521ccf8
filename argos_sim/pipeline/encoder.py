"""Stage ``encoder``: the frozen senses, measured before anything is trained on them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from argos_sim.pipeline.collect import collect_views
from argos_sim.pipeline.environment import environment_cfg, require_fitting_encoder
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import run_stage, weight_files
from argos_sim.randomization.backgrounds import composite, make_background_bank
from argos_sim.randomization.draws import Draws
from argos_sim.randomization.lens import Lens
from argos_sim.randomization.photometrics import PhotometricState
from argos_sim.randomization.ranges import RandomizationRanges, get_ranges
from argos_wm.decoder import LatentDecoder
from argos_wm.encoders.measure import (
    in_batches,
    invariance,
    measure_vision_stats,
    probe_grounding,
    probe_state,
    randomized,
)
from argos_wm.encoders.proprio import ProprioEncoder
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.vision import load_vision_encoder
from argos_wm.image_quality import LPIPS, psnr, ssim
from argos_wm.training.encoder import EncoderViews, train_encoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import deciding
from argos_wm.training.proprio import train_proprio

JOINT_SPEED = 0.3
"""rad/s, standard deviation of the speeds that the proprioceptive autoencoder is trained on."""
HELD_OUT = 0.1
"""Share of the views on which the encoder is measured."""
MOST_PICTURES = 1024
"""Views on which the decoder is measured, at most."""


class Augment:
    """Random background, lens and photometrics of some ranges, drawn by torch's default generator."""

    def __init__(self, ranges: RandomizationRanges, size: int, backgrounds: int = 4096, seed: int = 0) -> None:
        self.ranges, self.draws = ranges, Draws(ranges, 1)
        generator = torch.Generator().manual_seed(seed)
        self.bank = make_background_bank(self.ranges.background_families, backgrounds, size, generator)

    def __call__(self, images: Tensor, masks: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) with foreground (B, H, W) as a randomized camera would see them."""
        behind = self.bank[torch.randint(len(self.bank), (len(images),))]
        seen, generator = composite(images, masks, behind), torch.default_generator
        if any(self.draws.may(name) for name in Lens.RANGES):
            before = self.bank[torch.randint(len(self.bank), (len(images),))]
            seen = Lens.sample(len(images), self.ranges, generator).apply(seen, before)
        return PhotometricState.sample(len(images), self.ranges, generator).apply(seen, generator)


def prepare_encoder(settings: Settings) -> dict[str, Any]:
    """Bring the encoder to ``<run>/encoder``: the given one, one trained here, or a frozen DINO with its statistics."""
    cfg = settings.encoder
    require_fitting_encoder(settings)  # a missing or damaged one is refused before anything is rendered
    lpips = None if cfg.lpips is None else LPIPS(Path(cfg.lpips))
    if lpips is not None and cfg.image_size < LPIPS.SMALLEST:
        raise ValueError(f"LPIPS needs pictures of {LPIPS.SMALLEST} pixels or more; image_size is {cfg.image_size}.")
    views_record = collect_views(settings)
    inputs = {
        "views": views_record["fingerprint"],
        # How the decoder is measured decides nothing that others stand on.
        "encoder": {k: v for k, v in deciding(cfg).items() if k != "lpips"},
        "given": _description(cfg.folder),
        "seed": settings.seed,
    }

    def work(folder: Path) -> dict[str, Any]:
        views = EncoderViews.load(settings.folder / "views" / "views.safetensors")
        train, test = views.split(HELD_OUT) if cfg.folder is None else (views, views)
        if cfg.folder is not None:
            encoder = StateEncoder.load(cfg.folder)
            for file in weight_files(Path(cfg.folder)):
                shutil.copy(file, folder / file.name)
        else:
            encoder = _make_encoder(settings, train, folder)
        figures = measure_encoder(encoder, train, test, cfg.image_size)
        if (folder / "decoder.safetensors").is_file():
            figures |= measure_decoder(encoder, LatentDecoder.load(folder), test, cfg.image_size, lpips=lpips)
        if cfg.folder is None:
            encoder.save(folder, figures)
        print_figures(figures)
        return figures

    record = run_stage(settings.folder / "encoder", "encoder", inputs, work, settings.overwrite)
    if lpips is not None and not any(name.endswith("_lpips") for name in record["figures"]):
        print(
            "  the decoder, if there is one, was measured before LPIPS was asked for; overwrite=true measures it anew"
        )
    return record


def _description(folder: str | None) -> str | None:
    return None if folder is None else (Path(folder) / "encoder.json").read_text()


def _make_encoder(settings: Settings, views: EncoderViews, folder: Path) -> StateEncoder:
    cfg, seed = settings.encoder, settings.seed
    logger = RunLogger(folder, settings.logger, f"{settings.preset}-encoder", settings.to_dict())
    torch.manual_seed(seed)
    limits = torch.stack([views.joints.min(0).values, views.joints.max(0).values], 1)
    joints = views.joints.shape[1]
    env_cfg = environment_cfg(settings, 1)
    unit = torch.tensor([env_cfg.joint_units.get(name, 1.0) for name in env_cfg.joint_names])
    raw = torch.cat([views.joints, JOINT_SPEED * unit * torch.randn_like(views.joints)], -1)
    proprio = ProprioEncoder(joints, cfg.proprio_channels(joints), limits=limits)
    proprio = train_proprio(proprio, raw, cfg.proprio_loop, folder / "proprio", logger)
    if cfg.vision == "small-vit":
        augment = Augment(settings.ranges(), cfg.image_size, seed=seed)
        vision, decoder = train_encoder(views, augment, cfg.loop, folder / "vision", logger)
        decoder.save(folder)
    else:
        vision = load_vision_encoder(cfg.vision, cfg.image_size, cfg.keep_cls)
    logger.close()
    measured = (
        views if len(views) < 4096 else dataclasses.replace(views, image_a=views.image_a[::8], mask_a=views.mask_a[::8])
    )
    augment = Augment(settings.ranges(), cfg.image_size)
    stats = measure_vision_stats(vision, measured, augment, proprio.encode(raw), cfg.statistics == "position")
    return StateEncoder(vision, proprio, stats, env_cfg.joint_names)


def measure_encoder(encoder: StateEncoder, train: EncoderViews, test: EncoderViews, size: int) -> dict[str, float]:
    """Invariance, and where states are held out the probes, under backgrounds that training saw and under others."""
    figures: dict[str, float] = {}
    augment = Augment(get_ranges("train"), size, seed=5)
    others = {name: Augment(get_ranges(name), size, seed=6) for name in ("train", "unseen")}
    held_out = len(test) < len(train)
    for name, other in others.items():
        figures |= {f"invariance_{name}_{k}": v for k, v in invariance(encoder.encode_vision, test, other).items()}
        if held_out:
            probe = probe_state(encoder.encode_vision, train, test, augment, other)
            figures |= {f"probe_{name}_{k}": v for k, v in probe.items()}
    return figures | (_grounding(encoder, train, test, augment, others) if held_out else {})


def measure_decoder(
    encoder: StateEncoder,
    decoder: LatentDecoder,
    test: EncoderViews,
    size: int,
    noise: float = 0.3,
    lpips: LPIPS | None = None,
) -> dict[str, float]:
    """PSNR [dB], SSIM and LPIPS of pictures drawn from latents to the canonical ones, also with noise on the latents.

    ``noise`` is the standard deviation in standardised units: a planner's latents are not exact either.
    """
    views = test.take(torch.arange(0, len(test), max(1, len(test) // MOST_PICTURES)))
    canonical, figures = views.canonical.float() / 255, {}
    for name in ("train", "unseen"):
        augment = Augment(get_ranges(name), size, seed=7)
        latents = in_batches(encoder.encode_vision, randomized(augment, views.image_a, views.mask_a, seed=41))
        shaken = latents + noise * torch.randn(latents.shape, generator=torch.Generator().manual_seed(42))
        for label, seen in (("", latents), ("noisy_", shaken)):
            drawn = in_batches(decoder, seen)
            figures[f"decoder_{label}{name}_psnr_db"] = float(psnr(drawn, canonical).mean())
            figures[f"decoder_{label}{name}_ssim"] = float(ssim(drawn, canonical).mean())
            if lpips is not None:
                distances = [lpips(*pair) for pair in zip(drawn.split(64), canonical.split(64), strict=True)]
                figures[f"decoder_{label}{name}_lpips"] = float(torch.cat(distances).mean())
    return figures | {"decoder_pictures": float(len(views))}


def _grounding(
    encoder: StateEncoder, train: EncoderViews, test: EncoderViews, augment: Augment, others: dict[str, Augment]
) -> dict[str, float]:
    """The grounding probe from latents and, beside it, from the pictures that they were made of."""
    pictures = randomized(augment, train.image_a, train.mask_a, seed=31)
    tests = {name: randomized(other, test.image_a, test.mask_a, seed=32) for name, other in others.items()}
    latents = {name: in_batches(encoder.encode_vision, images) for name, images in tests.items()}
    by_latents = probe_grounding(in_batches(encoder.encode_vision, pictures), train, latents, test)
    by_pixels = probe_grounding(pictures, train, tests, test)
    return {f"grounding_latents_{k}": v for k, v in by_latents.items()} | {
        f"grounding_pixels_{k}": v for k, v in by_pixels.items()
    }


def print_figures(figures: dict[str, float]) -> None:
    """One line a figure that decides whether the encoder may be used."""
    for name in ("train", "unseen"):
        if f"grounding_latents_{name}_right_m" in figures:
            print(
                f"  named block before {name} backgrounds: "
                f"{100 * figures[f'grounding_latents_{name}_right_m']:.2f} cm from "
                f"latents, {100 * figures[f'grounding_pixels_{name}_right_m']:.2f} cm from pixels (RMS a coordinate)"
            )
        print(
            f"  invariance before {name} backgrounds: {figures[f'invariance_{name}_ratio']:.3f} "
            f"(same state, two backgrounds / two states 0.8 s apart; {figures[f'invariance_{name}_pairs']:.0f} pairs)"
        )


def load_encoder(settings: Settings) -> StateEncoder:
    """The run's frozen encoder."""
    return StateEncoder.load(settings.folder / "encoder", settings.resolved_device())


def load_decoder(settings: Settings) -> LatentDecoder | None:
    """The run's decoder of latents to pictures, if it has one."""
    folder = settings.folder / "encoder"
    return LatentDecoder.load(folder) if (folder / "decoder.safetensors").exists() else None
