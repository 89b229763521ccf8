"""PPO's checkpoint: networks, optimizer, learning rate, curriculum, in safetensors, and the settings they go with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from argos_sim.randomization.curriculum import WidenRanges
from argos_wm.checkpoint import CheckpointError, load_into, load_json, load_tensors, save_json, save_tensors

if TYPE_CHECKING:
    from argos_sim.controller.ppo import PPOConfig, TrackingPPO


def save(algorithm: TrackingPPO, widening: WidenRanges | None, out_dir: Path, iteration: int, cfg: PPOConfig) -> None:
    """Write what is known after ``iteration`` iterations into ``out_dir``."""
    tensors: dict[str, Tensor] = {}
    for name, module in (("actor", algorithm.get_policy()), ("critic", algorithm._raw_critic)):
        tensors |= {f"{name}.{k}": v for k, v in module.state_dict().items()}
    if algorithm.average is not None:
        tensors |= {f"average.{k}": v for k, v in algorithm.average.tensors.items()}
    for index, state in algorithm.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    if widening is not None:
        tensors |= {f"curriculum.{k}": v for k, v in widening.state().items()}
    tensors["iteration"] = torch.tensor(iteration)
    tensors["learning_rate"] = torch.tensor(algorithm.learning_rate, dtype=torch.float64)
    save_json(out_dir / "checkpoint.json", _identity(cfg))
    save_tensors(out_dir / "checkpoint.safetensors", tensors)


def _identity(cfg: PPOConfig) -> dict[str, Any]:
    """The settings that a checkpoint must share to be continued; a longer run may continue a shorter one."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(cfg).items() if k != "iterations"}


def resume(algorithm: TrackingPPO, widening: WidenRanges | None, out_dir: Path, cfg: PPOConfig) -> int:
    """Read it back; the number of iterations that are done, 0 without a checkpoint. Other settings are refused."""
    path = out_dir / "checkpoint.safetensors"
    if not path.exists():
        return 0
    stored, wanted = load_json(out_dir / "checkpoint.json"), _identity(cfg)
    different = [k for k in wanted if stored.get(k) != wanted[k]]
    if different:
        raise CheckpointError(
            f"The PPO checkpoint in {out_dir} was made with other settings ({', '.join(different)}). Restore them, or "
            "start anew with overwrite=true."
        )
    tensors = load_tensors(path)
    iteration = int(tensors.pop("iteration"))
    algorithm.learning_rate = float(tensors.pop("learning_rate"))
    for name, module in (("actor", algorithm.get_policy()), ("critic", algorithm._raw_critic)):
        load_into(module, {k[len(name) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{name}.")}, path)
    if algorithm.average is not None:
        for key, value in algorithm.average.tensors.items():
            value.copy_(tensors[f"average.{key}"])
    if widening is not None:
        widening.load({k.removeprefix("curriculum."): v for k, v in tensors.items() if k.startswith("curriculum.")})
    state = algorithm.optimizer.state_dict()
    state["state"] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, field = key.split(".")
            state["state"].setdefault(int(index), {})[field] = value
    algorithm.optimizer.load_state_dict(state)
    return iteration
