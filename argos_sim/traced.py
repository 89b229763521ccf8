"""The parts of a policy as modules with plain tensors in and out, as ONNX has them, beside data to compare them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from argos_sim.controller.alignment import homography, sampled, sampling_grid
from argos_sim.deploy.manifest import (
    CONTROLLER,
    DECODER,
    JOINTS,
    OUTPUT,
    PLAN_CONTEXT,
    PLAN_FLOW,
    PROPRIO,
    SIGHT,
    VISION,
)
from argos_wm.attention import Rotation
from argos_wm.decoder import LatentDecoder
from argos_wm.dit import Context
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.text import TextFeatures
from argos_wm.latents import LatentState
from argos_wm.world_model import WorldModel

Inputs = dict[str, Tensor | list[Tensor]]
BATCH = "N"


@dataclass
class Traced:
    """A network that is to be exported.

    Attributes:
        name: one of ``manifest.NETWORKS``.
        inputs: recorded values (M, …) of its arguments by name; M is two or more. It must agree with torch on them.
        outputs: names of what it returns.
        varying: dimensions of its inputs, beside the batch, that may have any size: input → dimension → a word.
        tolerance: largest difference from torch that is let pass, in the outputs' units.
        longest: of those words, the largest size, where there is one.
    """

    name: str
    module: nn.Module
    inputs: Inputs
    outputs: tuple[str, ...]
    varying: dict[str, dict[int, str]] = field(default_factory=dict)
    tolerance: float = 1e-4
    longest: dict[str, int] = field(default_factory=dict)

    def rows(self, part: slice) -> Inputs:
        """Some rows of the recorded values."""
        return {
            k: [x[part] for x in value] if isinstance(value, list) else value[part] for k, value in self.inputs.items()
        }

    def example(self) -> tuple[Inputs, dict[str, Any]]:
        """Arguments to trace ``forward`` with, and the dimensions of each that may have any size, as torch.export takes
        them.

        There are two rows: torch would fix a batch of one.
        """
        words = sorted({word for sizes in self.varying.values() for word in sizes.values()})
        dimensions = {word: torch.export.Dim(word, min=1, max=self.longest.get(word)) for word in (BATCH, *words)}

        def sizes(name: str) -> dict[int, Any]:
            return {0: dimensions[BATCH]} | {i: dimensions[word] for i, word in self.varying.get(name, {}).items()}

        example = self.rows(slice(0, 2))
        shapes = {
            name: [sizes(name)] * len(value) if isinstance(value, list) else sizes(name)
            for name, value in example.items()
        }
        return example, shapes

    @property
    def count(self) -> int:
        """M."""
        return len(next(x for x in self.inputs.values() if isinstance(x, Tensor)))


def named(inputs: Inputs) -> dict[str, Tensor]:
    """By the names that ONNX gives: those of a list are numbered."""
    flat: dict[str, Tensor] = {}
    for name, value in inputs.items():
        flat |= {f"{name}_{i}": x for i, x in enumerate(value)} if isinstance(value, list) else {name: value}
    return flat


def traced_controller(actor: nn.Module, observations: dict[str, Tensor]) -> Traced:
    """The controller; ``observations`` are its six inputs by name, (M, …)."""
    return Traced(CONTROLLER, actor, dict(observations), (OUTPUT,))


def traced_encoder(encoder: StateEncoder, images: Tensor, joints: Tensor, eyes: Sequence[float] = ()) -> list[Traced]:
    """Vision, proprioception, and proprioception decoded.

    Args:
        images: uint8 (M, 3, S, S), as wide as the encoder looks at, or (M, V, 3, S, S) of several cameras.
        joints: (M, 2J) positions and speeds [rad, rad/s].
        eyes: a homography's eight numbers, see ``controller.alignment``, that pictures of one camera are seen through.
    """
    felt = encoder.encode_proprio(joints)
    vision = _Moved(encoder, eyes, images.shape[-1]) if eyes else _Vision(encoder)
    return [
        Traced(VISION, vision, {"images": images}, ("latents",)),
        Traced(PROPRIO, _Proprio(encoder), {"joints": joints}, ("latent",)),
        Traced(JOINTS, _Joints(encoder), {"latent": felt}, ("joints",)),
    ]


def traced_decoder(decoder: LatentDecoder, vision: Tensor) -> Traced:
    """Latents to a picture in [0, 1]; of ``vision`` (M, P, C), standardised, the first camera's are taken, since each
    camera's are drawn by themselves."""
    one = decoder.cfg.rows * decoder.cfg.cols
    return Traced(DECODER, decoder, {"vision": vision[:, :one].contiguous()}, ("picture",))


def traced_sight(sight: nn.Module, vision: Tensor) -> Traced:
    """Latents (M, P, C), standardised, to the joints' angles [rad]."""
    return Traced(SIGHT, sight, {"vision": vision}, ("joints",))


@torch.no_grad()
def traced_planner(
    model: WorldModel, history: LatentState, known: Tensor, text: TextFeatures, horizon: Tensor
) -> list[Traced]:
    """The world model's two halves; the arguments are those of ``WorldModel.sample``, for M rows."""
    reader = _PlanContext(model)
    inputs: Inputs = {
        "history_vision": history.vision,
        "history_proprio": history.proprio,
        "history_time": history.time,
        "history_known": known,
        "words": text.tokens,
        "words_known": text.mask,
        "horizon": horizon,
    }
    read = reader(**inputs)
    names = ("current_vision", "current_proprio", "vector", "target_cos", "target_sin", "bias")
    keys_values = tuple(f"keys_values_{i}" for i in range(len(read) - len(names)))
    count, generator = len(horizon), torch.Generator().manual_seed(0)
    vision, proprio = model.noise(count, "cpu", generator)
    shared: Inputs = dict(zip(names, read, strict=False))
    flow: Inputs = {
        "vision": vision,
        "proprio": proprio,
        "time": torch.linspace(0.05, 1.0, count),
        **shared,
        "keys_values": list(read[len(names) :]),
    }
    context = {"bias": {3: "context"}, "keys_values": {2: "context"}}
    words = {"words": {1: "words"}, "words_known": {1: "words"}}
    return [
        Traced(PLAN_CONTEXT, reader, inputs, (*names, *keys_values), words),
        Traced(PLAN_FLOW, _PlanFlow(model), flow, ("clean_vision", "clean_proprio"), context),
    ]


class _Vision(nn.Module):
    def __init__(self, encoder: StateEncoder) -> None:
        super().__init__()
        self.encoder, self.stats, self.cameras = encoder.vision, encoder.stats, len(encoder.cameras)

    def forward(self, images: Tensor) -> Tensor:
        if self.cameras > 1:
            raw = self.encoder(images.flatten(0, 1)).unflatten(0, (-1, self.cameras)).flatten(1, 2)
        else:
            raw = self.encoder(images)
        return (raw.float() - self.stats.vision_mean) / self.stats.vision_std


class _Moved(_Vision):
    """Of a camera that was moved, see ``controller.alignment``: looks at whole pictures where that says.

    Colours are not rounded in between: what lies halfway falls to either side in torch and in onnxruntime.
    """

    grid: Tensor

    def __init__(self, encoder: StateEncoder, numbers: Sequence[float], size: int) -> None:
        super().__init__(encoder)
        self.register_buffer("grid", sampling_grid(homography(torch.tensor([numbers])), size, size))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(sampled(images, self.grid.expand(images.shape[0], -1, -1, -1)))


class _Proprio(nn.Module):
    def __init__(self, encoder: StateEncoder) -> None:
        super().__init__()
        self.encoder, self.stats = encoder.proprio, encoder.stats

    def forward(self, joints: Tensor) -> Tensor:
        return (self.encoder.encode(joints) - self.stats.proprio_mean) / self.stats.proprio_std


class _Joints(nn.Module):
    def __init__(self, encoder: StateEncoder) -> None:
        super().__init__()
        self.encoder, self.stats = encoder.proprio, encoder.stats

    def forward(self, latent: Tensor) -> Tensor:
        return self.encoder.decode(latent * self.stats.proprio_std + self.stats.proprio_mean)


class _PlanContext(nn.Module):
    """``DiT.encode_context``, as a tuple; what a robot's planner is never told is left out."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.dit, self.steps, self.joints = model.dit, model.config.action_steps, model.action_dim

    def forward(
        self,
        history_vision: Tensor,
        history_proprio: Tensor,
        history_time: Tensor,
        history_known: Tensor,
        words: Tensor,
        words_known: Tensor,
        horizon: Tensor,
    ) -> tuple[Tensor, ...]:
        nothing = horizon.new_zeros(horizon.shape[0], self.steps, self.joints)
        context = self.dit.encode_context(
            LatentState(history_vision, history_proprio, history_time),
            history_known,
            horizon,
            TextFeatures(words, words_known),
            nothing,
            torch.zeros_like(horizon, dtype=torch.bool),
        )
        rotation = context.rotation
        shared = (context.current.vision, context.current.proprio, context.vector, rotation.cos, rotation.sin)
        return (*shared, context.bias, *(x for pair in context.keys_values for x in pair))


class _PlanFlow(nn.Module):
    """``DiT.forward``, its context as plain tensors."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.dit = model.dit

    def forward(
        self,
        vision: Tensor,
        proprio: Tensor,
        time: Tensor,
        current_vision: Tensor,
        current_proprio: Tensor,
        vector: Tensor,
        target_cos: Tensor,
        target_sin: Tensor,
        bias: Tensor,
        keys_values: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        pairs = list(zip(keys_values[::2], keys_values[1::2], strict=True))
        now = LatentState(current_vision, current_proprio, torch.zeros_like(time))
        return self.dit((vision, proprio), time, Context(now, vector, Rotation(target_cos, target_sin), pairs, bias))
