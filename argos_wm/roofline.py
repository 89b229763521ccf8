"""How near the hardware's limits training, encoding and planning come, measured on random weights and latents.

Beside each figure stands its *roofline*: the time that its floating-point operations and its bytes would take at the
rates that the same device reached, in the same run, for a large matrix product and a large copy; the longer of the two
bounds it. Operations are those of the model (PyTorch's counter: matrix products and attention, a backward pass counted
as it is computed), bytes the fewest that must move: weights, and what the optimizer keeps of them.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from argos_wm.encoders.state import raw_vision
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.encoders.vision import DINOv3Encoder
from argos_wm.latents import LatentSpec
from argos_wm.planner import Planner
from argos_wm.sampler import SamplerConfig
from argos_wm.training.footprint import random_windows
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig, fit
from argos_wm.world_model import WorldModel, WorldModelConfig

TARGETS, PERIOD = 3, 0.8
"""A plan of 2.4 s."""
WORDS = 16
"""Tokens of an instruction, half of them padding."""
HASHED = HashedNGramEncoder()
FLOAT = 4
"""Bytes of a weight in training."""


@dataclass(frozen=True)
class Ceilings:
    """Rates that the device reached: operations a second in bfloat16 (float32 on a CPU), and bytes a second."""

    operations: float
    bytes: float

    def least(self, operations: float, moved: float) -> float:
        """Seconds that so many operations and bytes take at least."""
        return max(operations / self.operations, moved / self.bytes)


def measure_ceilings(device: torch.device) -> Ceilings:
    """A product of two large square matrices of noise, and a copy of a gigabyte."""
    large = device.type == "cuda"
    side, count = (8192, 2**30) if large else (1024, 2**24)
    kind = torch.bfloat16 if large else torch.float32
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    here = torch.empty(count, dtype=torch.uint8, device=device)
    there = torch.empty_like(here)
    # Clocks rise for a while.
    product, copy = (seconds(f, device, 20, 30 if large else 3) for f in (lambda: a @ b, lambda: there.copy_(here)))
    return Ceilings(2 * side**3 / product, 2 * count / copy)


def seconds(work: Callable[[], Any], device: torch.device, repeats: int = 10, warm_up: int = 3) -> float:
    """Median seconds of a call, host and device."""
    for _ in range(warm_up):
        work()
    times = []
    for _ in range(repeats):
        _wait(device)
        begin = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - begin)
    return float(torch.tensor(times).median())


def operations(work: Callable[[], Any]) -> float:
    """Floating-point operations of matrix products and attention in a call of what is not compiled."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def world_model(config: WorldModelConfig, spec: LatentSpec, device: torch.device) -> WorldModel:
    """A world model with random weights. Its last layers are not zero, as they are at first, or products with zeros
    would be timed."""
    model = WorldModel(config, spec, HASHED.dim, len(spec.joint_names))
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model.to(device)


def training(model: WorldModel, loop: LoopConfig, ceilings: Ceilings, device: torch.device) -> dict[str, float]:
    """Steps of the training loop itself, with clipping, AdamW and the weights' average, on one batch that stays."""
    windows, text = random_windows(model, loop.rows, WORDS, device=device)
    few = min(2, loop.rows)
    done = operations(lambda: model.loss(windows[:few], text[:few])["loss"].backward()) * loop.batch_size / few
    model.zero_grad(set_to_none=True)
    weights = sum(p.numel() for p in model.parameters())
    # Read in both passes; gradients written and read; two moments and the average read and written; weights likewise.
    moved = FLOAT * weights * (2 * loop.micro_batches + 2 + 2 * 3 + 2)
    with tempfile.TemporaryDirectory() as folder:
        logger = RunLogger(Path(folder))
        loop = replace(loop, log_every=max(1, loop.steps // 3), checkpoint_every=10**9)
        fit(model, lambda forward, _: forward(windows, text), loop, Path(folder), logger, "timed")
        logger.close()
        rows = [json.loads(line) for line in (Path(folder) / "curves.jsonl").read_text().splitlines()]
    taken = 1 / rows[-1 if len(rows) < 3 else 2]["timed/steps_per_s"]
    return _beside("training_step", taken, ceilings, done, moved) | {"training_windows_per_s": loop.batch_size / taken}


def encoding(
    config: Any, image_size: int, ceilings: Ceilings, device: torch.device, rows: int = 256
) -> dict[str, float]:
    """Pictures on the device to latents, by a DINOv3 of a transformers ``config`` with random weights."""
    from transformers import AutoModel

    with tempfile.TemporaryDirectory() as folder:
        AutoModel.from_config(config).save_pretrained(folder)
        vision = DINOv3Encoder(folder, image_size).to(device)
    pictures = torch.randint(256, (rows, 3, image_size, image_size), dtype=torch.uint8, device=device)
    few = min(2, rows)
    done = operations(lambda: raw_vision(vision, pictures[:few], autocast=True)) * rows / few
    plain = seconds(lambda: raw_vision(vision, pictures, autocast=True), device)
    vision.accelerate()
    taken = seconds(lambda: raw_vision(vision, pictures), device)
    moved = sum(p.nbytes for p in vision.parameters())
    return _beside("encoding", taken, ceilings, done, moved) | {
        "encoding_pictures_per_s": rows / taken,
        "encoding_pictures_per_s_not_accelerated": rows / plain,
    }


def planning(
    model: WorldModel, ceilings: Ceilings, samplers: Sequence[SamplerConfig], rows: int = 256
) -> dict[str, float]:
    """One plan of 2.4 s, and ``rows`` at once, by a planner that was accelerated, with each sampler."""
    planner = Planner(model, HASHED, samplers[0])
    device = planner.device
    windows, _ = random_windows(model, rows, WORDS, device=device)

    def draw(count: int) -> Any:
        said = ["push the red block to the left zone"] * count
        return planner.plan(windows.history[:count], windows.history_mask[:count], said, TARGETS, PERIOD)

    figures: dict[str, float] = {"plan_s_not_accelerated": seconds(lambda: draw(1), device, 3, 1)}
    done: list[float] = []
    for sampler in samplers:
        planner.sampler = sampler
        done.append(operations(lambda: draw(1)))
    planner.accelerate()
    weights = sum(p.numel() for p in model.dit.blocks.parameters())
    for sampler, each in zip(samplers, done, strict=True):
        planner.sampler = sampler
        evaluations = TARGETS * (2 * sampler.steps - 1 if sampler.solver == "heun" else sampler.steps)
        moved, steps = 2 * weights * evaluations, f"{sampler.steps}_steps"
        figures |= _beside(f"plan_{steps}", seconds(lambda: draw(1), device), ceilings, each, moved)
        taken = seconds(lambda: draw(rows), device, 5)
        figures |= _beside(f"plans_{steps}", taken, ceilings, each * rows, moved)
        figures[f"plans_per_s_{steps}"] = rows / taken
    return figures


def _beside(name: str, taken: float, ceilings: Ceilings, done: float, moved: float) -> dict[str, float]:
    """A time beside its roofline, and what share of the device's operations a second it used."""
    return {
        f"{name}_s": taken,
        f"{name}_roofline_s": ceilings.least(done, moved),
        f"{name}_tera_operations": done / 1e12,
        f"{name}_gigabytes": moved / 1e9,
        f"{name}_share_of_peak": done / taken / ceilings.operations,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
