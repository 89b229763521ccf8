"""The training loop of every stage: AdamW, cosine decay, EMA, and a checkpoint that resumes exactly.

All randomness of a step comes from torch's default generator, seeded from (seed, step, part) just before each part of
the batch. A run that was killed therefore continues from its last checkpoint to the same weights as one that was not,
and several processes take the steps that one would (``parallel.py``).
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from argos_wm.checkpoint import CheckpointError, load_into, load_tensors, save_tensors
from argos_wm.compiling import compile_layers, uncompile_layers
from argos_wm.training.logger import RunLogger
from argos_wm.training.parallel import Parallel, like, whole

CHECKPOINT = "checkpoint.safetensors"
INDIFFERENT = ("checkpoint_every", "log_every", "compile", "checkpoint_activations", "shard", "workers")
"""Settings of ``LoopConfig`` that do not decide the weights."""


@dataclass(frozen=True)
class LoopConfig:
    """Settings of one training stage."""

    steps: int = 1000
    batch_size: int = 128
    """Of a step, over all micro-batches and processes."""
    micro_batches: int = 1
    """Parts of the batch that are drawn and differentiated one by one, or by one process each; gradients add up."""
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
    compile: bool = False
    """Compile the module's layers with ``torch.compile``, which takes a minute; pays on a GPU."""
    checkpoint_activations: bool = False
    """Recompute activations in the backward pass where the module can: less memory, more time."""
    shard: bool = False
    """On many processes: keep only a share of weights, gradients and optimizer state on each (FSDP2), for models that
    do not fit on one."""
    workers: int = 0
    """Processes that draw a planner's batches ahead; 0 draws them as they are needed. A GPU is fed by several."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.micro_batches < 1 or self.batch_size % self.micro_batches:
            raise ValueError(
                f"A batch of {self.batch_size} cannot be cut into {self.micro_batches} micro-batches of equal size."
            )

    @property
    def rows(self) -> int:
        """Rows of one micro-batch."""
        return self.batch_size // self.micro_batches


Forward = Callable[..., Any]


def fit(
    module: nn.Module,
    loss_fn: Callable[[Forward, int], dict[str, Tensor]],
    cfg: LoopConfig,
    out_dir: Path,
    logger: RunLogger,
    label: str,
    parallel: Parallel | None = None,
) -> nn.Module:
    """Train ``module`` in place and return the weights to use.

    Args:
        module: what ``loss_fn`` computes with; parameters that need no gradient are left alone.
        loss_fn: called with what to call in the module's place and the number of a micro-batch, counted over steps and
            processes, under a generator seeded for it; it draws ``cfg.rows`` rows. Returns ``loss`` and any scalars to
            log; scalars are averaged between log steps and may be absent from most.
        cfg: settings; a checkpoint of other settings is refused.
        out_dir: folder of ``checkpoint.safetensors``, from which an interrupted run resumes by itself.
        logger: receives every scalar as ``label/name``.
        label: name of the stage in progress bar, curves and errors.
        parallel: the run's processes; None is one alone.

    Returns:
        the trained module, whole, with averaged weights if ``ema_decay > 0``; in evaluation mode.
    """
    parallel = parallel or Parallel()
    parts, path = parallel.parts(cfg.micro_batches), Path(out_dir) / CHECKPOINT
    stored = _read(path, cfg, label)
    if stored is not None:
        load_into(module, stored.under("module."), path)
    # What is returned is whole; meanwhile it takes no room where shards were made to have some.
    result = module if parallel.ranks == 1 else copy.deepcopy(module).cpu()
    device = result_device(module)
    for layer in module.modules():
        if hasattr(layer, "checkpoint_activations"):
            vars(layer)["checkpoint_activations"] = cfg.checkpoint_activations
    if cfg.compile:
        compile_layers(module)
    forward = parallel.prepare(module, cfg.shard)
    optimizer = _adamw(module, cfg)
    average = Average(module) if cfg.ema_decay > 0 else None
    start = 0
    if stored is not None:
        start = stored.step
        _restore(stored, optimizer, average)
    if parallel.main:
        logger.drop_after(start, f"{label}/")
    module.train()
    meter = _Meter(len(parts))
    bar = tqdm(
        range(start, cfg.steps),
        initial=start,
        total=cfg.steps,
        desc=label,
        mininterval=1.0,
        disable=not parallel.main,
    )
    parameters = [p for p in module.parameters() if p.requires_grad]
    unread: list[tuple[int, Tensor, Tensor]] = []
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, cfg)
        optimizer.zero_grad(set_to_none=True)
        losses: list[Tensor] = []
        for part in parts:
            torch.manual_seed(part_seed(cfg.seed, step, part))
            last = part == parts[-1]
            with parallel.without_sync(forward, last):
                values = loss_fn(forward, step * cfg.micro_batches + part)
                (values["loss"] / len(parts)).backward()
            losses.append(values["loss"].detach())
            meter.add(values)
        norm = whole(nn.utils.clip_grad_norm_(parameters, cfg.grad_clip))
        unread.append((step, torch.stack(losses).sum().to(norm.device), norm))
        optimizer.found_inf = (~torch.isfinite(norm + unread[-1][1])).float()  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.step()
        if average is not None:
            average.update(module, ramped(cfg.ema_decay, step))
        done = step + 1
        noted = done % cfg.log_every == 0 or done == cfg.steps
        saved = done % cfg.checkpoint_every == 0 or done == cfg.steps
        if norm.device.type == "cpu" or noted or saved:
            _require_finite(unread, cfg, label)
            unread = []
        if noted:
            means = {k: float(v) for k, v in parallel.mean(meter.flush()).items()}
            if parallel.main:
                bar.set_postfix(loss=f"{means['loss']:.4g}")
                logger.log({f"{label}/{k}": v for k, v in means.items()}, done)
        if saved:
            tensors = _pack(module, average, optimizer, done, cfg)
            if parallel.main:
                save_tensors(path, tensors)
            del tensors
            parallel.wait()
    if cfg.compile:
        uncompile_layers(module)
    final = average.tensors if average is not None else module.state_dict()
    result.load_state_dict({k: whole(v).to(result_device(result)) for k, v in final.items()})
    return result.to(device).eval()


def part_seed(seed: int, step: int, part: int) -> int:
    """The seed of one micro-batch of one step."""
    return seed * 1_000_003 + step + part * 7_368_787_981


def result_device(module: nn.Module) -> torch.device | None:
    """Where a module's parameters are."""
    first = next(module.parameters(), None)
    return None if first is None else first.device


class Average:
    """Exponential moving average of a module's parameters; buffers (running statistics) are copied."""

    def __init__(self, module: nn.Module) -> None:
        self.tensors = {k: v.detach().clone() for k, v in module.state_dict().items()}
        self.moving = {name for name, _ in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, decay: float) -> None:
        """Move toward the module's weights."""
        new = module.state_dict()
        moving = [name for name in new if name in self.moving]
        # All at once: one by one, a GPU waits for the host.
        averages, weights = [self.tensors[name] for name in moving], [new[name] for name in moving]
        get_ema_multi_avg_fn(decay)(averages, weights, None)
        for name in new.keys() - self.moving:
            self.tensors[name].copy_(new[name])


def ramped(decay: float, step: int) -> float:
    """An average's decay at ``step``, counted from 0: lower at first, so that the beginning is soon forgotten."""
    return min(decay, (1 + step) / (10 + step))


def learning_rate(step: int, cfg: LoopConfig) -> float:
    """Linear warm-up, then a cosine from the peak to a hundredth of it."""
    if step < cfg.warmup_steps:
        return cfg.learning_rate * (step + 1) / cfg.warmup_steps
    progress = (step - cfg.warmup_steps) / max(1, cfg.steps - cfg.warmup_steps)
    return cfg.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def _adamw(module: nn.Module, cfg: LoopConfig) -> torch.optim.AdamW:
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": cfg.weight_decay},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=cfg.learning_rate, betas=(0.9, 0.99), fused=True)


def _require_finite(unread: list[tuple[int, Tensor, Tensor]], cfg: LoopConfig, label: str) -> None:
    """Read the steps' losses and their gradients' norms; these are the same in all processes, so that all end together.

    A GPU would wait for the host at every step if they were read at once. They are read now and then, and before
    anything is saved; meanwhile AdamW leaves the weights as they were (``found_inf``).
    """
    for step, loss, norm in unread:
        if not torch.isfinite(norm + loss):
            raise FloatingPointError(
                f"{label}, step {step}: the loss is {loss.item()} and its gradient's norm {norm.item()}. Lower the "
                f"learning rate ({cfg.learning_rate}) or look for NaN in the data."
            )


class _Meter:
    """Means of scalars between two log steps, and the pace."""

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.since = time.perf_counter()

    def add(self, values: dict[str, Tensor]) -> None:
        for key, value in values.items():
            value = value.detach().double()
            self.sums[key] = self.sums[key] + value if key in self.sums else value
            self.counts[key] = self.counts.get(key, 0) + 1

    def flush(self) -> dict[str, Tensor]:
        means = {k: float(s) / self.counts[k] for k, s in self.sums.items()}
        pace = self.counts["loss"] / self.parts / max(1e-9, time.perf_counter() - self.since)
        self.__init__(self.parts)
        return {k: torch.tensor(v) for k, v in (means | {"steps_per_s": pace}).items()}


def deciding(cfg: Any) -> dict[str, Any]:
    """The settings, of a loop or of what has loops, that decide the weights; how often to log or save, and how to
    compute, does not."""
    ignored = INDIFFERENT if isinstance(cfg, LoopConfig) else ()
    values = {f.name: getattr(cfg, f.name) for f in fields(cfg) if f.name not in ignored}
    return {name: deciding(value) if is_dataclass(value) else value for name, value in values.items()}


@dataclass(frozen=True)
class _Stored:
    """A checkpoint as it was read."""

    step: int
    tensors: dict[str, Tensor]

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def _pack(
    module: nn.Module, average: Average | None, optimizer: torch.optim.Optimizer, step: int, cfg: LoopConfig
) -> dict[str, Tensor]:
    """Everything that the next step needs, as named whole tensors; settings and step as JSON in bytes.

    Gathering shards is work for all processes, though only one writes.
    """
    text = json.dumps({"step": step, "settings": deciding(cfg)})
    tensors = {"meta": torch.tensor(list(text.encode()), dtype=torch.uint8)}
    tensors |= {f"module.{k}": whole(v).cpu() for k, v in module.state_dict().items()}
    if average is not None:
        tensors |= {f"ema.{k}": whole(v).cpu() for k, v in average.tensors.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": whole(v).cpu() for k, v in state.items()}
    return tensors


def _read(path: Path, cfg: LoopConfig, label: str) -> _Stored | None:
    """The checkpoint, if there is one; refused if it was made with other settings."""
    if not path.is_file():
        return None
    tensors = load_tensors(path)
    if "meta" not in tensors:
        raise CheckpointError(f"{path} is not a checkpoint of the training loop. Move it away and start {label} again.")
    meta = json.loads(bytes(tensors.pop("meta").tolist()))
    for key, value in deciding(cfg).items():
        if meta["settings"].get(key, LoopConfig.__dataclass_fields__[key].default) != value:
            raise CheckpointError(
                f"{path} was made with {key}={meta['settings'].get(key)!r}, and {label} now has {key}={value!r}. "
                "Use the same settings to resume, or another folder (or delete the file) to start again."
            )
    return _Stored(int(meta["step"]), tensors)


def _restore(stored: _Stored, optimizer: torch.optim.Optimizer, average: Average | None) -> None:
    """Optimizer and average as they were; the module's own weights are loaded before it is sharded."""
    if average is not None:
        kept = stored.under("ema.")
        average.tensors = {k: like(kept[k], v) for k, v in average.tensors.items()}
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in stored.under("optimizer.").items():
        index, name = key.split(".")
        states.setdefault(int(index), {})[name] = value
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, state in states.items():
        sharded = {k: v for k, v in state.items() if v.shape == parameters[index].shape}
        state |= {k: like(v, parameters[index]) for k, v in sharded.items()}
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
