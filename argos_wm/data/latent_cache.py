"""Demonstrations as latents: encoded once, kept in memory, cut into windows.

Episodes lie one after the other in flat tensors of F frames; ``starts`` says where each begins. The cache carries the
``LatentSpec`` of its encoder and refuses any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from argos_wm.checkpoint import CheckpointError, load_json, load_tensors, save_json, save_tensors
from argos_wm.data.windows import WindowConfig, Windows
from argos_wm.latents import LatentSpec, LatentState

if TYPE_CHECKING:
    from argos_wm.data.episodes import Episode
    from argos_wm.encoders.state import StateEncoder

WEIGHTS, SETTINGS = "latents.safetensors", "latents.json"


@dataclass
class LatentCache:
    """N episodes of F frames in all.

    Attributes:
        spec: whose latents these are.
        fps: frames a second.
        instructions: N instructions.
        starts: (N + 1,) first frame of each episode, and F.
        vision: (F, P, C) float16, standardised.
        proprio: (F, D) float32, standardised.
        positions: (F, J) sensed joint positions [rad].
        actions: (F, J) mean torque from this frame to the next, in units of each joint's limit.
        time: (F,) seconds from the episode's start.
        control_state: (F, R, 2J) raw proprioception at the R control steps that start at each frame [rad, rad/s], or
            None where nobody is to imitate them.
        control_action: (F, R, J) torque at those steps [N·m], or None.
        environment_state: (F, E) privileged state, or None.
        has_proprio, has_actions: whether the recordings have them; where not, their columns mean nothing.
    """

    spec: LatentSpec
    fps: float
    instructions: list[str]
    starts: Tensor
    vision: Tensor
    proprio: Tensor
    positions: Tensor
    actions: Tensor
    time: Tensor
    control_state: Tensor | None = None
    control_action: Tensor | None = None
    environment_state: Tensor | None = None
    has_proprio: bool = True
    has_actions: bool = True

    def __post_init__(self) -> None:
        self.episode_of = torch.repeat_interleave(torch.arange(len(self)), self.starts.diff())
        self._action_sum = torch.cat(
            [self.actions.new_zeros(1, self.actions.shape[1]), self.actions.cumsum(0)]
        ).double()

    def __len__(self) -> int:
        return len(self.instructions)

    def save(self, folder: Path) -> None:
        """Write ``latents.safetensors`` and ``latents.json``."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        save_tensors(folder / WEIGHTS, {k: v for k, v in tensors.items() if isinstance(v, Tensor)})
        settings = {name: getattr(self, name) for name in ("fps", "instructions", "has_proprio", "has_actions")}
        save_json(folder / SETTINGS, {"spec": self.spec.to_json()} | settings)

    @staticmethod
    def load(folder: Path, spec: LatentSpec | None = None) -> LatentCache:
        """Read a cache; with ``spec``, refuse one that was made with another encoder."""
        settings = load_json(folder / SETTINGS)
        own = LatentSpec.from_json(settings["spec"])
        if spec is not None:
            spec.require(own, "the encoder", f"the latent cache {folder}")
        tensors = load_tensors(folder / WEIGHTS)
        missing = {f.name for f in fields(LatentCache) if f.type == "Tensor"} - set(tensors)
        if missing:
            raise CheckpointError(f"{folder / WEIGHTS} lacks {', '.join(sorted(missing))}. Encode the dataset again.")
        columns: dict[str, Any] = {name: settings.get(name, True) for name in ("has_proprio", "has_actions")} | tensors
        return LatentCache(own, settings["fps"], settings["instructions"], **columns)

    def split(self, validation_share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Episodes to train on and to validate on, at least one of each, as sorted index tensors."""
        if len(self) < 2:
            raise ValueError(f"The latent cache has {len(self)} episode(s); training and validation need at least 2.")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        held_out = min(len(self) - 1, max(1, round(validation_share * len(self))))
        return order[held_out:].sort().values, order[:held_out].sort().values

    def states(self, frames: Tensor) -> LatentState:
        """States at frame indices of any shape; ``time`` is seconds from the episode's start."""
        return LatentState(self.vision[frames].float(), self.proprio[frames], self.time[frames])

    def end(self, frames: Tensor) -> Tensor:
        """The last frame of each frame's episode."""
        return self.starts[self.episode_of[frames] + 1] - 1

    def motion(self, frames: Tensor, ahead: int) -> Tensor:
        """RMS change of the joint positions [rad] from each frame to ``ahead`` frames later, or the episode's end."""
        later = torch.minimum(frames + ahead, self.end(frames))
        return (self.positions[later] - self.positions[frames]).square().mean(-1).sqrt()

    def windows(
        self,
        frames: Tensor,
        ahead: Tensor,
        history: Sequence[float],
        action_steps: int,
        goal_ahead: Tensor | None = None,
    ) -> Windows:
        """Cut windows.

        Args:
            frames: (B,) the current frames.
            ahead: (B,) frames from now to the target.
            history: offsets of the S history states [s], oldest first, ending in 0.
            action_steps: A, equal parts of the horizon over which actions are averaged.
            goal_ahead: (B,) frames from now to the goal that is told, 0 where none is; None tells none.
        """
        target = frames + ahead
        if bool((target > self.end(frames)).any()):
            raise ValueError("A window's target lies beyond its episode's end; shorten the horizon.")
        offsets = torch.tensor([round(offset * self.fps) for offset in history])
        wanted = frames[:, None] + offsets
        first = self.starts[self.episode_of[frames]][:, None]
        past, now = self.states(torch.maximum(wanted, first)), self.time[frames]
        past.time = offsets.expand_as(wanted) / self.fps
        future = self.states(target)
        future.time = future.time - now
        edges = frames[:, None] + ahead[:, None] * torch.linspace(0, 1, action_steps + 1, dtype=torch.float64)
        goal = None if goal_ahead is None else self.states(frames + goal_ahead)
        if goal is not None:
            goal.time = goal.time - now
        return Windows(
            history=past,
            history_mask=wanted >= first,
            target=future,
            horizon=future.time,
            actions=self._mean_actions(edges),
            episode=self.episode_of[frames],
            frame=frames,
            has_proprio=None if self.has_proprio else torch.zeros(len(frames), dtype=torch.bool),
            has_actions=None if self.has_actions else torch.zeros(len(frames), dtype=torch.bool),
            goal=goal,
            has_goal=None if goal_ahead is None else goal_ahead > 0,
        )

    def _mean_actions(self, edges: Tensor) -> Tensor:
        """Mean actions between fractional frame indices (B, A + 1), (B, A, J)."""
        below = edges.floor().long().clamp(0, self._action_sum.shape[0] - 1)
        above = (below + 1).clamp_max(self._action_sum.shape[0] - 1)
        sums = torch.lerp(self._action_sum[below], self._action_sum[above], (edges - below)[..., None])
        return (sums.diff(dim=1) / edges.diff(dim=1).clamp_min(1e-6)[..., None]).float()


class WindowSampler:
    """Draws training windows of some episodes, by torch's default generator."""

    def __init__(
        self, cache: LatentCache, episodes: Tensor, cfg: WindowConfig, history: Sequence[float], action_steps: int
    ) -> None:
        """``history`` and ``action_steps`` are the world model's, as in ``LatentCache.windows``."""
        self.cache, self.cfg, self.history, self.action_steps = cache, cfg, history, action_steps
        self.period = max(1, round(cfg.period * cache.fps))
        shortest = max(1, round(cfg.shortest_horizon * cache.fps))
        self.shortest = shortest
        frames = torch.arange(len(cache.episode_of))
        usable = torch.isin(cache.episode_of, episodes) & (cache.end(frames) - frames >= shortest)
        self.all = frames[usable]
        if not len(self.all):
            raise ValueError(f"None of {len(episodes)} episodes lasts {cfg.shortest_horizon} s; record longer ones.")
        self.start = self.all[cache.time[self.all] <= cfg.start_length]
        moving = self.all[cache.motion(self.all, self.period) > cfg.motion]
        self.moving = moving if len(moving) else self.all

    def __call__(self, batch: int) -> Windows:
        """Draw ``batch`` windows."""
        cfg = self.cfg
        kind = torch.rand(batch)
        frames = _pick(self.moving, batch)
        frames = torch.where(kind < cfg.static_share, _pick(self.all, batch), frames)
        frames = torch.where(kind > 1 - cfg.start_share, _pick(self.start, batch), frames)
        left = self.cache.end(frames) - frames
        anywhere = self.shortest + (torch.rand(batch) * (left - self.shortest + 1)).long()
        ahead = torch.where(torch.rand(batch) < cfg.period_share, torch.full_like(left, self.period), anywhere)
        ahead = torch.minimum(ahead, left)
        goal = cfg.draw_goals(ahead, left)
        return self.cache.windows(frames, ahead, self.history, self.action_steps, goal)


def _pick(values: Tensor, count: int) -> Tensor:
    return values[torch.randint(len(values), (count,))]


@torch.no_grad()
def encode_episodes(
    episodes: Iterable[Episode], encoder: StateEncoder, torque_limit: Tensor, batch: int = 256
) -> LatentCache:
    """Encode demonstrations into a cache.

    Args:
        episodes: recorded episodes, all at one frame rate.
        encoder: the frozen state encoder.
        torque_limit: (J,) [N·m], the unit of the cached actions.
        batch: pictures encoded at once.
    """
    rows: dict[str, list[Tensor]] = defaultdict(list)
    instructions: list[str] = []
    fps: float | None = None
    for episode in episodes:
        if fps is not None and episode.fps != fps:
            raise ValueError(f"Episode {len(instructions)} has {episode.fps} frames a second, those before it {fps}.")
        fps = episode.fps
        instructions.append(episode.task)
        state, control_action = torch.from_numpy(episode.state), torch.from_numpy(episode.control_action)
        pictures = torch.from_numpy(episode.images).split(batch)
        rows["vision"].append(torch.cat([encoder.encode_vision(chunk).half().cpu() for chunk in pictures]))
        rows["proprio"].append(encoder.encode_proprio(state).float().cpu())
        rows["positions"].append(state[:, : state.shape[1] // 2])
        rows["actions"].append(control_action.mean(1) / torque_limit)
        rows["time"].append(torch.arange(len(state)) / fps)
        rows["control_state"].append(torch.from_numpy(episode.control_state))
        rows["control_action"].append(control_action)
        if episode.environment_state is not None:
            rows["environment_state"].append(torch.from_numpy(episode.environment_state))
    if fps is None:
        raise ValueError("The dataset holds no episodes; record demonstrations first.")
    lengths = torch.tensor([0, *(len(time) for time in rows["time"])])
    columns: dict[str, Any] = {k: torch.cat(v) for k, v in rows.items() if len(v) == len(instructions)}
    return LatentCache(encoder.spec, fps, instructions, starts=lengths.cumsum(0), **columns)
