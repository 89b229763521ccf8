"""The frozen bundle that turns what a robot sees and feels into a ``LatentState``: two encoders and their statistics.

A folder holds it: ``encoder.json`` (settings, spec, figures), ``vision.safetensors`` (small encoder only),
``proprio.safetensors``, ``stats.safetensors``. Its ``LatentSpec`` is what every other part checks against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from argos_wm.checkpoint import (
    CheckpointError,
    load_into,
    load_json,
    load_tensors,
    save_json,
    save_tensors,
    weights_hash,
)
from argos_wm.encoders.proprio import ProprioEncoder
from argos_wm.encoders.vision import SmallViT, VisionEncoder, build_vision_encoder
from argos_wm.latents import LatentSpec, LatentState, LatentStats

Precision = Literal["auto", "float32", "bfloat16"]


class StateEncoder(nn.Module):
    """Pictures and raw proprioception to standardised latents, and proprioception back.

    Attributes:
        vision, proprio: the frozen encoders.
        stats: statistics of their raw latents over demonstrations.
        joint_names: J names in the order of the proprioceptive state.
        cameras: V names; each picture is encoded by itself, and their patches follow each other.
        spec: whose latents these are.
        autocast: whether pictures are encoded in bfloat16: twice as fast where the hardware has it, and off by about
            0.01 standard deviations.
    """

    def __init__(
        self,
        vision: VisionEncoder,
        proprio: ProprioEncoder,
        stats: LatentStats,
        joint_names: Sequence[str],
        precision: Precision = "auto",
        cameras: Sequence[str] = ("front",),
    ) -> None:
        super().__init__()
        if len(joint_names) != proprio.joints:
            raise ValueError(
                f"The proprioception encoder has {proprio.joints} joints, but {len(joint_names)} are named."
            )
        self.vision, self.proprio = vision, proprio
        self.joint_names, self.cameras = tuple(joint_names), tuple(cameras)
        for name, value in stats.tensors().items():
            self.register_buffer(f"_{name}", value.float())
        self.requires_grad_(False).eval()
        self.spec = LatentSpec(
            encoder=vision.name,
            encoder_hash=weights_hash(vision, proprio),
            rows=vision.rows,
            cols=vision.cols,
            channels=vision.channels,
            proprio_dim=proprio.dim,
            joint_names=self.joint_names,
            stats_hash=stats.hash(),
            cameras=self.cameras,
        )
        if len(stats.vision_mean) != self.spec.patches:
            raise ValueError(
                f"The statistics are of {len(stats.vision_mean)} patches, and {len(self.cameras)} camera(s) of "
                f"{vision.rows} x {vision.cols} have {self.spec.patches}. Measure them over the same cameras."
            )
        self.autocast = precision == "bfloat16" or (precision == "auto" and _has_bfloat16())

    @property
    def stats(self) -> LatentStats:
        return LatentStats(self._vision_mean, self._vision_std, self._proprio_mean, self._proprio_std)  # pyright: ignore

    @property
    def device(self) -> torch.device:
        return self.stats.vision_mean.device

    def train(self, mode: bool = True) -> StateEncoder:
        """Stay in evaluation mode: the encoders are frozen."""
        return super().train(False)

    @torch.no_grad()
    def encode_vision(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W), or (B, V, 3, H, W) of several cameras, to standardised latents (B, P, C)."""
        raw = raw_vision(self.vision, images.to(self.device), len(self.cameras), self.autocast)
        return (raw - self.stats.vision_mean) / self.stats.vision_std

    def accelerate(self) -> StateEncoder:
        """Encode as fast as a GPU can, in place (``VisionEncoder.accelerate``); on a CPU, do nothing. Latents differ by
        bfloat16's rounding, and the spec stays that of the weights as they were."""
        if self.autocast and self.device.type != "cpu":
            self.vision.accelerate()
        return self

    def first_camera(self) -> StateEncoder:
        """The encoder of what has the first camera alone, such as clips and pictures: the same latents of it."""
        if len(self.cameras) == 1:
            return self
        patches, stats = self.vision.rows * self.vision.cols, self.stats
        alone = replace(stats, vision_mean=stats.vision_mean[:patches], vision_std=stats.vision_std[:patches])
        encoder = StateEncoder(self.vision, self.proprio, alone, self.joint_names, "float32", self.cameras[:1])
        encoder.autocast = self.autocast
        encoder.spec = replace(self.spec, cameras=self.cameras[:1], stats_hash=alone.hash())  # once accelerated, too
        return encoder

    @torch.no_grad()
    def encode_proprio(self, raw: Tensor) -> Tensor:
        """Raw proprioception (…, 2J), rad and rad/s, to standardised latents (…, D)."""
        return (self.proprio.encode(raw.to(self.device)) - self.stats.proprio_mean) / self.stats.proprio_std

    @torch.no_grad()
    def decode_proprio(self, latent: Tensor) -> Tensor:
        """Standardised latents (…, D) to raw proprioception (…, 2J), rad and rad/s."""
        return self.proprio.decode(latent * self.stats.proprio_std + self.stats.proprio_mean)

    def encode(self, images: Tensor, raw_proprio: Tensor, time: Tensor) -> LatentState:
        """The state at ``time (B,)`` [s] from ``images``, as in ``encode_vision``, and ``raw_proprio (B, 2J)``."""
        return LatentState(self.encode_vision(images), self.encode_proprio(raw_proprio), time.to(self.device))

    def save(self, folder: str | Path, figures: dict[str, Any] | None = None) -> None:
        """Write the bundle; ``figures`` are measurements to keep beside the weights."""
        folder = Path(folder)
        if isinstance(self.vision, SmallViT):
            save_tensors(folder / "vision.safetensors", self.vision.state_dict())
        save_tensors(folder / "proprio.safetensors", self.proprio.state_dict())
        save_tensors(folder / "stats.safetensors", self.stats.tensors())
        description = {
            "spec": self.spec.to_json(),
            "vision": self.vision.settings(),
            "proprio": self.proprio.settings(),
            "figures": figures or {},
        }
        save_json(folder / "encoder.json", description)

    @staticmethod
    def load(folder: str | Path, device: torch.device | str = "cpu", precision: Precision = "auto") -> StateEncoder:
        """Read a bundle; weights that are not those it was described with are refused in one sentence."""
        folder = Path(folder)
        description = load_json(folder / "encoder.json")
        missing = [key for key in ("spec", "vision", "proprio") if key not in description]
        if missing:
            raise CheckpointError(f"{folder / 'encoder.json'} lacks {', '.join(missing)}. Train the encoder again.")
        spec = LatentSpec.from_json(description["spec"])
        vision, proprio = build_vision_encoder(description["vision"]), ProprioEncoder(**description["proprio"])
        if isinstance(vision, SmallViT):
            load_into(vision, load_tensors(folder / "vision.safetensors"), folder / "vision.safetensors")
        load_into(proprio, load_tensors(folder / "proprio.safetensors"), folder / "proprio.safetensors")
        stats = _load_stats(folder / "stats.safetensors")
        encoder = StateEncoder(vision, proprio, stats, spec.joint_names, precision, spec.cameras)
        encoder.spec.require(spec, f"the weights in {folder}", f"{folder / 'encoder.json'}")
        return encoder.to(device)


def raw_vision(vision: VisionEncoder, images: Tensor, cameras: int = 1, autocast: bool = False) -> Tensor:
    """Latents (B, P, C) before they are standardised, of uint8 (B, 3, H, W) or of V cameras (B, V, 3, H, W)."""
    if images.ndim == 4:
        images = images.unsqueeze(1)
    if images.shape[1] != cameras:
        raise ValueError(f"Pictures of {images.shape[1]} camera(s) were given and {cameras} are encoded.")
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        raw = vision(images.flatten(0, 1)).float()
    return raw.unflatten(0, (-1, cameras)).flatten(1, 2)


def _load_stats(path: Path) -> LatentStats:
    tensors = load_tensors(path)
    missing = [n for n in ("vision_mean", "vision_std", "proprio_mean", "proprio_std") if n not in tensors]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}. Train the encoder again.")
    return LatentStats(**tensors)


def _has_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 faster than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()
