"""Speed of the planner, each figure beside what it is compared with, measured in turns in one process.

Ratios are quoted, since machines differ and are noisy: the two sides of each take turns, and medians are compared.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from argos_sim.paths import PRETRAINED
from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.footprint import dinov3_config, latent_spec
from argos_sim.pipeline.planner import instruction_groups, load_cache
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import require_stage
from argos_wm import roofline
from argos_wm.checkpoint import save_json
from argos_wm.data.episodes import read_episodes
from argos_wm.data.instructions import Instructions
from argos_wm.data.latent_cache import VISION
from argos_wm.data.latent_shards import LatentShards
from argos_wm.data.windows import Windows
from argos_wm.encoders.text import TextFeatures, load_text_encoder
from argos_wm.evaluation import EvaluationConfig, moving_windows, roll_out, squared_errors
from argos_wm.planner import Planner
from argos_wm.sampler import SamplerConfig
from argos_wm.training.planner import VALIDATION_SHARE
from argos_wm.world_model import WorldModel

TURNS = 9
"""Of which the first is warm-up."""
BATCH = 128
PLAN_STEPS = (5, 2, 1)
TARGETS = 3
"""0.8, 1.6 and 2.4 s."""
REFERENCE = SamplerConfig(steps=50, solver="euler", guidance_scale=2.0)
"""What a plan is compared with: 50 Euler steps with guidance."""


def in_turns(*works: Callable[[], Any], turns: int = TURNS) -> list[float]:
    """Median seconds of each of ``works``, called one after the other, again and again."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(turns):
        for work, mine in zip(works, times, strict=True):
            begin = time.perf_counter()
            work()
            mine.append(time.perf_counter() - begin)
    return [float(torch.tensor(mine[1:]).median()) for mine in times]


def benchmark_planner(settings: Settings) -> dict[str, float]:
    """All figures of the planner's speed on the CPU, also into ``<run>/benchmark.json``; the run needs its latents.

    A GPU's limits, and how near them encoder and planner come, are what ``benchmark_device`` measures.
    """
    settings = dataclasses.replace(settings, device="cpu")
    require_stage(settings.folder / "latents", "latents", "train_planner.py")
    cache = load_cache(settings)
    text_encoder = load_text_encoder(settings.planner.text_encoder)
    instructions = Instructions(cache.instructions, text_encoder, instruction_groups(settings))
    trained = settings.folder / "planner"
    folder = trained if (trained / "planner.json").is_file() else PRETRAINED / "planner"
    planner = Planner.load(folder, settings.planner.sampling)
    planner.spec.require(cache.spec, "the planner", "the run's latents")
    _, held_out = cache.split(VALIDATION_SHARE)
    windows = moving_windows(planner.world_model, cache, held_out, settings.planner.windows, TARGETS, 256)
    text = instructions.right(windows.episode)
    figures = training_step(planner.world_model, windows[:BATCH], text[:BATCH])
    figures |= plan_time(planner, windows, text, settings.planner.windows.period)
    figures |= reading(settings)
    save_json(settings.folder / "benchmark.json", figures)
    for name, value in figures.items():
        print(f"  {name}: {value:.4g}")
    return figures


def benchmark_device(settings: Settings) -> dict[str, float]:
    """How near the device's limits the settings' encoder and planner come, with random weights; no run is needed."""
    device, cfg = torch.device(settings.resolved_device()), settings.planner
    spec = latent_spec(settings)
    ceilings = roofline.measure_ceilings(device)
    print(f"  {device}: {ceilings.operations / 1e12:.3g} TFLOP/s, {ceilings.bytes / 1e12:.3g} TB/s")
    figures = {"operations_per_s": ceilings.operations, "bytes_per_s": ceilings.bytes}
    if "dinov3" in settings.encoder.vision:
        figures |= roofline.encoding(
            dinov3_config(settings.encoder.vision), settings.encoder.image_size, ceilings, device
        )
    model = roofline.world_model(cfg.model, spec, device)
    loop = dataclasses.replace(
        cfg.loop, batch_size=cfg.loop.rows, micro_batches=1, steps=12, compile=device.type == "cuda"
    )
    figures |= roofline.training(model, loop, ceilings, device)
    samplers = [dataclasses.replace(cfg.sampling, steps=steps) for steps in PLAN_STEPS]
    figures |= roofline.planning(model.eval(), ceilings, samplers)
    save_json(settings.folder / "benchmark_device.json", figures)
    for name, value in figures.items():
        print(f"  {name}: {value:.4g}")
    return figures


def training_step(model: WorldModel, windows: Windows, text: TextFeatures) -> dict[str, float]:
    """Forward and backward of a batch, beside diffusers' transformer of as many parameters and tokens."""
    from diffusers.models.transformers.pixart_transformer_2d import PixArtTransformer2DModel

    own = WorldModel(model.config, model.spec, model.text_dim, model.action_dim)
    size, spec = model.config.dimensions(), model.spec
    context_tokens = len(model.config.history) * (spec.patches + 1) + model.config.action_steps + text.mask.shape[1] + 1

    def other(layers: int) -> nn.Module:
        return PixArtTransformer2DModel(
            num_attention_heads=size.heads,
            attention_head_dim=size.width // size.heads,
            in_channels=spec.channels,
            out_channels=spec.channels,
            num_layers=layers,
            cross_attention_dim=size.width,
            caption_channels=size.width,
            sample_size=spec.rows,
            patch_size=1,
            use_additional_conditions=False,
        )

    wanted = parameters(own)
    theirs = other(min(range(1, 4 * size.depth), key=lambda n: abs(parameters(other(n)) - wanted)))
    noisy = torch.randn(len(windows), spec.channels, spec.rows, spec.cols)
    context, times = torch.randn(len(windows), context_tokens, size.width), torch.randint(1000, (len(windows),))

    def ours() -> None:
        own.zero_grad(set_to_none=True)
        own.loss(windows, text)["loss"].backward()

    def diffusers() -> None:
        theirs.zero_grad(set_to_none=True)
        with own._autocast(noisy.device):
            sample = theirs(noisy, encoder_hidden_states=context, timestep=times).sample
        sample.float().square().mean().backward()

    seconds, reference = in_turns(ours, diffusers)
    return {
        "training_step_s": seconds,
        "training_step_diffusers_s": reference,
        "training_step_ratio": seconds / reference,
        "parameters": float(wanted),
        "parameters_diffusers": float(parameters(theirs)),
    }


def plan_time(planner: Planner, windows: Windows, text: TextFeatures, period: float) -> dict[str, float]:
    """A plan of 2.4 s with the run's sampler and with the reference, and the error of both on held-out windows."""
    one, cfg = windows[:1], EvaluationConfig()
    reference = Planner(planner.world_model, planner.text_encoder, REFERENCE)

    def draw(with_planner: Planner, rows: Windows, said: TextFeatures) -> Any:
        return roll_out(with_planner.world_model, rows, said, TARGETS, period, with_planner, cfg)

    seconds, slow = in_turns(lambda: draw(planner, one, text[:1]), lambda: draw(reference, one, text[:1]))
    errors = [rms(squared_errors(draw(p, windows, text), windows.target)["state"]) for p in (planner, reference)]
    unguided = Planner(planner.world_model, planner.text_encoder, SamplerConfig(steps=50, solver="euler"))
    errors.append(rms(squared_errors(draw(unguided, windows, text), windows.target)["state"]))
    return {
        "plan_s": seconds,
        "plan_euler50_guided_s": slow,
        "plan_speedup": slow / seconds,
        "plan_error_2.4s": errors[0],
        "plan_error_2.4s_euler50_guided": errors[1],
        "plan_error_2.4s_euler50": errors[2],
    }


def reading(settings: Settings, count: int = 2048) -> dict[str, float]:
    """Random rows of latents from shards on disk, beside decoding and encoding as many frames of the recordings."""
    require_stage(settings.folder / "demos", "demos", "collect_demos.py")
    encoder = load_encoder(settings)
    generator = torch.Generator().manual_seed(0)

    def decode_and_encode() -> int:
        frames = 0
        for episode in read_episodes(settings.folder / "demos" / "dataset", encoder.cameras, encoder.joint_names):
            encoder.encode_vision(torch.from_numpy(episode.images))
            frames += len(episode)
            if frames >= count:
                break
        return frames

    shards = LatentShards(settings.folder / "latents" / VISION, encoder.spec)

    def read() -> None:
        for rows in torch.randint(len(shards), (count,), generator=generator).split(BATCH):
            shards[rows].float()

    frames = decode_and_encode()
    seconds, slow = in_turns(read, decode_and_encode, turns=4)
    return {
        "read_rows_per_s": count / seconds,
        "decode_encode_frames_per_s": frames / slow,
        "read_speedup": (count / seconds) / (frames / slow),
    }


def parameters(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())


def rms(squared: Tensor) -> float:
    """Root of the mean."""
    return float(squared.mean().sqrt())
