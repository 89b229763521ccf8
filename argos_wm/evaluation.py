"""Figures of the planner on held-out demonstrations, each with its number of windows and a 95 % interval.

Errors are root mean squares in standardised latents: ``vision`` over P * C, ``proprio`` over D, and ``state`` over all
P * C + D dimensions. A ratio divides the planner's by that of repeating the current latent, both over the same windows:
those during which the arm moves. Intervals resample whole episodes, because windows of one episode are alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from argos_wm.data.instructions import Instructions
from argos_wm.data.latent_cache import LatentCache
from argos_wm.data.windows import WindowConfig, Windows
from argos_wm.encoders.measure import linear_probe
from argos_wm.encoders.text import TextFeatures
from argos_wm.latents import LatentState
from argos_wm.planner import Planner, rollout
from argos_wm.world_model import WorldModel

Figures = dict[str, float | list[float]]
PARTS = ("vision", "proprio", "state")
PROBED = 8192
"""Frames that the linear probe of the objects' places is fitted on, at most."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How the planner is judged."""

    windows: int = 512
    """Most windows a figure, spread evenly over those there are."""
    targets: int = 3
    """States rolled out: 0.8, 1.6 and 2.4 s at the default period."""
    resamples: int = 1000
    """Of the bootstrap."""
    batch: int = 128
    """Windows sampled at once."""
    seed: int = 0


def evaluate_planner(
    planner: Planner,
    cache: LatentCache,
    episodes: Tensor,
    instructions: Instructions,
    windows: WindowConfig,
    cfg: EvaluationConfig = EvaluationConfig(),
    mean_predictor: WorldModel | None = None,
    decode: Callable[[Tensor], Tensor] | None = None,
) -> Figures:
    """All figures of a planner, by stable names under ``planner.``.

    Args:
        planner: a trained planner.
        cache: demonstrations of its latents.
        episodes: the held-out ones.
        instructions: of the whole cache, with their groups.
        windows: the period and what counts as moving and as the start.
        mean_predictor: the same network trained to predict the mean, for comparison.
        decode: standardised proprioception (…, D) to raw (…, 2J), for errors in radians.
    """
    planner.spec.require(cache.spec, "the planner", "the evaluation's latent cache")
    figures: Figures = {}
    models = {"": planner.world_model} | ({"mean_predictor_": mean_predictor} if mean_predictor else {})
    for targets in range(1, cfg.targets + 1):
        seconds = f"{targets * windows.period:.1f}s"
        batch = moving_windows(planner.world_model, cache, episodes, windows, targets, cfg.windows)
        if not len(batch):
            continue
        figures[f"planner.windows_{seconds}"] = float(len(batch))
        repeated = squared_errors(batch.history[:, -1], batch.target)
        text = instructions.right(batch.episode)
        for name, model in models.items():
            guess = roll_out(model, batch, text, targets, windows.period, planner, cfg)
            errors = squared_errors(guess, batch.target)
            for part in PARTS:
                key = f"planner.{name}{'' if part == 'state' else part + '_'}"
                _add(figures, f"{key}error_{seconds}", *_rms(errors[part], batch.episode, cfg))
                _add(figures, f"{key}error_ratio_{seconds}", *_ratio(errors[part], repeated[part], batch.episode, cfg))
    figures |= text_figures(planner, cache, episodes, instructions, windows, cfg, decode)
    return figures | action_figures(planner, cache, episodes, instructions, windows, cfg)


def text_figures(
    planner: Planner,
    cache: LatentCache,
    episodes: Tensor,
    instructions: Instructions,
    windows: WindowConfig,
    cfg: EvaluationConfig,
    decode: Callable[[Tensor], Tensor] | None,
) -> Figures:
    """Errors one period ahead with the right, a wrong and no instruction, at the start of each episode and late in it.

    ``planner.text_sensitivity`` is the proprioceptive error with a wrong instruction ÷ that with the right one, at the
    start; ``planner.late.text_sensitivity`` the same before the last target, when a planner could go on as the arm has
    come, whatever it is asked for.
    """
    figures: Figures = {}
    for time, periods in (("start", 0), ("late", cfg.targets - 1)):
        batch = windows_after(planner.world_model, cache, episodes, windows, periods)
        if not len(batch):
            continue
        figures[f"planner.{time}.windows"] = float(len(batch))
        said: dict[str, TextFeatures | None] = {"right": instructions.right(batch.episode), "no": None}
        if instructions.can_be_wrong:
            said["wrong"] = instructions.wrong(batch.episode, cfg.seed)
        squared: dict[str, Tensor] = {}
        for name, text in said.items():
            guess = roll_out(planner.world_model, batch, text, 1, windows.period, planner, cfg)
            squared[name] = squared_errors(guess, batch.target)["proprio"]
            _add(figures, f"planner.{time}.proprio_error_{name}", *_rms(squared[name], batch.episode, cfg))
            if decode is not None:
                joints = cache.positions.shape[1]
                truth = cache.positions[batch.frame + round(windows.period * cache.fps)]
                wrong_by = (decode(guess.proprio)[:, :joints].cpu() - truth).square().mean(-1)
                _add(figures, f"planner.{time}.joint_error_rad_{name}", *_rms(wrong_by, batch.episode, cfg))
        if "wrong" in squared:
            ratio = _ratio(squared["wrong"], squared["right"], batch.episode, cfg)
            _add(figures, "planner.text_sensitivity" if time == "start" else f"planner.{time}.text_sensitivity", *ratio)
    return figures


def action_figures(
    planner: Planner,
    cache: LatentCache,
    episodes: Tensor,
    instructions: Instructions,
    windows: WindowConfig,
    cfg: EvaluationConfig,
) -> Figures:
    """Errors one period ahead when the actions are told: the true ones, none, zeros, and those of another window.

    ``planner.action_sensitivity`` is the proprioceptive error with another window's actions ÷ that with the true ones.
    Where an expert does as it is told, the words say most of what the actions would; names with ``unsaid`` are of the
    same windows without their words.
    """
    batch = moving_windows(planner.world_model, cache, episodes, windows, 1, cfg.windows)
    if len(batch) < 2 or (batch.has_actions is not None and not batch.has_actions.any()):
        return {}
    figures: Figures = {}
    true = batch.actions
    told = {"true": true, "zero": torch.zeros_like(true), "shuffled": true.roll(len(batch) // 2, 0), "no": None}
    for key, suffix, text in (("", "", instructions.right(batch.episode)), ("unsaid_", "_unsaid", None)):
        squared: dict[str, Tensor] = {}
        for name, actions in told.items():
            guess = roll_out(planner.world_model, batch, text, 1, windows.period, planner, cfg, actions)
            errors = squared_errors(guess, batch.target)
            squared[name] = errors["proprio"]
            _add(figures, f"planner.actions.{key}error_{name}", *_rms(errors["state"], batch.episode, cfg))
            _add(figures, f"planner.actions.{key}proprio_error_{name}", *_rms(errors["proprio"], batch.episode, cfg))
        ratio = _ratio(squared["shuffled"], squared["true"], batch.episode, cfg)
        _add(figures, f"planner.action_sensitivity{suffix}", *ratio)
    return figures


def object_figures(
    planner: Planner,
    cache: LatentCache,
    training: Tensor,
    episodes: Tensor,
    instructions: Instructions,
    windows: WindowConfig,
    cfg: EvaluationConfig = EvaluationConfig(),
) -> Figures:
    """How well a linear probe reads the objects' places from predicted latents, and from the true ones beside them [m].

    The probe is fitted on the training episodes' own latents. RMS a coordinate in the plane, over objects that the
    recording tells of (``environment_state``: seven numbers an object, its position first).
    """
    if cache.environment_state is None:
        return {}
    places = cache.environment_state.unflatten(1, (-1, 7))[..., :2].flatten(1)
    frames = torch.arange(len(cache.episode_of))[torch.isin(cache.episode_of, training)]
    frames = frames[torch.linspace(0, len(frames) - 1, min(len(frames), PROBED)).long()]
    fitted = (cache.vision[frames].float().flatten(1), places[frames])
    figures: Figures = {}
    for targets in range(1, cfg.targets + 1):
        batch = moving_windows(planner.world_model, cache, episodes, windows, targets, cfg.windows)
        if not len(batch):
            continue
        then = batch.frame + round(targets * windows.period * cache.fps)
        text = instructions.right(batch.episode)
        guess = roll_out(planner.world_model, batch, text, targets, windows.period, planner, cfg)
        for name, state in (("predicted", guess), ("true", batch.target)):
            wrong = linear_probe(fitted, (state.vision.flatten(1), places[then])).square().mean(1)
            key = f"planner.objects_{name}_m_{targets * windows.period:.1f}s"
            _add(figures, key, *_rms(wrong, batch.episode, cfg))
    return figures


def moving_windows(
    model: WorldModel, cache: LatentCache, episodes: Tensor, windows: WindowConfig, targets: int, most: int
) -> Windows:
    """Windows ``targets`` periods long, inside their episode, during which the arm moves; at most ``most``."""
    ahead = round(targets * windows.period * cache.fps)
    frames = torch.arange(len(cache.episode_of))
    frames = frames[torch.isin(cache.episode_of, episodes) & (cache.end(frames) - frames >= ahead)]
    frames = frames[cache.motion(frames, ahead) > windows.motion]
    if len(frames) > most:
        frames = frames[torch.linspace(0, len(frames) - 1, most).long()]
    return cache.windows(frames, torch.full_like(frames, ahead), model.config.history, model.config.action_steps)


def windows_after(
    model: WorldModel, cache: LatentCache, episodes: Tensor, windows: WindowConfig, periods: int = 0
) -> Windows:
    """One window an episode, one period long, from ``periods`` after its first frame, where it lasts so long."""
    ahead = round(windows.period * cache.fps)
    frames = cache.starts[episodes] + periods * ahead
    frames = frames[cache.starts[episodes + 1] - 1 - frames >= ahead]
    return cache.windows(frames, torch.full_like(frames, ahead), model.config.history, model.config.action_steps)


def roll_out(
    model: WorldModel,
    batch: Windows,
    text: TextFeatures | None,
    targets: int,
    period: float,
    planner: Planner,
    cfg: EvaluationConfig,
    actions: Tensor | None = None,
) -> LatentState:
    """The last of ``targets`` states rolled out from each window, on the CPU; ``actions`` are those of the first."""
    device, generator = planner.device, torch.Generator().manual_seed(cfg.seed)
    last = []
    for rows in torch.arange(len(batch)).split(cfg.batch):
        part, said = batch[rows].to(device), None if text is None else text[rows].to(device)
        states = rollout(
            model,
            part.history,
            part.history_mask,
            said,
            targets,
            period,
            generator,
            planner.sampler,
            part.has_proprio,
            actions=None if actions is None else actions[rows].to(device),
            has_cameras=part.has_cameras,
        )
        last.append(states[:, -1].to("cpu"))
    return LatentState.cat(last)


def squared_errors(guess: LatentState, truth: LatentState) -> dict[str, Tensor]:
    """Mean squared errors (B,) by part; ``state`` is over all P * C + D dimensions."""
    vision = (guess.vision - truth.vision).square().flatten(1)
    proprio = (guess.proprio - truth.proprio).square()
    return {"vision": vision.mean(1), "proprio": proprio.mean(1), "state": torch.cat([vision, proprio], 1).mean(1)}


def bootstrap(
    statistic: Callable[[Tensor], Tensor], rows: Tensor, episode: Tensor, resamples: int, seed: int
) -> tuple[float, list[float]]:
    """A statistic and its 95 % interval when whole episodes are drawn anew.

    Args:
        statistic: from sums over windows (…, K) to (…,).
        rows: (B, K) what is summed over windows.
        episode: (B,) whose window each row is.
    """
    _, group = episode.unique(return_inverse=True)
    sums = torch.zeros(int(group.max()) + 1, rows.shape[1], dtype=torch.double).index_add_(0, group, rows.double())
    draws = torch.randint(len(sums), (resamples, len(sums)), generator=torch.Generator().manual_seed(seed))
    values = statistic(sums[draws].sum(1))
    interval = torch.quantile(values, torch.tensor([0.025, 0.975], dtype=torch.double))
    return float(statistic(sums.sum(0))), [float(x) for x in interval]


def wilson_interval(successes: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of a share."""
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    # Exact where nothing or all was a success: rounding would leave the share itself outside.
    return 0.0 if successes == 0 else max(0.0, centre - half), 1.0 if successes == count else min(1.0, centre + half)


def _rms(squared: Tensor, episode: Tensor, cfg: EvaluationConfig) -> tuple[float, list[float]]:
    rows = torch.stack([squared, torch.ones_like(squared)], 1)
    return bootstrap(lambda s: (s[..., 0] / s[..., 1]).sqrt(), rows, episode, cfg.resamples, cfg.seed)


def _ratio(above: Tensor, below: Tensor, episode: Tensor, cfg: EvaluationConfig) -> tuple[float, list[float]]:
    rows = torch.stack([above, below], 1)
    return bootstrap(lambda s: (s[..., 0] / s[..., 1].clamp_min(1e-12)).sqrt(), rows, episode, cfg.resamples, cfg.seed)


def _add(figures: Figures, name: str, value: float, interval: list[float]) -> None:
    if not math.isfinite(value):
        raise FloatingPointError(f"{name} is {value}: the planner's samples are not finite. Train it anew.")
    figures[name], figures[f"{name}_ci"] = value, interval
