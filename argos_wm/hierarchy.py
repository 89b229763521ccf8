"""Far goals: fill the way to a goal with states in between, each drawn between two that are known.

A planner that was trained with goals (``WindowConfig.goal_share``) draws the state half-way between now and the goal;
that state is the nearer goal, and so on until the nearest is within one step's reach. Both ends of every draw are
clamped, as in LeFlow and in ARGOS's roadmap, so that errors do not add up along the way as they do in a roll-out.
Several ways are drawn, and the one whose states follow from each other best is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from argos_wm.encoders.text import TextFeatures
from argos_wm.latents import LatentState, camera_weights
from argos_wm.memory import MemoryTokens
from argos_wm.sampler import SamplerConfig
from argos_wm.world_model import WorldModel


@dataclass
class Bridge:
    """The way from now to a goal.

    Attributes:
        states: (B, T, …) from the nearest to the goal itself, ``time`` on the clock of the current state.
        spread: (B,) RMS distance of the candidates' nearest states from their mean, in standardised units: how sure
            the planner is of what comes next. 0 for a single candidate.
    """

    states: LatentState
    spread: Tensor


@torch.no_grad()
def bridge(
    model: WorldModel,
    history: LatentState,
    history_mask: Tensor,
    text: TextFeatures | None,
    goal: LatentState,
    reach: float,
    generator: torch.Generator,
    sampler: SamplerConfig,
    candidates: int = 1,
    has_proprio: Tensor | None = None,
    memory: MemoryTokens | None = None,
    has_cameras: Tensor | None = None,
) -> Bridge:
    """Draw the way to a goal.

    Args:
        history, history_mask: (B, S, …) as in ``WorldModel.sample``.
        goal: (B, …), all at the same time after now, on the history's clock.
        reach: seconds; a goal that is at most so far needs no state in between.
        candidates: ways drawn for each; the most plausible is kept.
        has_proprio, memory, has_cameras: as in ``WorldModel.sample``.
    """
    batch, count = len(history_mask), candidates
    rows = torch.arange(batch, device=history.time.device).repeat_interleave(count)
    said = None if text is None else text[rows]
    states, nearest = [goal[rows]], goal[rows]
    now = history.time[rows, -1]
    while bool((nearest.time - now > reach * 1.001).any()):
        horizon = _half_way(nearest.time - now, reach)
        nearest = model.sample(
            history[rows],
            history_mask[rows],
            said,
            horizon,
            goal=nearest,
            has_proprio=None if has_proprio is None else has_proprio[rows],
            has_cameras=None if has_cameras is None else has_cameras[rows],
            memory=None if memory is None else memory[rows],
            generator=generator,
            **sampler.arguments(),
        )
        states.insert(0, nearest)
    way = LatentState.stack(states)
    if count == 1:
        return Bridge(way, torch.zeros(batch, device=now.device))
    best = (
        implausibility(
            model,
            LatentState.cat([history[rows][:, -1:], way], dim=1),
            said,
            None if has_cameras is None else has_cameras[rows],
            None if has_proprio is None else has_proprio[rows],
        )
        .unflatten(0, (batch, count))
        .argmin(1)
    )
    weights = camera_weights(None if has_cameras is None else has_cameras[rows], nearest.vision.shape[1])
    first = (weights * nearest.vision).unflatten(0, (batch, count))
    spread = (first - first.mean(1, keepdim=True)).square().flatten(1).mean(1).sqrt()
    return Bridge(way[torch.arange(batch, device=best.device) * count + best], spread)


@torch.no_grad()
def whole_ways(
    model: WorldModel,
    here: LatentState,
    goal: LatentState,
    periods: Tensor,
    reach: float,
    generator: torch.Generator,
    sampler: SamplerConfig,
) -> LatentState:
    """Every state of B ways to a goal, each as many periods long as it is asked, drawn from both ends to the middle.

    All gaps of all ways are halved at once, so that ways of up to 2ⁿ periods take n draws. Each state is drawn from the
    known ones before and after it.

    Args:
        here: (B, …) the current states.
        goal: (B, …); its time is not read.
        periods: (B,) whole numbers of ``reach`` seconds until the goal.

    Returns:
        (B, T, …), T the longest of ``periods``, without the current state; after its goal a way repeats it.
    """
    longest, device = int(periods.max()), here.time.device
    index = torch.arange(longest + 1, device=device)
    time = here.time[:, None] + index.minimum(periods[:, None]) * reach
    vision, proprio = (x[:, None].repeat_interleave(longest + 1, 1) for x in (goal.vision, goal.proprio))
    vision[:, 0], proprio[:, 0] = here.vision, here.proprio
    way, known = LatentState(vision, proprio, time), (index == 0) | (index >= periods[:, None])
    while not known.all():
        before = torch.where(known, index, -1).cummax(1).values
        after = longest - torch.where(known, longest - index, -1).flip(1).cummax(1).values.flip(1)
        rows, now = (~known & (index == before + (after - before) // 2)).nonzero(as_tuple=True)
        start, end = way[rows, before[rows, now]], way[rows, after[rows, now]]
        seen = torch.ones(len(rows), 1, dtype=torch.bool, device=device)
        horizon = time[rows, now] - start.time
        drawn = model.sample(start[:, None], seen, None, horizon, goal=end, generator=generator, **sampler.arguments())
        vision[rows, now], proprio[rows, now], known[rows, now] = drawn.vision, drawn.proprio, True
    return way[:, 1:]


def implausibility(
    model: WorldModel,
    way: LatentState,
    text: TextFeatures | None,
    has_cameras: Tensor | None = None,
    has_proprio: Tensor | None = None,
) -> Tensor:
    """How far each way (B, T, …), from now to the goal, is from what the model expects of it (B,).

    Each inner state is predicted from the one before and the one after, by the conditional mean; squared differences
    are averaged.
    """
    steps = way.time.shape[1]
    if steps < 3:
        return torch.zeros(len(way), device=way.time.device)
    total = torch.zeros(len(way), device=way.time.device)
    known = torch.ones(len(way), 1, dtype=torch.bool, device=way.time.device)
    noise = tuple(torch.zeros_like(x) for x in (way.vision[:, 0], way.proprio[:, 0]))
    weights = camera_weights(has_cameras, way.vision.shape[2])
    for i in range(1, steps - 1):
        horizon = way.time[:, i] - way.time[:, i - 1]
        guess = model.sample(
            way[:, i - 1 : i],
            known,
            text,
            horizon,
            goal=way[:, i + 1],
            has_cameras=has_cameras,
            has_proprio=has_proprio,
            steps=1,
            solver="euler",
            noise=noise,
        )
        total += (weights * (guess.vision - way.vision[:, i])).square().flatten(1).mean(1)
    return total / (steps - 2)


def _half_way(left: Tensor, reach: float) -> Tensor:
    """Half of the time that is left, in whole steps of ``reach``: (B,) seconds."""
    steps = (left / reach).round().clamp_min(2)
    return (steps / 2).floor() * reach
