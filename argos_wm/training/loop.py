"""The training loop of every stage: AdamW, cosine decay, EMA, and a checkpoint that resumes exactly.

All randomness of a step comes from torch's default generator, seeded from (seed, step) just before the step. A run
that was killed therefore continues from its last checkpoint to the same weights as one that was not.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from argos_wm.checkpoint import CheckpointError, load_into, load_tensors, save_tensors
from argos_wm.training.logger import RunLogger

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class LoopConfig:
    """Settings of one training stage."""

    steps: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    """Peak, after the warm-up; cosine decay takes it to a hundredth of this."""
    warmup_steps: int = 50
    weight_decay: float = 0.01
    """On matrices only; biases, gains and embeddings of one dimension are left alone."""
    grad_clip: float = 1.0
    """Largest gradient norm."""
    ema_decay: float = 0.0
    """Decay of the averaged weights, 0 for none. Ramped up at the start, so that short runs forget their noise."""
    checkpoint_every: int = 200
    log_every: int = 20
    seed: int = 0


def fit(
    module: nn.Module,
    loss_fn: Callable[[int], dict[str, Tensor]],
    cfg: LoopConfig,
    out_dir: Path,
    logger: RunLogger,
    label: str,
) -> nn.Module:
    """Train ``module`` in place and return the weights to use.

    Args:
        module: what ``loss_fn`` computes with; parameters that need no gradient are left alone.
        loss_fn: called with the step, 0 … steps - 1, under a generator seeded from (seed, step). Returns ``loss`` and
            any scalars to log; scalars are averaged between log steps and may be absent from most steps.
        cfg: settings; a checkpoint of other settings is refused.
        out_dir: folder of ``checkpoint.safetensors``, from which an interrupted run resumes by itself.
        logger: receives every scalar as ``label/name``.
        label: name of the stage in progress bar, curves and errors.

    Returns:
        the averaged module if ``ema_decay > 0``, else ``module``; in evaluation mode.
    """
    ema = copy.deepcopy(module).requires_grad_(False) if cfg.ema_decay > 0 else None
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = _adamw(parameters, cfg)
    path = Path(out_dir) / CHECKPOINT
    start = _resume(path, module, ema, optimizer, cfg, label)
    logger.drop_after(start, f"{label}/")
    module.train()
    meter = _Meter()
    bar = tqdm(range(start, cfg.steps), initial=start, total=cfg.steps, desc=label, mininterval=1.0)
    for step in bar:
        torch.manual_seed(cfg.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, cfg)
        values = loss_fn(step)
        _descend(values["loss"], optimizer, parameters, cfg, f"{label}, step {step}")
        if ema is not None:
            _average(ema, module, min(cfg.ema_decay, (1 + step) / (10 + step)))
        meter.add(values)
        done = step + 1
        if done % cfg.log_every == 0 or done == cfg.steps:
            means = meter.flush()
            bar.set_postfix(loss=f"{means['loss']:.4g}")
            logger.log({f"{label}/{k}": v for k, v in means.items()}, done)
        if done % cfg.checkpoint_every == 0 or done == cfg.steps:
            save_tensors(path, _pack(module, ema, optimizer, done, cfg))
    return (ema if ema is not None else module).eval()


def learning_rate(step: int, cfg: LoopConfig) -> float:
    """Linear warm-up, then a cosine from the peak to a hundredth of it."""
    if step < cfg.warmup_steps:
        return cfg.learning_rate * (step + 1) / cfg.warmup_steps
    progress = (step - cfg.warmup_steps) / max(1, cfg.steps - cfg.warmup_steps)
    return cfg.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def _adamw(parameters: list[nn.Parameter], cfg: LoopConfig) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": cfg.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=cfg.learning_rate, betas=(0.9, 0.99), fused=True)


def _descend(
    loss: Tensor, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], cfg: LoopConfig, where: str
) -> None:
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"{where}: the loss is {loss.item()}. Lower the learning rate ({cfg.learning_rate}) or look for NaN in the "
            "data."
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, cfg.grad_clip)
    optimizer.step()


@torch.no_grad()
def _average(ema: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the averaged parameters toward the trained ones; buffers (running statistics) are copied."""
    for kept, new in zip(ema.parameters(), module.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for kept, new in zip(ema.buffers(), module.buffers(), strict=True):
        kept.copy_(new)


class _Meter:
    """Means of scalars between two log steps, and the pace."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.since = time.perf_counter()

    def add(self, values: dict[str, Tensor]) -> None:
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(value.detach())
            self.counts[key] = self.counts.get(key, 0) + 1

    def flush(self) -> dict[str, float]:
        means = {k: s / self.counts[k] for k, s in self.sums.items()}
        pace = self.counts["loss"] / max(1e-9, time.perf_counter() - self.since)
        self.__init__()
        return means | {"steps_per_s": pace}


def _settings(cfg: LoopConfig) -> dict[str, Any]:
    """The settings that decide the weights; how often to log or save does not."""
    return {k: v for k, v in asdict(cfg).items() if k not in ("checkpoint_every", "log_every")}


def _pack(
    module: nn.Module, ema: nn.Module | None, optimizer: torch.optim.Optimizer, step: int, cfg: LoopConfig
) -> dict[str, Tensor]:
    """Everything that the next step needs, as named tensors; settings and step as JSON in bytes."""
    text = json.dumps({"step": step, "settings": _settings(cfg)})
    tensors = {"meta": torch.tensor(list(text.encode()), dtype=torch.uint8)}
    tensors |= {f"module.{k}": v for k, v in module.state_dict().items()}
    if ema is not None:
        tensors |= {f"ema.{k}": v for k, v in ema.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
    return tensors


def _resume(
    path: Path, module: nn.Module, ema: nn.Module | None, optimizer: torch.optim.Optimizer, cfg: LoopConfig, label: str
) -> int:
    """Load the checkpoint, if there is one; return the number of steps already done."""
    if not path.is_file():
        return 0
    tensors = load_tensors(path)
    if "meta" not in tensors:
        raise CheckpointError(f"{path} is not a checkpoint of the training loop. Move it away and start {label} again.")
    meta = json.loads(bytes(tensors.pop("meta").tolist()))
    for key, value in _settings(cfg).items():
        if meta["settings"].get(key) != value:
            raise CheckpointError(
                f"{path} was made with {key}={meta['settings'].get(key)!r}, and {label} now has {key}={value!r}. "
                "Use the same settings to resume, or another folder (or delete the file) to start again."
            )
    load_into(module, _under("module.", tensors), path)
    if ema is not None:
        load_into(ema, _under("ema.", tensors), path)
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in _under("optimizer.", tensors).items():
        index, name = key.split(".")
        states.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(meta["step"])


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
