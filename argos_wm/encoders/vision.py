"""Vision encoders: from uint8 pictures to raw patch latents.

``SmallViT`` is trained here for 64×64 pictures; ``DINOv3Encoder`` wraps a frozen DINOv3 (or DINOv2 with
registers) of any size. Raw latents are standardised afterwards by ``LatentStats``, in ``StateEncoder``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from argos_wm.checkpoint import CheckpointError, load_into, load_json, load_tensors
from argos_wm.compiling import compile_layers

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SMALL_VIT = "small-vit"


class VisionEncoder(nn.Module, ABC):
    """A map from pictures to a grid of ``rows × cols`` patch latents of ``channels``.

    Attributes:
        name: ``small-vit``, or the hub id or folder that it was loaded from.
        image_size: side of the square picture that the network sees; others are resized to it.
    """

    name: str
    image_size: int
    rows: int
    cols: int
    channels: int

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Encode ``images`` uint8 (B, 3, H, W) to raw latents float32 (B, P, C), row by row from the top left."""

    def accelerate(self) -> None:
        """Prepare for very many pictures on a GPU, in place."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What ``build_vision_encoder`` needs to make this encoder again, weights aside; JSON."""


@dataclass(frozen=True)
class SmallViTConfig:
    """Sizes of the small encoder; the defaults have 0.7 M parameters and cost 32 MFLOP a picture."""

    image_size: int = 64
    stem: tuple[int, ...] = (24, 48, 96)
    """Channels of the strided convolutions before the last one, each halving the picture."""
    width: int = 128
    """Channels of a token; its convolution is the stem's last."""
    depth: int = 4
    heads: int = 4
    mlp_ratio: int = 2
    """Half of the usual width: it buys a third of the encoder's time and cost no accuracy here."""
    channels: int = 16
    """C. Few, so that nothing but the scene has room (FACTS: whitening blows up nuisance channels)."""

    @property
    def patch(self) -> int:
        """Side of a patch [pixels]."""
        return 2 ** (len(self.stem) + 1)

    def __post_init__(self) -> None:
        if self.image_size % self.patch:
            raise ValueError(
                f"SmallViT's image_size {self.image_size} is not a multiple of its patch of {self.patch} pixels; "
                "change the one or the number of stem convolutions."
            )


class SmallViT(VisionEncoder):
    """Strided convolutions to one token a patch, a few transformer blocks, C channels a patch.

    The convolutions find edges and colours cheaply; attention moves what one patch sees to the patches where the
    decoder needs it. The last batch norm (without gain, per position and channel) standardises the latents while they
    are trained, so that pulling two views of one state together cannot be had by shrinking everything.
    """

    def __init__(self, cfg: SmallViTConfig | None = None) -> None:
        super().__init__()
        cfg = cfg or SmallViTConfig()
        self.cfg = cfg
        self.name = SMALL_VIT
        self.image_size = cfg.image_size
        self.rows = self.cols = cfg.image_size // cfg.patch
        self.channels = cfg.channels
        widths = (3, *cfg.stem, cfg.width)
        self.stem = nn.Sequential(*(_halve(a, b) for a, b in pairwise(widths)))
        self.positions = nn.Parameter(0.02 * torch.randn(1, self.rows * self.cols, cfg.width))
        self.blocks = nn.Sequential(*(_Block(cfg.width, cfg.heads, cfg.mlp_ratio) for _ in range(cfg.depth)))
        self.norm = nn.LayerNorm(cfg.width)
        self.head = nn.Linear(cfg.width, cfg.channels)
        # Convolutions of few channels are twice as fast on a CPU with channels last.
        self.stem.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.standardise = nn.BatchNorm1d(self.rows * self.cols * cfg.channels, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = _as_input(images, self.image_size) * 2.0 - 1.0
        x = self.stem(pixels.contiguous(memory_format=torch.channels_last))  # (B, width, rows, cols)
        x = x.flatten(2).transpose(1, 2) + self.positions  # (B, P, width)
        x = self.head(self.norm(self.blocks(x)))  # (B, P, C)
        return self.standardise(x.flatten(1).float()).unflatten(1, (-1, self.channels))

    def settings(self) -> dict[str, Any]:
        return {"kind": SMALL_VIT, **asdict(self.cfg), "stem": list(self.cfg.stem)}


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    """A 3×3 convolution of stride 2; batch norm is folded into nothing at inference and speeds up training."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class _Block(nn.Module):
    """Pre-norm self-attention and MLP, tokens (B, P, width)."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v)  # (B, heads, P, width / heads)
        x = x + self.project(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class DINOv3Encoder(VisionEncoder):
    """A frozen vision transformer of the transformers library: DINOv3 ViT-S to ViT-H+, or DINOv2 with registers.

    Pre-processing follows the checkpoints' own: rescale to [0, 1], resize (bilinear, antialiased), ImageNet mean and
    standard deviation. Of the last hidden state, (B, 1 + registers + P, C), the CLS and register tokens are dropped,
    unless CLS is kept: its channels then follow those of every patch, (B, P, 2 C).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, source: str, image_size: int, keep_cls: bool = False) -> None:
        """
        Args:
            source: hub id (already in the local cache) or local folder.
            image_size: side of the picture that the network sees; a multiple of its patch size.
            keep_cls: append the CLS token to every patch.
        """
        super().__init__()
        self.keep_cls = keep_cls
        self.name = source
        self.image_size = image_size
        self.model = _load_frozen(source)
        patch = self.model.config.patch_size
        if image_size % patch:
            raise ValueError(
                f"{source} has patches of {patch} pixels, and image_size {image_size} is not a multiple of that; "
                f"use {max(1, round(image_size / patch)) * patch}."
            )
        self.rows = self.cols = image_size // patch
        self.channels = self.model.config.hidden_size * (1 + keep_cls)
        self.prefix_tokens = 1 + getattr(self.model.config, "num_register_tokens", 0)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.eval()

    def train(self, mode: bool = True) -> DINOv3Encoder:
        """Stay in evaluation mode: the encoder is frozen, whatever contains it."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        pixels = (_as_input(images, self.image_size) - self.mean) / self.std
        halved = self.model.dtype == torch.bfloat16
        with torch.autocast(images.device.type, enabled=False) if halved else nullcontext():
            hidden = self.model(pixel_values=pixels.to(self.model.dtype)).last_hidden_state
        patches = hidden[:, self.prefix_tokens :]
        if self.keep_cls:
            patches = torch.cat([patches, hidden[:, :1].expand_as(patches)], -1)
        return patches.float()

    def accelerate(self) -> None:
        """Everything in bfloat16, patches embedded by a matrix product, and layers compiled, GELU in the product's
        kernel."""
        self.model.to(torch.bfloat16)
        for module in list(self.model.modules()):
            for name, part in module.named_children():
                if isinstance(part, nn.Conv2d) and part.kernel_size == part.stride:
                    setattr(module, name, _PatchProduct(part))
            gelu = type(getattr(module, "act_fn", None)).__name__ == "GELUActivation"
            if gelu and not hasattr(module, "gate_proj") and module.up_proj.bias is not None:
                _GELUProduct.take_over(module)
        compile_layers(self.model)

    def settings(self) -> dict[str, Any]:
        settings = {"kind": "transformers", "source": self.name, "image_size": self.image_size}
        return settings | ({"keep_cls": True} if self.keep_cls else {})


class _PatchProduct(nn.Module):
    """A convolution whose patches do not overlap, as a product: several times faster on a GPU for three channels."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self.side = convolution.kernel_size[0]

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W) -> (B, C, rows, cols)."""
        batch, channels, height, width = x.shape
        rows, cols = height // self.side, width // self.side
        patches = x.reshape(batch, channels, rows, self.side, cols, self.side).permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.flatten(3), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


@torch.library.custom_op("argos::linear_gelu", mutates_args=())
def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU of a linear layer, on a GPU in its kernel, by the tanh formula: off by 5e-4 at most, an eighth of what
    bfloat16 rounds a one by."""
    return torch.ops.aten._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True).unflatten(
        0, x.shape[:-1]
    )


@linear_gelu.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], len(weight)))


class _GELUProduct(nn.Module):
    """A linear layer and its GELU."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    @staticmethod
    def take_over(module: Any) -> None:
        """Put it in the place of a transformers' ``up_proj`` and ``act_fn``."""
        module.up_proj, module.act_fn = _GELUProduct(module.up_proj), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return linear_gelu(x, self.linear.weight, self.linear.bias)


def _as_input(images: Tensor, size: int) -> Tensor:
    """Pictures uint8 (B, 3, H, W) as floats in [0, 1] of side ``size``."""
    x = images.float() / 255.0
    if x.shape[-2:] != (size, size):
        x = F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return x


def _load_frozen(source: str) -> Any:
    """The model at ``source`` without gradients; never downloads, so that a run starts at once or says why not."""
    from transformers import AutoModel

    try:
        model = AutoModel.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError) as error:
        if Path(source).is_dir():
            raise CheckpointError(f"{source} does not hold a transformers vision model ({error}).") from None
        raise CheckpointError(
            f"The weights of the vision encoder {source!r} are not on this machine. Get them with "
            f"`hf download {source}` (for DINOv3, first accept its licence at https://huggingface.co/{source} and run "
            "`hf auth login`), or name a local folder."
        ) from None
    if not hasattr(model.config, "patch_size"):
        raise CheckpointError(f"{source} is a {type(model).__name__}, not a vision transformer with patches.")
    return model.requires_grad_(False).eval()


def build_vision_encoder(settings: dict[str, Any]) -> VisionEncoder:
    """The encoder that ``VisionEncoder.settings`` described; a small one comes with fresh weights."""
    settings = dict(settings)
    kind = settings.pop("kind", None)
    if kind == SMALL_VIT:
        settings["stem"] = tuple(settings["stem"])
        return SmallViT(SmallViTConfig(**settings))
    if kind == "transformers":
        return DINOv3Encoder(**settings)
    raise CheckpointError(f"There is no vision encoder of kind {kind!r}; known are {SMALL_VIT!r} and 'transformers'.")


def load_vision_encoder(name_or_folder: str | Path, image_size: int = 64, keep_cls: bool = False) -> VisionEncoder:
    """A frozen encoder by name.

    Args:
        name_or_folder: a folder written by ``StateEncoder.save``; or a hub id or folder of a transformers model.
        image_size: side of the picture that a transformers model sees; a saved encoder has its own.
        keep_cls: see ``DINOv3Encoder``; likewise.
    """
    folder = Path(name_or_folder)
    if not (folder / "encoder.json").is_file():
        return DINOv3Encoder(str(name_or_folder), image_size, keep_cls)
    encoder = build_vision_encoder(load_json(folder / "encoder.json")["vision"])
    if isinstance(encoder, SmallViT):
        load_into(encoder, load_tensors(folder / "vision.safetensors"), folder / "vision.safetensors")
    return encoder.requires_grad_(False).eval()
