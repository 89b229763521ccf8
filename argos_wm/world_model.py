"""The world model: from memory, words and actions to the next latent state.

A flow-matching diffusion transformer (``dit.py``, ``flow.py``) that predicts vision and proprioception at any
horizon. The objective ``mean`` trains the same network to regress the mean future instead: the deterministic
baseline that a generative planner must beat.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from argos_wm import flow
from argos_wm.checkpoint import CheckpointError, load_into, load_json, load_tensors, save_json, save_tensors
from argos_wm.conditioning import Shapes
from argos_wm.data.windows import Windows
from argos_wm.dit import SIZES, DiT, Size
from argos_wm.encoders.text import TextFeatures
from argos_wm.flow import Parts, Solver
from argos_wm.latents import LatentSpec, LatentState, camera_weights
from argos_wm.memory import MemoryTokens

WEIGHTS, SETTINGS = "planner.safetensors", "planner.json"
CHOICES = {
    "objective": ("flow", "mean"),
    "design": ("argos", "seed"),
    "precision": ("auto", "fp32", "bf16"),
    "size": tuple(SIZES),
}


@dataclass(frozen=True)
class WorldModelConfig:
    """Settings of the world model that its weights depend on."""

    size: str = "tiny"
    """A name in ``dit.SIZES``; the next four override its numbers."""
    width: int | None = None
    depth: int | None = None
    context_depth: int | None = None
    heads: int | None = None
    history: tuple[float, ...] = (-0.8, 0.0)
    """Offsets of the states it remembers [s], oldest first, ending in 0."""
    action_steps: int = 4
    """Equal parts of the horizon over which actions are averaged."""
    objective: Literal["flow", "mean"] = "flow"
    design: Literal["argos", "seed"] = "argos"
    """``seed`` is the design that ARGOS began with, kept to compare with: no positions anywhere, and text and actions
    by cross-attention alone."""
    text_dropout: float = 0.1
    """Share of examples without their instruction, for guidance."""
    action_dropout: float = 0.75
    """Share without their actions: planning knows none."""
    context_noise: float = 0.2
    """Standard deviation of noise on remembered states, which makes roll-outs forgive their own errors."""
    context_noise_share: float = 0.5
    """Share of examples with that noise."""
    proprio_weight: float = 1.0
    """Weight of the proprioceptive loss beside vision's; each is a mean over its own dimensions."""
    time_mean: float = 2.0
    time_std: float = 1.0
    """Mean and standard deviation of the logit of the flow's training times. The mean is far on the noisy side, median
    t = 0.88, because anywhere else the noisy target itself gives the answer away and the instruction is not needed.
    In a toy world of three goals, 400 steps with a mean of 0 left right and wrong instructions alike (error ratio
    1.00); with 2 they were told apart threefold (2.98), nearly as by regression (3.5)."""
    time_shift: float | None = None
    """Shift of the flow's times toward noise; by default derived from the latent's dimensions."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the matrix products; auto is bf16 where the hardware multiplies it, which halves a step on such a CPU."""

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"The world model's {name} is {getattr(self, name)!r}; choose {' or '.join(choices)}.")
        if not self.history or self.history[-1] != 0 or list(self.history) != sorted(set(self.history)):
            raise ValueError(f"The history offsets {self.history} must rise and end in 0, the current state.")

    def dimensions(self) -> Size:
        """The named size with its overrides."""
        given = {name: getattr(self, name) for name in Size._fields}
        return SIZES[self.size]._replace(**{k: v for k, v in given.items() if v is not None})


class WorldModel(nn.Module):
    """Predicts the ``LatentState`` at a horizon."""

    sharded_methods = ("sample",)
    """See ``training/parallel.py``."""

    def __init__(self, config: WorldModelConfig, spec: LatentSpec, text_dim: int, action_dim: int) -> None:
        """
        Args:
            config: settings.
            spec: whose latents it predicts.
            text_dim: width of the text encoder's tokens.
            action_dim: J, number of joints.
        """
        super().__init__()
        self.config, self.spec, self.text_dim, self.action_dim = config, spec, text_dim, action_dim
        shapes = Shapes(
            spec.rows,
            spec.cols,
            spec.channels,
            spec.proprio_dim,
            text_dim,
            config.action_steps,
            action_dim,
            len(spec.cameras),
        )
        self.dit = DiT(config.dimensions(), shapes, config.design == "seed")
        dimensions = spec.patches * spec.channels
        self.shift = flow.dimension_shift(dimensions) if config.time_shift is None else config.time_shift

    def forward(self, windows: Windows, text: TextFeatures, per_row: bool = False) -> dict[str, Tensor]:
        """``loss``, as it is called through a wrapper that exchanges gradients."""
        return self.loss(windows, text, per_row)

    def loss(self, windows: Windows, text: TextFeatures, per_row: bool = False) -> dict[str, Tensor]:
        """Training loss of B windows and their instructions.

        Returns:
            ``loss``, its two halves, and the RMS errors of the clean guess in standardised units; with ``per_row`` also
            ``row_loss`` (B,), without its gradient.
        """
        cfg, target, batch = self.config, windows.target, len(windows)
        device = windows.horizon.device
        keep_text = torch.rand(batch, device=device) >= cfg.text_dropout
        has_actions = torch.rand(batch, device=device) >= cfg.action_dropout
        if windows.has_actions is not None:
            has_actions = has_actions & windows.has_actions
        text = TextFeatures(text.tokens, text.mask & keep_text[:, None])
        x0 = (target.vision, target.proprio)
        noise = tuple(torch.randn_like(x) for x in x0)
        if cfg.objective == "flow":
            t = flow.training_times(batch, self.shift, cfg.time_mean, cfg.time_std, device=str(device))
        else:
            t, noise = torch.ones(batch, device=device), tuple(torch.zeros_like(x) for x in x0)
        history = self._disturbed(windows.history)
        with self._autocast(device):
            context = self.dit.encode_context(
                history,
                windows.history_mask,
                windows.horizon,
                text,
                windows.actions,
                has_actions,
                goal=windows.goal,
                has_goal=windows.has_goal,
                has_proprio=windows.has_proprio,
                has_cameras=windows.has_cameras,
                memory=windows.memory,
            )
            guess = self.dit(flow.interpolate(x0, noise, t), t, context)
        felt = torch.ones_like(t) if windows.has_proprio is None else windows.has_proprio.to(t.dtype)
        seen = camera_weights(windows.has_cameras, self.spec.patches)
        vision = flow.velocity_loss(seen * guess[0].float(), seen * target.vision, t)
        proprio = flow.velocity_loss(guess[1].float(), target.proprio, t)
        row_loss = ((vision + cfg.proprio_weight * felt * proprio) / (1 + cfg.proprio_weight)).detach()
        vision, proprio = vision.mean(), (felt * proprio).mean()
        errors = [
            (weight * (g.detach().float() - x)).square().flatten(1).mean(1)
            for weight, g, x in zip((seen, 1.0), guess, x0, strict=True)
        ]
        return {
            "loss": (vision + cfg.proprio_weight * proprio) / (1 + cfg.proprio_weight),
            "vision_loss": vision.detach(),
            "proprio_loss": proprio.detach(),
            "vision_error": errors[0].mean().sqrt(),
            "proprio_error": ((felt * errors[1]).sum() / felt.sum().clamp_min(1)).sqrt(),
        } | ({"row_loss": row_loss} if per_row else {})

    @torch.no_grad()
    def sample(
        self,
        history: LatentState,
        history_mask: Tensor,
        text: TextFeatures | None,
        horizon: Tensor,
        actions: Tensor | None = None,
        *,
        goal: LatentState | None = None,
        has_goal: Tensor | None = None,
        has_proprio: Tensor | None = None,
        has_cameras: Tensor | None = None,
        memory: MemoryTokens | None = None,
        steps: int = 6,
        solver: Solver = "heun",
        guidance_scale: float = 1.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        temperature: float = 1.0,
        noise: Parts | None = None,
        generator: torch.Generator | None = None,
    ) -> LatentState:
        """Draw the state at ``horizon`` seconds from now.

        Args:
            history: (B, S, …), oldest first, the current state last, on any clock.
            history_mask: (B, S) bool, False for states that are not known.
            text: B instructions, or None for none.
            horizon: (B,) [s].
            actions: (B, A, J) as in ``Windows``, or None for none.
            goal: (B, …) a state to come, on the history's clock, or None; ``has_goal`` (B,) bool says for whom.
            has_proprio: (B,) bool, False where nothing is known of joints; what is then sampled of them means nothing.
            has_cameras: (B, V) bool, False for a camera that is not there; of it too.
            memory: (B, M, …) further tokens, their times in seconds from now.
            steps, solver: of the flow; the objective ``mean`` needs and uses one evaluation.
            guidance_scale: 1 is the conditional model; only the instruction is guided, actions are kept.
            guidance_interval: flow times at which guidance applies.
            temperature: factor on the noise to start from.
            noise: vision (B, P, C) and proprio (B, D) to start from; drawn from ``generator`` if None.

        Returns:
            (B, …), ``time`` on the history's clock.
        """
        now = history.time[:, -1]
        batch, device = now.shape[0], now.device
        relative = LatentState(history.vision, history.proprio, history.time - now[:, None])
        has_actions = torch.full((batch,), actions is not None, device=device)
        if goal is not None:
            goal = LatentState(goal.vision, goal.proprio, goal.time - now)
        if actions is None:
            actions = torch.zeros(batch, self.config.action_steps, self.action_dim, device=device)
        known = no_text(batch, self.text_dim, device) if text is None else text
        with self._autocast(device):

            def predictor(text: TextFeatures) -> flow.Predict:
                context = self.dit.encode_context(
                    relative,
                    history_mask,
                    horizon,
                    text,
                    actions,
                    has_actions,
                    goal=goal,
                    has_goal=has_goal,
                    has_proprio=has_proprio,
                    has_cameras=has_cameras,
                    memory=memory,
                )
                return lambda x, t: _in_float(self.dit(x, torch.full_like(now, t), context))

            predict = predictor(known)
            if guidance_scale != 1.0 and text is not None:
                unknown = predictor(no_text(batch, self.text_dim, device))
                predict = flow.guided(predict, unknown, guidance_scale, guidance_interval)
            if self.config.objective == "mean":
                vision, proprio = predict(self._zeros(batch, device), 1.0)
            else:
                start = self.noise(batch, device, generator) if noise is None else noise
                start = tuple(temperature * x for x in start)
                vision, proprio = flow.sample(predict, start, steps, solver, self.shift)
        return LatentState(vision, proprio, now + horizon)

    def noise(self, batch: int, device: torch.device | str, generator: torch.Generator | None = None) -> Parts:
        """Unit Gaussian vision (B, P, C) and proprio (B, D), drawn on the generator's device."""
        source = generator.device if generator is not None else device
        return tuple(
            torch.randn(x.shape, generator=generator, device=source).to(device) for x in self._zeros(batch, "meta")
        )

    def save(self, folder: Path, extra: dict[str, Any] | None = None) -> None:
        """Write ``planner.safetensors`` and ``planner.json`` (settings, spec, ``extra`` such as the text encoder)."""
        save_tensors(folder / WEIGHTS, self.state_dict())
        settings = {
            "config": asdict(self.config),
            "spec": self.spec.to_json(),
            "text_dim": self.text_dim,
            "action_dim": self.action_dim,
        }
        save_json(folder / SETTINGS, settings | {"extra": extra or {}})

    def start_from(self, folder: Path) -> None:
        """Take over the weights of a trained world model of the same latents and sizes, to train them further."""
        settings = load_json(folder / SETTINGS)
        spec = LatentSpec.from_json(settings.get("spec", {}))
        self.spec.require(spec, "the demonstrations", f"the planner {folder} to start from")
        for name in ("objective", "design", "history", "action_steps"):
            mine, theirs = getattr(self.config, name), settings.get("config", {}).get(name, getattr(self.config, name))
            if mine != (tuple(theirs) if isinstance(theirs, list) else theirs):
                raise CheckpointError(
                    f"The planner {folder} to start from has {name}={theirs!r}, and {mine!r} is trained."
                )
        load_into(self, load_tensors(folder / WEIGHTS), folder / WEIGHTS)

    @staticmethod
    def load(folder: Path, device: torch.device | str = "cpu") -> WorldModel:
        """Read a world model, in evaluation mode; its ``extra`` is read by ``load_extra``."""
        settings = load_json(folder / SETTINGS)
        missing = {"config", "spec", "text_dim", "action_dim"} - set(settings)
        if missing:
            raise CheckpointError(f"{folder / SETTINGS} lacks {', '.join(sorted(missing))}. Train the planner again.")
        known = {f.name for f in fields(WorldModelConfig)}
        unknown = set(settings["config"]) - known
        if unknown:
            raise CheckpointError(f"{folder / SETTINGS} has unknown settings {', '.join(sorted(unknown))}.")
        config = settings["config"] | {"history": tuple(settings["config"].get("history", (-0.8, 0.0)))}
        spec = LatentSpec.from_json(settings["spec"])
        model = WorldModel(WorldModelConfig(**config), spec, settings["text_dim"], settings["action_dim"])
        load_into(model, load_tensors(folder / WEIGHTS), folder / WEIGHTS)
        return model.to(device).eval()

    def _disturbed(self, history: LatentState) -> LatentState:
        """The history with noise on a share of the batch."""
        cfg, batch = self.config, len(history)
        chosen = torch.rand(batch, device=history.time.device) < cfg.context_noise_share
        amount = torch.rand(batch, device=history.time.device) * cfg.context_noise * chosen

        def disturb(x: Tensor) -> Tensor:
            return x + flow.along(amount, x) * torch.randn_like(x)

        return LatentState(disturb(history.vision), disturb(history.proprio), history.time)

    def _zeros(self, batch: int, device: torch.device | str) -> Parts:
        spec = self.spec
        return (
            torch.zeros(batch, spec.patches, spec.channels, device=device),
            torch.zeros(batch, spec.proprio_dim, device=device),
        )

    def autocasts(self, device: torch.device) -> bool:
        """Whether matrix products are in bfloat16 on this device."""
        return {"auto": has_bfloat16(device), "bf16": True, "fp32": False}[self.config.precision]

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.autocasts(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


def no_text(batch: int, dim: int, device: torch.device | str) -> TextFeatures:
    """The null instruction, B times: one word, masked."""
    return TextFeatures(
        torch.zeros(batch, 1, dim, device=device), torch.zeros(batch, 1, dtype=torch.bool, device=device)
    )


def load_extra(folder: Path) -> dict[str, Any]:
    """What was saved beside a world model's weights, such as the name of its text encoder and its figures."""
    return load_json(folder / SETTINGS).get("extra", {})


def _in_float(parts: Parts) -> Parts:
    return tuple(x.float() for x in parts)
