"""The contract between planner and controller: what a latent state is, and whose it is.

A ``LatentState`` is what the robot sees and feels at one time, in standardised latents. A ``LatentSpec`` names the
encoder that made it and the statistics that standardised it; two parts whose specs differ refuse to meet. A
``LatentPlan`` is a sequence of states that the planner wants, with everything needed to make it again.

Shapes: ``B`` batch, ``P = cameras * rows * cols`` patches, ``C`` channels a patch, ``D`` proprioceptive channels, ``T``
targets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

MIN_STD = 1e-3
"""Channels that never vary are not blown up beyond this when they are standardised."""

GAP = 4
"""Columns between two cameras' pictures, so that patches on both sides are no neighbours."""


class SpecMismatch(ValueError):
    """Two parts were made for different latents."""


@dataclass(frozen=True, eq=False)
class LatentStats:
    """Mean and standard deviation of raw latents: vision per position and channel (P, C), proprioception (D,)."""

    vision_mean: Tensor
    vision_std: Tensor
    proprio_mean: Tensor
    proprio_std: Tensor

    @staticmethod
    def measure(vision: Tensor, proprio: Tensor, per_position: bool = True) -> LatentStats:
        """Statistics of raw ``vision (N, P, C)`` and ``proprio (N, D)``.

        Without ``per_position``, each channel has one mean and one deviation over all positions, as a moving camera or
        pictures from everywhere suggest; what is always at one place, such as a robot's base, then keeps its mean.
        """
        v, p = vision.float(), proprio.float()
        if not per_position:
            mean, std = (x.expand(v.shape[1], -1).clone() for x in (v.mean((0, 1)), v.std((0, 1)).clamp_min(MIN_STD)))
            return LatentStats(mean, std, p.mean(0), p.std(0).clamp_min(MIN_STD))
        return LatentStats(v.mean(0), v.std(0).clamp_min(MIN_STD), p.mean(0), p.std(0).clamp_min(MIN_STD))

    def tensors(self) -> dict[str, Tensor]:
        """The four tensors by name, as they are stored in safetensors."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def to(self, device: torch.device | str) -> LatentStats:
        return LatentStats(**{k: v.to(device) for k, v in self.tensors().items()})

    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of the four tensors as float32."""
        digest = hashlib.sha256()
        for name, value in self.tensors().items():
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class LatentSpec:
    """Whose latents these are. Every checkpoint, cache and export carries one."""

    encoder: str
    """Name of the vision encoder, for example ``small-vit`` or a hub id."""
    encoder_hash: str
    """Hash of the weights of the vision and proprioception encoders."""
    rows: int
    cols: int
    channels: int
    """C, channels of one patch."""
    proprio_dim: int
    """D, channels of the proprioceptive latent."""
    joint_names: tuple[str, ...]
    """Joints in the order of the proprioceptive state and of the actions."""
    stats_hash: str
    """Hash of the ``LatentStats`` that standardise these latents."""
    cameras: tuple[str, ...] = ("front",)
    """Whose pictures' patches follow each other in a state's vision, each ``rows`` × ``cols``."""

    @property
    def patches(self) -> int:
        return len(self.cameras) * self.rows * self.cols

    def to_json(self) -> dict[str, Any]:
        lists = {"joint_names": list(self.joint_names), "cameras": list(self.cameras)}
        return {f.name: getattr(self, f.name) for f in fields(self)} | lists

    @staticmethod
    def from_json(data: dict[str, Any]) -> LatentSpec:
        """Inverse of ``to_json``; names the missing field of an incomplete one."""
        data = {"cameras": ["front"]} | data  # not written before there could be several
        missing = [f.name for f in fields(LatentSpec) if f.name not in data]
        if missing:
            raise SpecMismatch(f"This latent spec lacks {', '.join(missing)}: {json.dumps(data)[:200]}")
        known = {f.name: data[f.name] for f in fields(LatentSpec)}
        known |= {name: tuple(known[name]) for name in ("joint_names", "cameras")}
        return LatentSpec(**known)

    def require(self, other: LatentSpec, mine: str, theirs: str) -> None:
        """Raise ``SpecMismatch`` unless both describe the same latents.

        Args:
            other: the other part's spec.
            mine, theirs: names of the two parts for the message, such as ``"the planner runs/demo/planner"``.
        """
        for f in fields(self):
            a, b = getattr(self, f.name), getattr(other, f.name)
            if a != b:
                raise SpecMismatch(
                    f"{mine} and {theirs} do not share their latents: {f.name} is {a!r} in the first and {b!r} in "
                    f"the second. Train both on the same encoder and demonstrations."
                )


def patch_cells(rows: int, cols: int, cameras: int = 1) -> Tensor:
    """(P, 2) row and column of each patch, row by row; cameras are side by side, ``GAP`` columns apart."""
    one = torch.cartesian_prod(torch.arange(rows), torch.arange(cols)).float().reshape(-1, 2)
    return torch.cat([one + torch.tensor([0.0, camera * (cols + GAP)]) for camera in range(cameras)])


def camera_weights(has_cameras: Tensor | None, patches: int) -> Tensor | float:
    """Weights (B, P, 1) of errors of patches, before they are squared and averaged.

    Those of cameras that are not there, ``has_cameras`` (B, V), count nothing, and the others make up for them. 1 for
    None, where all are there.
    """
    if has_cameras is None:
        return 1.0
    there = has_cameras.float()
    share = there.mean(1, keepdim=True).clamp_min(1 / there.shape[1])
    return (there / share.sqrt()).repeat_interleave(patches // there.shape[1], 1)[..., None]


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on the device; the host does not wait for what goes to a GPU from pinned memory."""
    return tensor.to(device, non_blocking=torch.device(device).type != "cpu")


@dataclass
class LatentState:
    """States of the world in standardised latents.

    Attributes:
        vision: (B, P, C) patch latents, or (B, S, P, C) for a history of S states.
        proprio: (B, D) or (B, S, D).
        time: (B,) or (B, S) seconds, on any clock shared by the states that meet.
    """

    vision: Tensor
    proprio: Tensor
    time: Tensor

    def __len__(self) -> int:
        return self.time.shape[0]

    def map(self, f: Callable[[Tensor], Tensor]) -> LatentState:
        """Apply ``f`` to every tensor."""
        return LatentState(f(self.vision), f(self.proprio), f(self.time))

    def to(self, device: torch.device | str) -> LatentState:
        return self.map(lambda x: sent(x, device))

    def pin_memory(self) -> LatentState:
        """In memory that a GPU copies from while it computes."""
        return self.map(lambda x: x.pin_memory())

    def __getitem__(self, index: Any) -> LatentState:
        """Index the leading dimensions."""
        return self.map(lambda x: x[index])

    @staticmethod
    def stack(states: Sequence[LatentState], dim: int = 1) -> LatentState:
        """Stack S states (B, …) into a history (B, S, …), oldest first."""
        return LatentState(*(torch.stack([getattr(s, f.name) for s in states], dim) for f in fields(LatentState)))

    @staticmethod
    def cat(states: Sequence[LatentState], dim: int = 0) -> LatentState:
        return LatentState(*(torch.cat([getattr(s, f.name) for s in states], dim) for f in fields(LatentState)))


@dataclass
class LatentPlan:
    """What the planner wants to happen.

    Attributes:
        targets: (B, T, …) states, ``targets.time`` (B, T) on the clock of the current state.
        instructions: B instructions.
        seed: seed of the sampler's noise.
        steps: solver steps a target.
        guidance_scale: 1 is the conditional model.
    """

    targets: LatentState
    instructions: list[str]
    seed: int
    steps: int
    guidance_scale: float
