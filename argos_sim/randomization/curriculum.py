"""Ranges that widen as success allows: automatic domain randomization (OpenAI 2019, arXiv 1910.07113).

Every range that is drawn at resets has two edges, each somewhere between that of the ranges training begins with and
that of the widest ones. In a share of the environments an episode tries one edge: one range is drawn exactly one step
beyond it, all others as everywhere. An edge at which enough targets were reached in such episodes moves out, one at
which too few were moves back; that is decided once an iteration of PPO, by the episodes of all its processes. What is
drawn once, at the start (bodies, joints, materials, backgrounds), stays as it began, and so does what all environments
have in common (the light), since no single episode could try it.
"""

# Isaac Lab types a term's environment more loosely than it is.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

from dataclasses import replace

import torch
from isaaclab.managers import CurriculumTermCfg, ManagerTermBase
from torch import Tensor

from argos_sim.configs import CurriculumConfig
from argos_sim.randomization.ranges import RandomizationRanges, get_ranges, range_names
from argos_wm.checkpoint import CheckpointError
from argos_wm.training.parallel import Parallel

AT_START = (
    "mass_scale",
    "inertia_scale",
    "com_offset",
    "joint_friction",
    "joint_armature",
    "contact_friction",
    "restitution",
    "object_mass_scale",
    "object_friction",
    "object_size",
)
"""Ranges of bodies and joints, which are drawn once."""
COMMON = ("light_direction",)
"""Ranges of what all environments have together."""


class WidenRanges(ManagerTermBase):
    """The curriculum as Isaac Lab's term: looks at the episodes that end, and says what the next ones draw.

    Attributes:
        edges: (E, 2) index into ``range_names()`` and side (0 low, 1 high) of every edge.
        level: (E,) how far each is out, 0 where training begins, 1 the widest.
    """

    def __init__(self, cfg: CurriculumTermCfg, env) -> None:
        super().__init__(cfg, env)
        self.settings: CurriculumConfig = cfg.params["settings"]
        assert self.settings.widest is not None, "a curriculum leads somewhere"
        device, names = env.device, range_names()
        widest = cfg.params.get("widest") or get_ranges(self.settings.widest)
        outer = replace(widest, background_families=env.cfg.ranges.background_families)
        self.inner = torch.tensor([getattr(env.cfg.ranges, name) for name in names], device=device)
        self.outer = torch.tensor([getattr(outer, name) for name in names], device=device)
        inside = (self.outer[:, 0] <= self.inner[:, 0]) & (self.inner[:, 1] <= self.outer[:, 1])
        if not bool(inside.all()):
            name = names[int((~inside).nonzero()[0])]
            raise ValueError(
                f"The range {name} of the curriculum's widest preset {self.settings.widest!r} does not contain the one "
                "that training begins with; ranges can only widen."
            )
        drawn = torch.tensor([name not in AT_START + COMMON for name in names], device=device)
        self.edges = ((self.inner != self.outer) & drawn[:, None]).nonzero()
        if len(self.edges) == 0:
            raise ValueError(
                f"The curriculum's widest preset {self.settings.widest!r} goes nowhere beyond the ranges that training "
                "begins with; choose another, or none."
            )
        self.level = torch.zeros(len(self.edges), device=device)
        self.tried, self.reached = torch.zeros_like(self.level), torch.zeros_like(self.level)
        self._new = torch.zeros(2, len(self.edges), device=device)
        """Targets tried and reached since the last decision, in this process alone."""
        self._edge = torch.full((env.num_envs,), -1, dtype=torch.long, device=device)
        env.draws.set(env.cfg.ranges, outer)
        env.require_timely(outer)
        env.widening = self

    def value(self, edge: Tensor, level: Tensor) -> Tensor:
        """The number at edges (n,) that are as far out as ``level (n,)``."""
        axis, side = self.edges[edge].unbind(-1)
        inner, outer = self.inner[axis, side], self.outer[axis, side]
        return inner + level * (outer - inner)

    def __call__(
        self, env, env_ids: Tensor | slice, settings: CurriculumConfig, widest: RandomizationRanges | None = None
    ) -> dict[str, Tensor]:
        """Judge the edges that the episodes of ``env_ids`` tried, and choose those that their next ones will."""
        ids = torch.arange(env.num_envs, device=env.device)[env_ids]
        if env.target.source is not None:
            judged, share = (env.target.metrics[name][ids] for name in ("judged", "reached"))
            # Targets that broken physics kept from being judged were not reached.
            planned = torch.full_like(judged, env.cfg.plans_per_episode)
            asked = torch.where(env.termination_manager.terminated[ids], planned, judged)
            self.judge(ids, asked, share * judged / asked.clamp_min(1))
        self.choose(ids)
        return {"mean": self.level.mean()}  # a tensor, so that a GPU is not waited for at each reset

    def judge(self, ids: Tensor, judged: Tensor, share: Tensor) -> None:
        """Count targets: ``judged (n,)`` in the episodes that end in ``ids``, of which a ``share (n,)`` was reached."""
        edge = self._edge[ids]
        tried = edge >= 0
        self._new.index_add_(1, edge[tried], torch.stack([judged, judged * share])[:, tried])

    def decide(self, parallel: Parallel) -> None:
        """Move the edges at which enough targets were counted, in all processes alike."""
        tried, reached = parallel.sum(self._new)
        self.tried += tried
        self.reached += reached
        self._new.zero_()
        decided = self.tried >= self.settings.window
        rate = self.reached / self.tried.clamp_min(1)
        out, back = decided & (rate >= self.settings.widen_above), decided & (rate < self.settings.narrow_below)
        self.level = (self.level + self.settings.step * (out.float() - back.float())).clamp(0, 1)
        self.tried.masked_fill_(decided, 0)
        self.reached.masked_fill_(decided, 0)
        # Episodes under way tried where these edges were; they say nothing of where they are now.
        moved = out | back
        self._edge.masked_fill_((self._edge >= 0) & moved[self._edge.clamp_min(0)], -1)

    def choose(self, ids: Tensor) -> None:
        """Set the limits of the next episodes of ``ids``, and which of them try which edge."""
        env, generator = self._env, self._env.generator
        limits = self.inner.clone()
        every = torch.arange(len(self.edges), device=env.device)
        limits[self.edges[:, 0], self.edges[:, 1]] = self.value(every, self.level)
        env.draws.limits[:, ids] = limits[:, None]
        draw = torch.rand(len(ids), 2, generator=generator, device=env.device)
        edge = (draw[:, 0] * len(self.edges)).long().clamp(max=len(self.edges) - 1)
        edge = torch.where(draw[:, 1] < self.settings.probing, edge, -1)
        self._edge[ids] = edge
        probing = edge >= 0
        beyond = self.value(edge[probing], (self.level[edge[probing]] + self.settings.step).clamp(max=1))
        env.draws.limit(ids[probing], self.edges[edge[probing], 0], beyond, beyond)

    def leave_out(self, ids: Tensor, ranges: tuple[str, ...]) -> None:
        """Count no target at the edges of ``ranges`` in the present episodes of ``ids``, which were given other values
        than those drawn."""
        names = range_names()
        given = torch.zeros(len(names), dtype=torch.bool, device=self.level.device)
        given[[names.index(name) for name in ranges]] = True
        edge = self._edge[ids]
        self._edge[ids] = torch.where(given[self.edges[edge.clamp_min(0), 0]], -1, edge)

    def forget_episodes(self) -> None:
        """Leave the episodes under way out of account, as where they are cut off."""
        self._edge.fill_(-1)

    def summary(self) -> dict[str, float]:
        """How far out the edges are: on average, and each by its name."""
        names = range_names()
        levels = {
            f"{names[axis]}_{('low', 'high')[side]}": level
            for (axis, side), level in zip(self.edges.tolist(), self.level.tolist(), strict=True)
        }
        return {"mean": float(self.level.mean())} | levels

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep; ``edges`` say which curriculum it is of."""
        return {"level": self.level, "tried": self.tried, "reached": self.reached, "edges": self.edges}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a checkpoint's state; one of another curriculum, or of none, is refused."""
        own = self.state()
        if set(state) != set(own) or not torch.equal(state["edges"].to(self.edges), self.edges):
            raise CheckpointError(
                "The checkpoint was made with another curriculum, or without one. Restore the setting "
                "controller.curriculum, or start anew with overwrite=true."
            )
        for name, value in own.items():
            value.copy_(state[name])


def widen(cfg, settings: CurriculumConfig, widest: RandomizationRanges | None = None) -> None:
    """Give the environment configuration ``cfg`` this curriculum, and what its widest ranges need.

    Args:
        widest: its widest preset where that is not as it is by itself, such as with ranges that were identified.
    """
    if settings.widest is None:
        return
    widest = widest or get_ranges(settings.widest)
    cfg.distractors = cfg.distractors or widest.distractors[1] > 0
    params = {"settings": settings, "widest": widest}
    cfg.curriculum = {"ranges": CurriculumTermCfg(func=WidenRanges, params=params)}
    cfg.apply()
