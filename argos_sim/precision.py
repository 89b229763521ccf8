"""Networks in fewer bits: how they are made from a file in fp32, and how much they may differ.

fp16: weights and what passes between operators have half the bits (``onnxruntime.transformers.float16``). int8: weights
of matrix products have a quarter, with a scale for each output, and what they are multiplied with is rounded as it
comes (``onnxruntime.quantization``, dynamic); all else stays fp32. Inputs and outputs keep their types in both, so that
what runs them need not know.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

Precision = Literal["fp32", "fp16", "int8"]
Wanted = Literal["fp32", "fp16", "int8", "auto"]
LOWER: tuple[Precision, ...] = ("fp16", "int8")


@dataclass(frozen=True)
class Limit:
    """How much a network of a lower precision may differ from torch."""

    rms: float
    largest: float


@dataclass(frozen=True)
class PrecisionLimits:
    """By what the difference means; ``docs/deployment.md`` says what these cost in a closed loop."""

    torque: Limit = field(default_factory=lambda: Limit(0.01, 0.1))
    """Of the controller, in units of each joint's torque limit."""
    latent: Limit = field(default_factory=lambda: Limit(0.05, 0.5))
    """Of the encoders, in standardised units."""
    joints: Limit = field(default_factory=lambda: Limit(0.002, 0.02))
    """Of joints decoded from a latent, in units of each one's range, and of its largest speed."""
    target: Limit = field(default_factory=lambda: Limit(0.05, 0.2))
    """Of the planner's two halves, after the whole sampler, in units of how far a target is from the present state; the
    largest is that of a whole target."""
    words: Limit = field(default_factory=lambda: Limit(0.02, 0.5))
    """Of a text model's tokens, in units of their own root mean square."""

    def __post_init__(self) -> None:
        for item in fields(self):
            limit = getattr(self, item.name)
            if not 0 < limit.rms <= limit.largest or not math.isfinite(limit.largest):
                raise ValueError(
                    f"export.limits.{item.name} has the rms {limit.rms} and the largest {limit.largest}; "
                    "0 < rms <= largest should hold."
                )


@dataclass(frozen=True)
class ExportConfig:
    """What an export is made of."""

    precision: Wanted = "fp32"
    """Of all networks that may have it by ``limits``; the others stay fp32. auto takes for each network what is fastest
    on this machine."""
    limits: PrecisionLimits = field(default_factory=PrecisionLimits)
    faster: float = 1.1
    """auto leaves fp32 only for what is so many times as fast."""
    torch: bool = False
    """Also write each network as a torch program, ``<name>.pt2``. Loading one can run code: for your own use."""
    adapted: str | None = None
    """What ``adapt.py`` made in the place of the run's controller, such as ``camera/protected.0``, with the homography
    that it looks through; exported into ``<run>/adapt/<adapted>/export``."""

    sight_episodes: int = 192
    """Episodes on MuJoCo that the sight of weights without a run is fitted to, see ``deploy.sight``; a run's is fitted
    to its demonstrations. 0 exports none, so that nothing compares pictures with joints."""

    def __post_init__(self) -> None:
        if not self.faster >= 1:
            raise ValueError(f"export.faster is {self.faster}; it should be 1 or more.")
        if self.sight_episodes != 0 and self.sight_episodes < 2:
            raise ValueError(f"export.sight_episodes is {self.sight_episodes}; it should be 0, or 2 and more.")


def write_lower(source: Path, precision: Precision, target: Path) -> None:
    """Write the fp32 network ``source`` to ``target`` in a lower precision."""
    import onnx

    model = onnx.load(source)
    with _quiet():
        if precision == "fp16":
            from onnxruntime.transformers.float16 import convert_float_to_float16

            onnx.save(convert_float_to_float16(model, keep_io_types=True), target)
        else:
            _quantize(model, target)


def _quantize(model: Any, target: Path) -> None:
    """Seven bits of the eight: with all of them, processors without VNNI saturate sums of two products, and the network
    would be another one there than it was when it was compared."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    del model.graph.value_info[:]  # shapes of weights among them, which are transposed on the way
    quantize_dynamic(
        model,
        target,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converters' advice off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
