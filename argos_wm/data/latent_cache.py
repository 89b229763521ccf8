"""Demonstrations as latents: encoded once, cut into windows.

Episodes lie one after the other in flat tensors of F frames; ``starts`` says where each begins. What was seen is read
from shards on disk where it is too large to be kept in memory; all else is small. The cache carries the ``LatentSpec``
of its encoder and refuses any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from argos_wm.checkpoint import CheckpointError, load_json, load_tensors, save_json, save_tensors
from argos_wm.data.latent_shards import INDEX, LatentShards, LatentShardWriter
from argos_wm.data.windows import WindowConfig, Windows
from argos_wm.latents import LatentSpec, LatentState

if TYPE_CHECKING:
    from argos_wm.data.episodes import Episode
    from argos_wm.encoders.state import StateEncoder

COLUMNS, SETTINGS, VISION = "columns.safetensors", "latents.json", "vision"
MOST_IN_MEMORY = 4 * 2**30
"""Bytes of vision up to which a cache is read into memory as a whole."""


@dataclass
class LatentCache:
    """N episodes of F frames in all.

    Attributes:
        spec: whose latents these are.
        fps: frames a second.
        instructions: N instructions.
        starts: (N + 1,) first frame of each episode, and F.
        vision: (F, P, C) float16, standardised; a tensor, or shards on disk that are indexed like one.
        proprio: (F, D) float32, standardised.
        positions: (F, J) sensed joint positions [rad].
        actions: (F, J) mean torque from this frame to the next, in units of each joint's limit.
        time: (F,) seconds from the episode's start.
        control_state: (F, R, 2J) raw proprioception at the R control steps that start at each frame [rad, rad/s], or
            None where nobody is to imitate them.
        control_action: (F, R, J) torque at those steps [N·m], or None.
        environment_state: (F, E) privileged state, or None.
    """

    spec: LatentSpec
    fps: float
    instructions: list[str]
    starts: Tensor
    vision: Tensor | LatentShards
    proprio: Tensor
    positions: Tensor
    actions: Tensor
    time: Tensor
    control_state: Tensor | None = None
    control_action: Tensor | None = None
    environment_state: Tensor | None = None

    def __post_init__(self) -> None:
        self.episode_of = torch.repeat_interleave(torch.arange(len(self)), self.starts.diff())
        total = self.actions.double().cumsum(0)  # in single precision, differences of a long recording's sums are lost
        self._action_sum = torch.cat([total.new_zeros(1, total.shape[1]), total])

    def __len__(self) -> int:
        return len(self.instructions)

    @staticmethod
    def load(folder: Path, spec: LatentSpec | None = None, most_in_memory: int = MOST_IN_MEMORY) -> LatentCache:
        """Read what ``encode_episodes`` wrote; with ``spec``, refuse what was made with another encoder.

        Vision of more than ``most_in_memory`` bytes stays on disk.
        """
        settings = load_json(folder / SETTINGS)
        own = LatentSpec.from_json(settings["spec"])
        if spec is not None:
            spec.require(own, "the encoder", f"the latent cache {folder}")
        tensors = load_tensors(folder / COLUMNS)
        missing = {f.name for f in fields(LatentCache) if f.type == "Tensor"} - set(tensors)
        if missing:
            raise CheckpointError(f"{folder / COLUMNS} lacks {', '.join(sorted(missing))}. Encode the dataset again.")
        shards = LatentShards(folder / VISION, own)
        if len(shards) != len(tensors["time"]):
            raise CheckpointError(
                f"{folder} holds what was seen in {len(shards)} of {len(tensors['time'])} frames. Encode the dataset "
                "again."
            )
        vision = shards if shards.bytes > most_in_memory else shards[torch.arange(len(shards))]
        return LatentCache(own, settings["fps"], settings["instructions"], vision=vision, **tensors)

    def split(self, validation_share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Episodes to train on and to validate on, at least one of each, as sorted index tensors."""
        if len(self) < 2:
            raise ValueError(f"The latent cache has {len(self)} episode(s); training and validation need at least 2.")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        held_out = min(len(self) - 1, max(1, round(validation_share * len(self))))
        return order[held_out:].sort().values, order[:held_out].sort().values

    def states(self, frames: Tensor, stored: bool = False) -> LatentState:
        """States at frame indices of any shape; ``time`` is seconds from the episode's start.

        Vision is float32, or with ``stored`` as it is stored, for what moves it elsewhere first: half of the bytes.
        """
        vision = self.vision[frames]
        return LatentState(vision if stored else vision.float(), self.proprio[frames], self.time[frames])

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
        stored: bool = False,
    ) -> Windows:
        """Cut windows.

        Args:
            frames: (B,) the current frames.
            ahead: (B,) frames from now to the target.
            history: offsets of the S history states [s], oldest first, ending in 0.
            action_steps: A, equal parts of the horizon over which actions are averaged.
            goal_ahead: (B,) frames from now to the goal that is told, 0 where none is; None tells none.
            stored: see ``states``.
        """
        target = frames + ahead
        if bool((target > self.end(frames)).any()):
            raise ValueError("A window's target lies beyond its episode's end; shorten the horizon.")
        offsets = torch.tensor([round(offset * self.fps) for offset in history])
        wanted = frames[:, None] + offsets
        first = self.starts[self.episode_of[frames]][:, None]
        past, now = self.states(torch.maximum(wanted, first), stored), self.time[frames]
        past.time = offsets.expand_as(wanted) / self.fps
        future = self.states(target, stored)
        future.time = future.time - now
        edges = frames[:, None] + ahead[:, None] * torch.linspace(0, 1, action_steps + 1, dtype=torch.float64)
        goal = None if goal_ahead is None else self.states(frames + goal_ahead, stored)
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
        """Draw ``batch`` windows, vision as it is stored."""
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
        return self.cache.windows(frames, ahead, self.history, self.action_steps, goal, stored=True)


def _pick(values: Tensor, count: int) -> Tensor:
    return values[torch.randint(len(values), (count,))]


@torch.no_grad()
def encode_episodes(
    episodes: Iterable[Episode], encoder: StateEncoder, torque_limit: Tensor, folder: Path, batch: int = 256
) -> LatentCache:
    """Encode demonstrations into ``folder``; a run that was killed goes on after its last whole shard.

    Args:
        episodes: recorded episodes, all at one frame rate.
        encoder: the frozen state encoder.
        torque_limit: (J,) [N·m], the unit of the cached actions.
        folder: ``LatentCache.load`` reads it.
        batch: pictures encoded at once.
    """
    if (folder / VISION / INDEX).is_file() and load_json(folder / VISION / INDEX).get("complete"):
        return LatentCache.load(folder, encoder.spec)  # it was killed after its last write
    writer = LatentShardWriter(folder / VISION, encoder.spec)
    rows: dict[str, list[Tensor]] = defaultdict(list)
    instructions: list[str] = []
    fps: float | None = None
    frames, on_disk = 0, writer.rows
    for episode in episodes:
        if fps is not None and episode.fps != fps:
            raise ValueError(f"Episode {len(instructions)} has {episode.fps} frames a second, those before it {fps}.")
        fps = episode.fps
        instructions.append(episode.task)
        state, control_action = torch.from_numpy(episode.state), torch.from_numpy(episode.control_action)
        pictures = torch.from_numpy(episode.images)[max(0, on_disk - frames) :]
        for chunk in pictures.split(batch) if len(pictures) else ():
            writer.add(encoder.encode_vision(chunk))
        frames += len(state)
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
    columns = {k: torch.cat(v) for k, v in rows.items() if len(v) == len(instructions)}
    save_tensors(folder / COLUMNS, columns | {"starts": lengths.cumsum(0)})
    save_json(folder / SETTINGS, {"spec": encoder.spec.to_json(), "fps": fps, "instructions": instructions})
    writer.finish()  # last, so that what is complete has its columns
    return LatentCache.load(folder, encoder.spec)
