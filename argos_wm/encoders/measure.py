"""Is an encoder fit to plan in? Its invariance, and probes of what its latents tell.

Invariance is the latents' change when only the background changes ÷ their change over 0.8 s of motion. The linear
probe asks for joints and blocks; the grounding probe asks, as the planner must, for the place of the block that a word
names, from latents and from pixels (FACTS: accept an encoder when the first comes near the second).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from argos_wm.data.views import Augment, EncoderViews
from argos_wm.encoders.vision import VisionEncoder
from argos_wm.latents import LatentStats

Encode = Callable[[Tensor], Tensor]
"""uint8 (B, 3, H, W) -> standardised latents (B, P, C)."""


@torch.no_grad()
def in_batches(encode: Encode, images: Tensor, batch: int = 256) -> Tensor:
    """``encode`` over many pictures."""
    return torch.cat([encode(part) for part in images.split(batch)])


@torch.no_grad()
def randomized(augment: Augment, images: Tensor, masks: Tensor, seed: int, batch: int = 256) -> Tensor:
    """``images`` as ``augment`` shows them under ``seed``; the caller's random state is left alone.

    The same seed gives the i-th picture the same background and light, whatever it shows.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.cat([augment(i, m.bool()) for i, m in zip(images.split(batch), masks.split(batch), strict=True)])


def measure_vision_stats(
    vision: VisionEncoder, views: EncoderViews, augment: Augment, proprio: Tensor, per_position: bool = True
) -> LatentStats:
    """Statistics of raw latents over randomized views, with those of raw proprioceptive latents ``proprio (N, D)``."""
    latents = in_batches(vision, randomized(augment, views.image_a, views.mask_a, seed=11))
    return LatentStats.measure(latents, proprio, per_position)


def invariance(encode: Encode, views: EncoderViews, augment: Augment, moving: float = 0.05) -> dict[str, float]:
    """The latents' change with the background against their change with time.

    Args:
        encode: pictures to standardised latents.
        views: held-out states.
        augment: randomization to withstand.
        moving: pairs of states whose joints differ by less [rad RMS] are left out.

    Returns:
        ``ratio``: ``background / motion``; ``background``: RMS change of a latent when background, light and noise
        are drawn anew; ``camera``: the same with the camera moved too; ``motion``: RMS change over 0.8 s before one
        background; ``pairs``: their number.
    """
    first, second = views.pairs.long().unbind(1)
    moved = (views.joints[first] - views.joints[second]).square().mean(1).sqrt() > moving
    first, second = first[moved], second[moved]

    def latents(ids: Tensor, seed: int, view: str = "a") -> Tensor:
        images, masks = getattr(views, f"image_{view}")[ids], getattr(views, f"mask_{view}")[ids]
        return in_batches(encode, randomized(augment, images, masks, seed))

    now = latents(first, seed=1)
    background = _rms(now - latents(first, seed=2))
    motion = _rms(now - latents(second, seed=1))
    camera = _rms(now - latents(first, seed=3, view="b"))
    return {
        "ratio": background / max(motion, 1e-6),
        "background": background,
        "camera": camera,
        "motion": motion,
        "pairs": float(len(first)),
    }


def _rms(x: Tensor) -> float:
    return float(x.float().square().mean().sqrt())


def linear_probe(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], ridge: float = 1e-2) -> Tensor:
    """Errors (N, K) on ``test`` of the ridge regression fitted on ``train``, both (features (N, F), targets (N, K)).

    Args:
        ridge: relative to the number of samples, for standardised features.
    """
    features, targets = train
    centre, mean = features.mean(0), targets.mean(0)
    x = features - centre
    gram = x.T @ x + ridge * len(x) * torch.eye(x.shape[1])
    weights = torch.linalg.solve(gram, x.T @ (targets - mean))
    return (test[0] - centre) @ weights + mean - test[1]


def probe_state(
    encode: Encode, train: EncoderViews, test: EncoderViews, augment: Augment, test_augment: Augment
) -> dict[str, float]:
    """Linear probe of joints and visible blocks.

    Returns:
        ``joints_rad``: RMS over all joints; ``arm_rad``: over the first four, which place the gripper; ``blocks_m``:
        RMS distance in the plane ÷ √2, that is per coordinate, over blocks that are seen.
    """
    features = [
        in_batches(encode, randomized(a, v.image_a, v.mask_a, seed=21)).flatten(1)
        for v, a in ((train, augment), (test, test_augment))
    ]
    joints = linear_probe((features[0], train.joints), (features[1], test.joints))
    blocks = linear_probe(
        (features[0], train.blocks[..., :2].flatten(1)), (features[1], test.blocks[..., :2].flatten(1))
    )
    seen = blocks.unflatten(1, (3, 2))[test.visible()]
    return {"joints_rad": _rms(joints), "arm_rad": _rms(joints[:, :4]), "blocks_m": _rms(seen)}


@dataclass(frozen=True)
class GroundingConfig:
    """Settings of the grounding probe."""

    steps: int = 400
    batch_size: int = 128
    learning_rate: float = 2e-3
    width: int = 64
    seed: int = 0


class _LatentProbe(nn.Module):
    """Latents (B, P, C) and a colour (B, 3) to a place (B, 2): the word picks features of each patch by FiLM."""

    def __init__(self, patches: int, channels: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(patches * channels, 4 * width)
        self.film = nn.Linear(3, 8 * width)
        self.leave = nn.Sequential(nn.Linear(4 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, 2))

    def forward(self, latents: Tensor, colour: Tensor) -> Tensor:
        gain, shift = self.film(colour).chunk(2, 1)
        return self.leave(torch.relu(self.enter(latents.flatten(1)) * (1 + gain) + shift))


class _PixelProbe(nn.Module):
    """Pictures (B, 3, H, W) and a colour (B, 3) to a place (B, 2): two FiLM convolutions and a spatial softmax."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, width // 2, 5, stride=2, padding=2), nn.BatchNorm2d(width // 2), nn.ReLU()
        )
        self.second = nn.Sequential(nn.Conv2d(width // 2, width, 5, padding=2), nn.BatchNorm2d(width))
        self.film = nn.Linear(3, 2 * width)
        self.maps = nn.Conv2d(width, 8, 1)
        self.leave = nn.Linear(16, 2)

    def forward(self, images: Tensor, colour: Tensor) -> Tensor:
        gain, shift = self.film(colour)[:, :, None, None].chunk(2, 1)
        x = torch.relu(self.second(self.first(images.float() / 255.0)) * (1 + gain) + shift)
        heat = self.maps(x)  # (B, 8, h, w)
        height, width = heat.shape[-2:]
        weight = heat.flatten(2).softmax(-1).unflatten(2, (height, width))
        x_mean = (weight.sum(2) * torch.linspace(-1, 1, width, device=heat.device)).sum(-1)
        y_mean = (weight.sum(3) * torch.linspace(-1, 1, height, device=heat.device)).sum(-1)
        return self.leave(torch.cat([x_mean, y_mean], 1))


def probe_grounding(
    inputs: Tensor,
    train: EncoderViews,
    tests: dict[str, Tensor],
    test: EncoderViews,
    cfg: GroundingConfig | None = None,
) -> dict[str, float]:
    """Train a small network from (input, colour word) to the named block's place.

    Args:
        inputs: of the training states: latents (N, P, C), or pictures uint8 (N, 3, H, W).
        tests: inputs of the test states, by the name of how they were randomized.

    Returns:
        ``<name>_right_m``: RMS error a coordinate [m] when the word is right; ``<name>_wrong_m``: with another
        block's word.
    """
    cfg = cfg or GroundingConfig()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(cfg.seed)
        probe = _PixelProbe(cfg.width) if inputs.ndim == 4 else _LatentProbe(*inputs.shape[1:], width=cfg.width)
        mean, std = train.blocks[..., :2].mean((0, 1)), train.blocks[..., :2].std((0, 1))
        choices = train.visible().nonzero()  # (K, 2): state, block
        optimizer = torch.optim.AdamW(probe.parameters(), lr=cfg.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg.steps)
        for _ in range(cfg.steps):
            state, block = choices[torch.randint(len(choices), (cfg.batch_size,))].unbind(1)
            place = probe(inputs[state], torch.eye(3)[block])
            loss = (place - (train.blocks[state, block, :2] - mean) / std).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    probe.eval()
    scores = {name: _score_grounding(probe, values, test, mean, std) for name, values in tests.items()}
    return {f"{name}_{k}": v for name, score in scores.items() for k, v in score.items()}


@torch.no_grad()
def _score_grounding(
    probe: nn.Module, inputs: Tensor, test: EncoderViews, mean: Tensor, std: Tensor
) -> dict[str, float]:
    state, block = test.visible().nonzero().unbind(1)
    target = test.blocks[state, block, :2]
    errors = {}
    for name, word in (("right_m", block), ("wrong_m", (block + 1) % 3)):
        places = [probe(inputs[s], torch.eye(3)[w]) for s, w in zip(state.split(512), word.split(512), strict=True)]
        errors[name] = _rms(torch.cat(places) * std + mean - target)
    return errors
