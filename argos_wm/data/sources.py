"""Training windows of every kind of data: robots' episodes, clips of video, pictures with captions.

A picture is a window without a past: words in, the picture's latents out, at a horizon of zero. A clip is a window
whose past and future are its own frames; nobody's joints or actions are known. Both fit in one batch with robots'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from argos_wm.data.caching import clip_rows
from argos_wm.data.latent_cache import LatentCache
from argos_wm.data.latent_shards import LatentShards
from argos_wm.data.windows import WindowConfig, Windows
from argos_wm.latents import LatentState


class Source(Protocol):
    """Samples that are windows; what else must be chosen is drawn by torch's default generator."""

    def __len__(self) -> int:
        """Samples an epoch."""
        ...

    def __call__(self, sample: Tensor) -> tuple[Windows, list[str]]:
        """Windows of samples (B,), vision as it is stored, and what is said of them."""
        ...


class RobotWindows:
    """Windows of an encoded dataset; a sample is an episode, its moment is drawn as ``WindowConfig`` says."""

    def __init__(
        self, cache: LatentCache, episodes: Tensor, windows: WindowConfig, history: Sequence[float], action_steps: int
    ) -> None:
        self.cache, self.cfg, self.history, self.action_steps = cache, windows, history, action_steps
        self.period = max(1, round(windows.period * cache.fps))
        self.shortest = max(1, round(windows.shortest_horizon * cache.fps))
        lengths = cache.starts.diff()[episodes]
        self.episodes = episodes[lengths > self.shortest]
        if not len(self.episodes):
            raise ValueError(
                f"None of {len(episodes)} episodes lasts {windows.shortest_horizon} s; record longer ones."
            )
        self.weights = self._weights()

    def _weights(self) -> Tensor:
        """How likely each moment of each episode is, (N, longest)."""
        cfg, cache = self.cfg, self.cache
        first, length = cache.starts[self.episodes], cache.starts.diff()[self.episodes]
        moment = torch.arange(int(length.max()))
        usable = moment < (length - self.shortest)[:, None]
        frames = torch.minimum(first[:, None] + moment, (first + length - 1)[:, None])
        start = usable & (cache.time[frames] <= cfg.start_length)
        moving = usable & (cache.motion(frames, self.period) > cfg.motion)
        moving = torch.where(moving.any(1, keepdim=True), moving, usable)
        rest = 1 - cfg.static_share - cfg.start_share
        return cfg.static_share * _evenly(usable) + cfg.start_share * _evenly(start) + rest * _evenly(moving)

    def __len__(self) -> int:
        return len(self.episodes)

    def __call__(self, sample: Tensor) -> tuple[Windows, list[str]]:
        """See ``Source``."""
        cfg, count = self.cfg, len(sample)
        frames = self.cache.starts[self.episodes[sample]] + torch.multinomial(self.weights[sample], 1).squeeze(1)
        left = self.cache.end(frames) - frames
        anywhere = self.shortest + (torch.rand(count) * (left - self.shortest + 1)).long()
        ahead = torch.where(torch.rand(count) < cfg.period_share, torch.full_like(left, self.period), anywhere)
        ahead = torch.minimum(ahead, left)
        goal = cfg.draw_goals(ahead, left)
        windows = self.cache.windows(frames, ahead, self.history, self.action_steps, goal, stored=True)
        return windows, [self.cache.instructions[i] for i in self.episodes[sample].tolist()]


def _evenly(mask: Tensor) -> Tensor:
    """Each row's weight of 1 spread over where mask (N, T) is True."""
    return mask / mask.sum(1, keepdim=True).clamp_min(1)


class _Shards:
    """What both share: the shapes of the world model that is trained, and one camera of its ``cameras``, the first."""

    def __init__(
        self, shards: LatentShards, kind: str, history: Sequence[float], action_steps: int, cameras: int
    ) -> None:
        made_of = shards.index["extra"].get("kind")
        if made_of != kind:
            raise ValueError(f"{shards.folder} holds {made_of or 'something else'}, and {kind} were asked for.")
        self.shards, self.history, self.action_steps = shards, history, action_steps
        self.spec, self.cameras = shards.spec, cameras

    def _windows(self, history: LatentState, mask: Tensor, target: LatentState, rows: Tensor) -> Windows:
        count, joints = len(rows), len(self.spec.joint_names)
        absent = torch.zeros(count, dtype=torch.bool)
        return Windows(
            history=history,
            history_mask=mask,
            target=target,
            horizon=target.time,
            actions=torch.zeros(count, self.action_steps, joints),
            episode=rows,
            frame=rows,
            has_actions=absent,
            has_proprio=absent,
            has_cameras=None if self.cameras == 1 else (torch.arange(self.cameras) == 0).repeat(count, 1),
        )

    def _state(self, rows: Tensor, time: Tensor) -> LatentState:
        """States at rows of any shape; their joints and other cameras are zeros that mean nothing."""
        vision = self.shards[rows]
        vision = F.pad(vision, (0, 0, 0, (self.cameras - 1) * vision.shape[-2]))
        return LatentState(vision, torch.zeros(*rows.shape, self.spec.proprio_dim), time)


class PictureWindows(_Shards):
    """Windows of single pictures; a sample is a row of the cache."""

    def __init__(self, shards: LatentShards, history: Sequence[float], action_steps: int, cameras: int = 1) -> None:
        super().__init__(shards, "pictures", history, action_steps, cameras)

    def __len__(self) -> int:
        return len(self.shards)

    def __call__(self, sample: Tensor) -> tuple[Windows, list[str]]:
        """See ``Source``."""
        target = self._state(sample, torch.zeros(len(sample)))
        shape = (len(sample), len(self.history))
        time = torch.tensor(self.history).expand(shape)
        unseen = target.vision.new_zeros(*shape, *target.vision.shape[1:])
        past = LatentState(unseen, torch.zeros(*shape, self.spec.proprio_dim), time.clone())
        mask = torch.zeros(shape, dtype=torch.bool)
        return self._windows(past, mask, target, sample), [note["text"] for note in self.shards.notes(sample)]


class ClipWindows(_Shards):
    """Windows of clips; a sample is a clip, its moment and horizon are drawn by torch's default generator."""

    def __init__(
        self,
        shards: LatentShards,
        windows: WindowConfig,
        history: Sequence[float],
        action_steps: int,
        cameras: int = 1,
    ) -> None:
        super().__init__(shards, "clips", history, action_steps, cameras)
        self.cfg, self.fps = windows, float(shards.index["extra"]["fps"])
        self.shortest = max(1, round(windows.shortest_horizon * self.fps))
        clips = [clip for clip in clip_rows(shards.every_note()) if clip[1] > self.shortest]
        if not clips:
            raise ValueError(f"None of the clips in {shards.folder} lasts {windows.shortest_horizon} s.")
        self.first = torch.tensor([first for first, _, _ in clips])
        self.length = torch.tensor([length for _, length, _ in clips])
        self.texts = [text for _, _, text in clips]

    def __len__(self) -> int:
        return len(self.texts)

    def __call__(self, sample: Tensor) -> tuple[Windows, list[str]]:
        """See ``Source``."""
        count, length = len(sample), self.length[sample]
        now = (torch.rand(count) * (length - self.shortest)).long()
        left = length - 1 - now
        period = torch.full_like(left, max(1, round(self.cfg.period * self.fps)))
        anywhere = self.shortest + (torch.rand(count) * (left - self.shortest + 1)).long()
        ahead = torch.where(torch.rand(count) < self.cfg.period_share, period, anywhere)
        ahead = torch.minimum(ahead, left)
        offsets = torch.tensor([round(offset * self.fps) for offset in self.history])
        wanted = now[:, None] + offsets
        rows = self.first[sample][:, None] + wanted.clamp_min(0)
        past = self._state(rows, (offsets / self.fps).expand(count, -1).clone())
        target = self._state(self.first[sample] + now + ahead, ahead / self.fps)
        windows = self._windows(past, wanted >= 0, target, sample)
        goal = self.cfg.draw_goals(ahead, left)
        if goal is not None:
            windows.goal = self._state(self.first[sample] + now + goal, goal / self.fps)
            windows.has_goal = goal > 0
        return windows, [self.texts[i] for i in sample.tolist()]
