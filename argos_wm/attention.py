"""Attention with rotary positions over three axes (seconds, row, column), and the sinusoids beside it.

A head's channels are split into pairs that rotate with time, with the row and with the column, so that a query's
affinity to a key depends on how far apart they are in time and space. Both queries and context keys are rotated; a
key without a place, such as a word, is left as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TIME_RATES = (0.1, 8.0)
"""Slowest and fastest rotation over time [rad/s]: plans are 0.1 s to a few seconds long."""
GRID_RATES = (0.05, 2.0)
"""Slowest and fastest rotation over rows and columns [rad/patch], for grids of 4 to 32 patches a side."""


@dataclass
class Rotation:
    """Cosine and sine of each pair's angle, (B or 1, 1, N, head_dim / 2)."""

    cos: Tensor
    sin: Tensor

    @staticmethod
    def cat(parts: list[Rotation], batch: int) -> Rotation:
        """Join along the tokens."""

        def join(name: str) -> Tensor:
            return torch.cat([getattr(p, name).expand(batch, -1, -1, -1) for p in parts], 2)

        return Rotation(join("cos"), join("sin"))

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate x (B, heads, N, head_dim)."""
        a, b = x.chunk(2, -1)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def geometric(lowest: float, highest: float, count: int) -> Tensor:
    """``count`` rates from ``highest`` down to ``lowest``, each a constant factor below the one before."""
    return (
        torch.exp(torch.linspace(math.log(highest), math.log(lowest), count)) if count > 1 else torch.tensor([highest])
    )


class RotaryPositions(nn.Module):
    """Places in (seconds, row, column) as rotations of a head's channel pairs."""

    def __init__(self, head_dim: int, placed: bool = True) -> None:
        """Without ``placed`` every rotation is the identity."""
        super().__init__()
        if head_dim % 2 or head_dim < 6:
            raise ValueError(
                f"A head of {head_dim} channels cannot carry three axes; use an even number of at least 6."
            )
        pairs = head_dim // 2
        space = (pairs - max(1, pairs // 4)) // 2
        rates = torch.zeros(3, pairs)
        rates[0, : pairs - 2 * space] = geometric(*TIME_RATES, pairs - 2 * space)
        rates[1, pairs - 2 * space : pairs - space] = geometric(*GRID_RATES, space)
        rates[2, pairs - space :] = geometric(*GRID_RATES, space)
        self.rates: Tensor
        self.register_buffer("rates", rates if placed else torch.zeros_like(rates), persistent=False)

    def forward(self, place: Tensor) -> Rotation:
        """Rotation of tokens at ``place`` (B or 1, N, 3): seconds from now, row, column."""
        angle = (place @ self.rates).unsqueeze(1)
        return Rotation(angle.cos(), angle.sin())

    def nowhere(self, tokens: int) -> Rotation:
        """The identity, for tokens without a place."""
        zero = self.rates.new_zeros(1, 1, tokens, self.rates.shape[1])
        return Rotation(zero + 1, zero)


class Sinusoids(nn.Module):
    """Fixed sine and cosine features of a scalar, (…,) -> (…, dim)."""

    def __init__(self, dim: int, lowest: float, highest: float) -> None:
        """``lowest``, ``highest``: rates [rad per unit of the scalar]."""
        super().__init__()
        self.rates: Tensor
        self.register_buffer("rates", geometric(lowest, highest, dim // 2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        angle = x[..., None] * self.rates
        return torch.cat([angle.sin(), angle.cos()], -1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, W) -> (B, heads, N, W / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


HIDDEN = -1e4
"""Added to the logit of a hidden key: its share is exactly zero. It is finite, so that a query to which everything is
hidden, which nothing then listens to, is no NaN."""


def visible(mask: Tensor) -> Tensor:
    """(B, K) bool, True where a key may be seen, as what is added to attention's logits, (B, 1, 1, K)."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, HIDDEN)[:, None, None]


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax attention of q (B, heads, N, d) over k, v (B, heads, K, d), with ``bias`` (B, 1, 1, K) on the logits.

    On a CPU the plain formula is faster than PyTorch's flash kernel for a few dozen tokens: by a quarter in fp32,
    five- to tenfold in bf16.
    """
    bias = None if bias is None else bias.to(q.dtype)
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return (logits if bias is None else logits + bias).softmax(-1).to(v.dtype) @ v


class SelfAttention(nn.Module):
    """Multi-head self-attention over placed tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: Rotation, bias: Tensor | None = None) -> Tensor:
        """x (B, N, W); bias (B, 1, 1, N) hides keys, see ``visible``. Returns (B, N, W)."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        y = attend(rotation(q), rotation(k), v, bias)
        return self.out(y.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Multi-head attention from placed tokens to context tokens, whose keys and values can be made once and kept."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, context: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """Rotated keys and values of the context (B, K, W), each (B, heads, K, head_dim)."""
        k, v = (split_heads(part, self.heads) for part in self.key_value(context).chunk(2, -1))
        return rotation(k), v

    def forward(self, x: Tensor, rotation: Rotation, keys_values: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
        """x (B, N, W); bias (B, 1, 1, K) hides keys, see ``visible``. Returns (B, N, W)."""
        q = rotation(split_heads(self.query(x), self.heads))
        y = attend(q, *keys_values, bias)
        return self.out(y.transpose(1, 2).flatten(2))
