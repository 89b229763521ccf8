"""The planner's backbone: a diffusion transformer that turns a noisy future state into its guess of the clean one.

After DiT (arXiv 2212.09748), with what an instructed, acting robot adds:

- the target is P vision patches and one proprioception token, each with input and output layers of its own kind;
- a small context encoder reads memory, actions and text once a plan; every block then attends to what it wrote;
- text and actions also enter every block by adaLN: attention alone let such a model ignore them;
- the current state is added to the input at its own place, and to the output through a learned gate, so that
  "nothing changes" costs nothing to say.

Shapes: B batch, S history states, V cameras, P = V * rows * cols patches, C channels, D proprioceptive channels,
L words, A action steps, J joints, W width. Times are seconds from now; t is the flow's time, 1 for noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from argos_wm.attention import CrossAttention, RotaryPositions, Rotation, SelfAttention, Sinusoids, visible
from argos_wm.conditioning import Conditioning, Shapes
from argos_wm.encoders.text import TextFeatures
from argos_wm.flow import Parts
from argos_wm.latents import GAP, LatentState, patch_cells
from argos_wm.memory import MemoryTokens


class Size(NamedTuple):
    """Dimensions of a backbone."""

    width: int
    depth: int
    context_depth: int
    heads: int


SIZES = {
    "tiny": Size(128, 4, 2, 4),  # 2 M parameters: minutes on two CPU cores
    "small": Size(384, 12, 2, 6),  # DiT-S
    "base": Size(768, 12, 4, 12),  # DiT-B
    "large": Size(1024, 24, 4, 16),  # DiT-L
    "xl": Size(1152, 28, 4, 16),  # DiT-XL
}


ALIGNED = {"cuda": 8}
"""Keys that attention reads at once on a device: where their number is no multiple, masks are read one by one."""


@dataclass
class Context:
    """What stays the same over a plan's solver steps: everything but the noisy target and the flow's time.

    Attributes:
        current: the state now, vision (B, P, C) and proprio (B, D).
        vector: (B, W) conditioning of adaLN, before the flow's time is added.
        rotation: places of the target's P + 1 tokens.
        keys_values: for each block, keys and values of the context.
        bias: (B, 1, 1, K), what hides context tokens that are not there.
        target_bias: (B, 1, 1, P + 1), what hides the target's proprioception and cameras where there are none, or None.
    """

    current: LatentState
    vector: Tensor
    rotation: Rotation
    keys_values: list[tuple[Tensor, Tensor]]
    bias: Tensor
    target_bias: Tensor | None = None


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """adaLN: x (B, N, W), already normalised, with shift and scale (B, 1, W)."""
    return torch.addcmul(shift, x, 1 + scale)


class Block(nn.Module):
    """adaLN-Zero block: self-attention, cross-attention to the context, MLP, each modulated and gated by a vector."""

    sharded_methods = ("keys_values",)
    """See ``training/parallel.py``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 9 * width)
        self.attention = SelfAttention(width, heads)
        self.cross = CrossAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def keys_values(self, context: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """What ``forward`` reads the context (B, K, W) by; see ``CrossAttention``."""
        return self.cross.keys_values(context, rotation)

    def forward(
        self,
        x: Tensor,
        vector: Tensor,
        rotation: Rotation,
        keys_values: tuple[Tensor, Tensor],
        context_bias: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        """x (B, N, W), vector (B, W) -> (B, N, W)."""
        shift_a, scale_a, gate_a, shift_c, scale_c, gate_c, shift_m, scale_m, gate_m = (
            self.modulation(F.silu(vector)).unsqueeze(1).chunk(9, -1)
        )
        x = x + gate_a * self.attention(modulate(self.norm(x), shift_a, scale_a), rotation, bias)
        x = x + gate_c * self.cross(modulate(self.norm(x), shift_c, scale_c), rotation, keys_values, context_bias)
        return x + gate_m * self.mlp(modulate(self.norm(x), shift_m, scale_m))


class Blocks(nn.ModuleList):
    """A list of blocks whose members are known to be blocks."""

    def __init__(self, depth: int, width: int, heads: int) -> None:
        super().__init__(Block(width, heads) for _ in range(depth))

    def __iter__(self) -> Iterator[Block]:
        return iter(self._modules.values())  # pyright: ignore[reportReturnType]


class DiT(nn.Module):
    """``encode_context`` once a plan, then ``forward`` once a solver evaluation."""

    def __init__(self, size: Size, shapes: Shapes, seed_design: bool = False) -> None:
        """``seed_design``: see ``WorldModelConfig.design``."""
        super().__init__()
        if size.width % size.heads:
            raise ValueError(f"A width of {size.width} cannot be split into {size.heads} heads.")
        width = size.width
        self.shapes, self.placed = shapes, not seed_design
        self.rotary = RotaryPositions(width // size.heads, self.placed)
        self.condition = Conditioning(shapes, width, seed_design)
        self.flow_time = nn.Sequential(
            Sinusoids(width, 1.0, 200.0), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.place = nn.Linear(4 * (width // 4), width, bias=False)
        self.place.requires_grad_(self.placed)
        self.place_sinusoids = Sinusoids(2 * (width // 4), 0.1, 3.0)
        self.past_vision, self.past_proprio = nn.Linear(shapes.channels, width), nn.Linear(shapes.proprio_dim, width)
        self.now_vision, self.now_proprio = nn.Linear(shapes.channels, width), nn.Linear(shapes.proprio_dim, width)
        self.noisy_vision, self.noisy_proprio = nn.Linear(shapes.channels, width), nn.Linear(shapes.proprio_dim, width)
        self.checkpoint_activations = False
        """Compute blocks' activations again in the backward pass instead of keeping them: less memory, a third more
        time. Set by the training loop."""
        self.context_blocks = Blocks(size.context_depth, width, size.heads)
        self.blocks = Blocks(size.depth, width, size.heads)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.gate = nn.Linear(width, shapes.channels + shapes.proprio_dim)
        self.clean_vision, self.clean_proprio = nn.Linear(width, shapes.channels), nn.Linear(width, shapes.proprio_dim)
        self.grid: Tensor
        self.register_buffer("grid", patch_cells(shapes.rows, shapes.cols, shapes.cameras), persistent=False)
        self.centre: Tensor
        centre = torch.tensor([[(shapes.rows - 1) / 2, (shapes.cols - 1) / 2]])
        self.register_buffer("centre", centre, persistent=False)
        self.initialise()

    def initialise(self) -> None:
        """Everything that starts at zero starts at zero here.

        Zero gates make every block the identity, zero output layers and gates make the first prediction the current
        state; training then adds what helps.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for learned in (self.condition.always, self.condition.null_text, self.condition.null_actions):
            nn.init.normal_(learned, std=0.02)
        for block in (*self.context_blocks, *self.blocks):
            nn.init.zeros_(block.modulation.weight)
        for layer in (self.modulation, self.gate, self.clean_vision, self.clean_proprio):
            nn.init.zeros_(layer.weight)

    def encode_context(
        self,
        history: LatentState,
        history_mask: Tensor,
        horizon: Tensor,
        text: TextFeatures,
        actions: Tensor,
        has_actions: Tensor,
        *,
        goal: LatentState | None = None,
        has_goal: Tensor | None = None,
        has_proprio: Tensor | None = None,
        has_cameras: Tensor | None = None,
        memory: MemoryTokens | None = None,
    ) -> Context:
        """Read everything that does not change while a plan is sampled.

        Args:
            history: (B, S, …), oldest first; ``time`` (B, S) in seconds from now, the last one 0.
            history_mask: (B, S) bool. Where not even the last state, the current one, is known, as when a picture is
                to be imagined from words alone, it is as if it were the mean of all states.
            horizon: (B,) seconds from now to the target.
            text: rows without a token are the null condition.
            actions: (B, A, J), mean torque over A equal parts of the horizon, in units of each joint's limit.
            has_actions: (B,) bool; where False, the actions are the null condition.
            goal: (B, …) a state to come, ``time`` (B,) in seconds from now; it is read like a remembered one.
            has_goal: (B,) bool; where False, the goal is as if it were not there.
            has_proprio: (B,) bool; where False, so is all proprioception.
            has_cameras: (B, V) bool; where False, so is all that this camera sees.
            memory: further tokens to read.
        """
        batch = history_mask.shape[0]  # not len(), which an export takes for a constant
        vector = self.condition.vector(horizon, text, actions, has_actions)
        words, words_mask = _padded(*self.condition.text_tokens(text))
        states, mask = history, history_mask
        if goal is not None:
            told = mask.new_ones(batch) if has_goal is None else has_goal
            states, mask = LatentState.cat([states, goal[:, None]], dim=1), torch.cat([mask, told[:, None]], 1)
        tokens = [self._tokens(self.past_vision(states.vision), self.past_proprio(states.proprio)).flatten(1, 2)]
        places, masks = [self._places(states.time)], [self._per_token(mask, has_proprio, has_cameras)]
        if memory is not None:
            tokens.append(self.past_vision(memory.vision) + self._where(memory.place[..., 1:]))
            there = memory.mask if has_cameras is None else memory.mask & self._seen_by(memory.place, has_cameras)
            places, masks = [*places, memory.place], [*masks, there]
        tokens.append(self.condition.action_token(actions))
        places.append(self._centred(_middles(horizon, actions.shape[1])))
        masks.append(has_actions[:, None].expand(-1, actions.shape[1]))
        x, there = _padded(torch.cat(tokens, 1), torch.cat(masks, 1))
        place = torch.cat(places, 1)
        place = F.pad(place, (0, 0, 0, x.shape[1] - place.shape[1]))
        rotation, unplaced = self.rotary(place), self.rotary.nowhere(words.shape[1])
        words_bias, bias = visible(words_mask), visible(there)
        for block in self.context_blocks:
            x = self._run(block, x, vector, rotation, block.keys_values(words, unplaced), words_bias, bias)
        # Autocast normalises in float32; every block's products read this, and it is rounded for them once.
        context, always = torch.cat([self.norm(x), words], 1).to(x.dtype), mask.new_ones(batch, 1)
        everywhere = Rotation.cat([rotation, unplaced], batch)
        known = history_mask[:, -1].to(history.vision.dtype)
        seen = known[:, None] if has_cameras is None else known[:, None] * self._per_patch(has_cameras)
        all_there = has_proprio is None and has_cameras is None
        hidden = None if all_there else visible(self._per_token(always, has_proprio, has_cameras))
        return Context(
            current=LatentState(
                history.vision[:, -1] * seen[..., None],
                history.proprio[:, -1] * known[:, None],
                history.time[:, -1],
            ),
            vector=vector,
            rotation=self.rotary(self._places(horizon[:, None])),
            keys_values=[block.keys_values(context, everywhere) for block in self.blocks],
            bias=torch.cat([bias, words_bias], -1),
            target_bias=hidden,
        )

    def forward(self, noisy: Parts, t: Tensor, context: Context) -> Parts:
        """Guess the clean target.

        Args:
            noisy: vision (B, P, C) and proprio (B, D) at flow time t.
            t: (B,).

        Returns:
            clean vision (B, P, C) and proprio (B, D).
        """
        now = context.current
        x = self._tokens(
            self.noisy_vision(noisy[0]) + self.now_vision(now.vision),
            self.noisy_proprio(noisy[1]) + self.now_proprio(now.proprio),
        )
        vector = context.vector + self.flow_time(t)
        for block, keys_values in zip(self.blocks, context.keys_values, strict=True):
            x = self._run(block, x, vector, context.rotation, keys_values, context.bias, context.target_bias)
        vector = F.silu(vector)
        shift, scale = self.modulation(vector).unsqueeze(1).chunk(2, -1)
        x = modulate(self.norm(x), shift, scale)
        gate_vision, gate_proprio = (1 + self.gate(vector)).split([self.shapes.channels, self.shapes.proprio_dim], -1)
        vision = self.clean_vision(x[:, :-1]) + gate_vision[:, None] * now.vision
        proprio = self.clean_proprio(x[:, -1]) + gate_proprio * now.proprio
        return vision, proprio

    def _tokens(self, vision: Tensor, proprio: Tensor) -> Tensor:
        """Join embedded vision (…, P, W) and proprio (…, W) to (…, P + 1, W), and tell each patch where it is."""
        return torch.cat([vision + self._where(self.grid), proprio.unsqueeze(-2)], -2)

    def _run(self, block: Block, *inputs: Any) -> Tensor:
        if self.checkpoint_activations and torch.is_grad_enabled():
            again: Any = checkpoint(block, *inputs, use_reentrant=False)
            return again
        return block(*inputs)

    def _where(self, cells: Tensor) -> Tensor:
        """Embedding (…, W) of rows and columns (…, 2)."""
        where = self.place(self.place_sinusoids(cells).flatten(-2))
        return where if self.placed else torch.zeros_like(where)

    def _seen_by(self, place: Tensor, has_cameras: Tensor) -> Tensor:
        """(B, M) bool: whether the camera is there that saw the tokens at ``place`` (B, M, 3)."""
        camera = (place[..., 2] / (self.shapes.cols + GAP)).long().clamp(0, self.shapes.cameras - 1)
        return has_cameras.gather(1, camera)

    def _per_patch(self, has_cameras: Tensor) -> Tensor:
        """Cameras (B, V) as their patches (B, P)."""
        return has_cameras.repeat_interleave(self.shapes.rows * self.shapes.cols, 1)

    def _per_token(self, mask: Tensor, has_proprio: Tensor | None, has_cameras: Tensor | None) -> Tensor:
        """Mask (B, S (P + 1)) of the tokens of states (B, S)."""
        felt = mask if has_proprio is None else mask & has_proprio[:, None]
        seen = mask[..., None].expand(-1, -1, self.shapes.patches)
        seen = seen if has_cameras is None else seen & self._per_patch(has_cameras)[:, None]
        return torch.cat([seen, felt[..., None]], -1).flatten(1)

    def _places(self, time: Tensor) -> Tensor:
        """Places (B, S (P + 1), 3) of the tokens of states at ``time`` (B, S); joints are at the grid's centre."""
        return _placed(time, torch.cat([self.grid, self.centre])).flatten(1, 2)

    def _centred(self, time: Tensor) -> Tensor:
        """Places (B, N, 3) at the grid's centre at ``time`` (B, N)."""
        return _placed(time, self.centre).flatten(1, 2)


def _padded(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B, N, W) and their mask (B, N), with hidden ones at the end that make N a multiple of ``ALIGNED``."""
    missing = -tokens.shape[1] % ALIGNED.get(tokens.device.type, 1)
    return F.pad(tokens, (0, 0, 0, missing)), F.pad(mask, (0, missing))


def _placed(time: Tensor, cells: Tensor) -> Tensor:
    """Every time (B, S) at every cell (N, 2), (B, S, N, 3)."""
    shape = (*time.shape, cells.shape[0])
    return torch.cat([time[..., None].expand(shape)[..., None], cells.expand(*shape, 2)], -1)


def _middles(horizon: Tensor, parts: int) -> Tensor:
    """(B, parts) seconds: the middles of equal parts of the time from now to the horizon (B,)."""
    return horizon[:, None] * (torch.arange(parts, device=horizon.device) + 0.5) / parts
