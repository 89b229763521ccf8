"""Reaching goals in a small world, with ARGOS's two parts and with search over actions, on the same data.

Both see a picture of the start and one of the goal, which a recorded episode reached ``ahead`` steps later, and have
``budget`` steps. ARGOS's way: the planner draws the next state on the way to the goal, and a small network that
imitates the recorded play turns "here" and "there next" into an action, step by step. The other way, DINO-WM's: a
deterministic predictor of the same size, and the cross-entropy method over actions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from argos_wm.cem import CEMConfig, CEMPlanner
from argos_wm.data.latent_cache import LatentCache
from argos_wm.data.windows import Windows
from argos_wm.evaluation import wilson_interval
from argos_wm.hierarchy import whole_ways
from argos_wm.latents import LatentState
from argos_wm.sampler import SamplerConfig
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, LoopConfig, fit
from argos_wm.world_model import WorldModel, WorldModelConfig, no_text
from argos_wm.worlds.pixels import PixelCodec
from argos_wm.worlds.world import Episodes, Explorer, World

STEP = 0.1
"""Seconds of a step, so that the planner's clock is in the range that it was made for."""
PROPRIO_STD = 0.25
TEXT_DIM = 1
PLAY_READ = 300
"""Episodes that tell how exactly play is followed."""
TARGET_NOISE = 0.1
"""Standard deviation added to the vision of what is followed in training, since a planner's states are not exact."""


@dataclass(frozen=True)
class GoalConfig:
    """How planners are trained and judged in one world."""

    patch: int = 8
    episodes: int = 3000
    """Of play, recorded once for both."""
    length: int = 61
    """States of an episode."""
    period: int = 5
    """Steps that one step of the world model takes, DINO-WM's frameskip."""
    ahead: int = 25
    """Steps between start and goal in the recording that they come from."""
    budget: int = 50
    """Steps that a planner has."""
    tasks: int = 200
    model: WorldModelConfig = field(
        default_factory=lambda: WorldModelConfig(history=(0.0,), action_dropout=0.0, context_noise=0.1, time_mean=2.5)
    )
    goal_share: float = 0.5
    """Share of ARGOS's windows that are told a goal; the rest learns what actions do, which trying a way out needs."""
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=3000, batch_size=128, learning_rate=1e-3, ema_decay=0.998)
    )
    follower_loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=3000, batch_size=512, learning_rate=1e-3, ema_decay=0.995)
    )
    sampler: SamplerConfig = field(default_factory=lambda: SamplerConfig(steps=2))
    arrivals: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Periods until the goal is reached, of the ways that are drawn and compared; ascending."""
    followed: float = 0.95
    """Share of recorded play, in stretches as long as the longest way, that counts as followed by each sense: what it
    misses its own states by is what a way may."""
    cem: CEMConfig = field(default_factory=lambda: CEMConfig(samples=64, elites=8, iterations=8))
    replan: int = 10
    """Steps after which the search over actions begins anew, around the rest of its last plan."""

    def __post_init__(self) -> None:
        if self.length <= self.longest * self.period:
            raise ValueError(
                f"Episodes of {self.length} states hold no way of {self.longest} periods of {self.period} steps; "
                "record longer ones or shorten arrivals."
            )

    @property
    def longest(self) -> int:
        """Periods of the longest way that the planner is trained on."""
        return max(2, *self.arrivals)


class Senses:
    """Pictures and what the agent feels of itself, as latent states."""

    def __init__(self, world: World, patch: int) -> None:
        self.world, self.codec = world, PixelCodec(world.image_size, patch)
        names = tuple(f"x{i}" for i in range(world.proprio_dim))
        self.spec = self.codec.spec(world.name, names)

    def __call__(self, state: Tensor, seconds: float | Tensor = 0.0) -> LatentState:
        """States (N, S) of the world as latent states (N, …) at a time."""
        proprio = (self.world.proprio(state) - 0.5) / PROPRIO_STD
        return LatentState(
            self.codec.encode(self.world.render(state)), proprio, torch.as_tensor(seconds).expand(len(state)).float()
        )


def encode(world: World, episodes: Episodes, patch: int) -> LatentCache:
    """Recorded play as a latent cache at one frame a step."""
    senses, (count, length) = Senses(world, patch), episodes.states.shape[:2]
    states = episodes.states.flatten(0, 1)
    parts = [senses(chunk) for chunk in states.split(2048)]
    actions = F.pad(episodes.actions, (0, 0, 0, 1)).flatten(0, 1)
    return LatentCache(
        spec=senses.spec,
        fps=1 / STEP,
        instructions=[""] * count,
        starts=torch.arange(count + 1) * length,
        vision=torch.cat([part.vision.half() for part in parts]),
        proprio=torch.cat([part.proprio for part in parts]),
        positions=world.proprio(states),
        actions=actions,
        time=(torch.arange(length) * STEP).repeat(count),
        environment_state=states,
    )


def draw_windows(cache: LatentCache, cfg: GoalConfig, goal_share: float) -> Windows:
    """Training windows: what ``whole_ways`` asks for, and what actions do.

    A share is told a goal, from two periods ahead to the longest way, and no actions: its target is the state half-way.
    The rest is told actions and no goal, a period ahead. Nothing else is ever asked of these models.
    """
    count = cfg.loop.rows
    told = torch.rand(count) < goal_share
    periods = torch.where(told, torch.randint(2, cfg.longest + 1, (count,)), 1)
    episode = torch.randint(len(cache), (count,))
    last = cache.starts[episode + 1] - 1 - periods * cfg.period
    first = cache.starts[episode]
    frames = first + (torch.rand(count) * (last - first + 1)).long()
    ahead = (periods // 2).clamp_min(1) * cfg.period
    goal = torch.where(told, periods * cfg.period, 0) if goal_share > 0 else None
    windows = cache.windows(frames, ahead, cfg.model.history, cfg.period, goal)
    windows.has_actions = ~told
    return windows


def train_world_model(
    cache: LatentCache, cfg: GoalConfig, objective: Literal["flow", "mean"], out_dir: Path, logger: RunLogger
) -> WorldModel:
    """A planner with goals (``flow``), or DINO-WM's predictor that always knows the actions and no goal (``mean``)."""
    torch.manual_seed(cfg.loop.seed)
    draws = objective == "flow"
    config = replace(cfg.model, objective=objective, action_steps=cfg.period)
    model = WorldModel(config, cache.spec, TEXT_DIM, cache.actions.shape[1])
    goal_share = cfg.goal_share if draws else 0.0
    text = no_text(cfg.loop.rows, TEXT_DIM, "cpu")
    trained = fit(
        model,
        lambda forward, step: forward(draw_windows(cache, cfg, goal_share), text),
        cfg.loop,
        out_dir,
        logger,
        f"{objective}",
    )
    assert isinstance(trained, WorldModel)
    return trained


class Follower(nn.Module):
    """What takes a state to the next that is wanted: an action for "here", "there", and the seconds between."""

    def __init__(self, cache: LatentCache, width: int = 256, per_patch: int = 16) -> None:
        super().__init__()
        spec = cache.spec
        self.patch = nn.Linear(2 * spec.channels, per_patch)
        inputs = spec.patches * per_patch + 2 * spec.proprio_dim + 1
        self.head = nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.action = nn.Linear(width, cache.actions.shape[1])

    def forward(self, here: LatentState, there: LatentState) -> Tensor:
        """Actions (B, A) for latent states (B, …), ``there`` being due at its time."""
        vision = F.silu(self.patch(torch.cat([here.vision, there.vision], -1))).flatten(1)
        left = (there.time - here.time)[:, None]
        return self.action(self.head(torch.cat([vision, here.proprio, there.proprio - here.proprio, left], 1)))


def train_follower(cache: LatentCache, cfg: GoalConfig, out_dir: Path, logger: RunLogger) -> Follower:
    """Imitate recorded play: the action that was done between a state and one that came at most a period later."""
    torch.manual_seed(cfg.follower_loop.seed)
    follower = Follower(cache)
    frames = torch.arange(len(cache.episode_of))
    usable = frames[cache.end(frames) > frames]

    def loss(_: Forward, step: int) -> dict[str, Tensor]:
        now = usable[torch.randint(len(usable), (cfg.follower_loop.rows,))]
        ahead = 1 + torch.randint(cfg.period, now.shape)
        then = torch.minimum(now + ahead, cache.end(now))
        here, there = cache.states(now), cache.states(then)
        there.vision = there.vision + TARGET_NOISE * torch.randn_like(there.vision)
        return {"loss": F.mse_loss(follower(here, there), cache.actions[now].clamp(-1, 1))}

    trained = fit(follower, loss, cfg.follower_loop, out_dir, logger, "follower")
    assert isinstance(trained, Follower)
    return trained


class StatePlanner:
    """ARGOS's way: draw the next state toward the goal, then follow it.

    When the goal will be reached is not known. Ways of several lengths are drawn, and the shortest is taken that can be
    followed to its goal, which is tried out in the world model, with the actions of what will follow it.

    Attributes:
        tolerance: (2,) by how much following a way may miss one of its states.
    """

    def __init__(
        self,
        model: WorldModel,
        follower: Follower,
        senses: Senses,
        cfg: GoalConfig,
        play: Episodes,
        seed: int = 0,
    ) -> None:
        """``play``: recorded episodes that nothing was trained on, ways that were followed; they tell the tolerance."""
        self.model, self.follower, self.senses, self.cfg = model, follower, senses, cfg
        self.generator = torch.Generator().manual_seed(seed)
        every = play.states[:PLAY_READ, :: cfg.period]
        states = LatentState.stack([senses(state, i * cfg.period * STEP) for i, state in enumerate(every.unbind(1))])
        with torch.no_grad():
            longest = min(max(cfg.arrivals), every.shape[1] - 1)
            starts = range(0, every.shape[1] - longest, longest)
            misses = torch.cat([self.miss(states[:, i], states[:, i + 1 : i + 1 + longest]) for i in starts])
        self.tolerance = misses.quantile(cfg.followed, dim=0).clamp_min(1e-3)

    @torch.no_grad()
    def act(self, state: Tensor, goal: LatentState, step: int) -> Tensor:
        """The action (N, A) at ``step`` of the budget."""
        cfg = self.cfg
        if step % cfg.period == 0:
            self.target = self.plan(self.senses(state), goal, step)
        here = self.senses(state, (step % cfg.period) * STEP)
        return self.follower(here, self.target).clamp(-1, 1)

    def plan(self, here: LatentState, goal: LatentState, step: int) -> LatentState:
        """The state wanted a period from now."""
        cfg, count = self.cfg, len(self.cfg.arrivals)
        rows = torch.arange(len(goal)).repeat_interleave(count)
        periods = torch.tensor(cfg.arrivals).repeat(len(goal))
        ways = whole_ways(self.model, here[rows], goal[rows], periods, cfg.period * STEP, self.generator, cfg.sampler)
        misses = (self.miss(here[rows], ways) / self.tolerance).amax(1).unflatten(0, (-1, count))
        within = misses <= 1
        shortest = within.int().argmax(1)  # arrivals ascend, and argmax takes the first
        chosen = torch.where(within.any(1), shortest, misses.argmin(1))
        return ways[torch.arange(len(goal)) * count + chosen, 0]

    def miss(self, here: LatentState, way: LatentState) -> Tensor:
        """How far from its goal one ends who follows a way (N, T, …): vision and proprio (N, 2).

        RMS differences in standardised units. Following is rolled out in the world model, each step from where the one
        before had led: judged one by one from the way's own states, small steps through a wall miss little each. A
        step's outcome is the conditional mean, given the action that the follower begins it with. Where a way repeats
        its goal, there is no step.
        """
        cfg, state = self.cfg, here
        for wanted in (way[:, i] for i in range(way.time.shape[1])):
            going = (wanted.time > state.time + 1e-6).nonzero().squeeze(1)
            start, end = state[going], wanted[going]
            action = self.follower(start, end).clamp(-1, 1)
            noise = tuple(torch.zeros_like(x) for x in (start.vision, start.proprio))
            came = self.model.sample(
                start[:, None],
                torch.ones(len(start), 1, dtype=torch.bool),
                None,
                end.time - start.time,
                action[:, None].expand(-1, cfg.period, -1),
                steps=1,
                solver="euler",
                noise=noise,
            )
            state = LatentState(
                state.vision.index_copy(0, going, came.vision),
                state.proprio.index_copy(0, going, came.proprio),
                state.time.index_copy(0, going, came.time),
            )
        goal = way[:, -1]
        pairs = ((state.vision, goal.vision), (state.proprio, goal.proprio))
        return torch.stack([(a - b).square().flatten(1).mean(1).sqrt() for a, b in pairs], 1)


class ActionSearch:
    """DINO-WM's way: search for actions whose predicted outcome is the goal."""

    def __init__(self, model: WorldModel, senses: Senses, cfg: GoalConfig, seed: int = 0) -> None:
        self.search, self.senses, self.cfg = CEMPlanner(model, cfg.period * STEP, cfg.cem), senses, cfg
        self.generator = torch.Generator().manual_seed(seed)
        self.last: Tensor | None = None

    @torch.no_grad()
    def act(self, state: Tensor, goal: LatentState, step: int) -> Tensor:
        """The action (N, A) at ``step`` of the budget."""
        cfg = self.cfg
        if step % cfg.replan == 0:
            self.last = self.plan(self.senses(state), goal, step)
            self.actions = self.last.flatten(1, 2)
        return self.actions[:, step % cfg.replan]

    def plan(self, here: LatentState, goal: LatentState, step: int) -> Tensor:
        """Actions (N, H, period, A) until the goal is due, at least as many as are done before the next search."""
        cfg = self.cfg
        periods = max(cfg.replan, cfg.ahead - step) // cfg.period
        start = None
        if self.last is not None and step > 0:
            rest = self.last[:, cfg.replan // cfg.period :]
            start = F.pad(rest, (0, 0, 0, 0, 0, max(0, periods - rest.shape[1])))[:, :periods]
        return self.search.plan(here, goal, periods, self.generator, start)


class Aimless:
    """What comes of no planning: random actions, or the play that was recorded. Some goals are met by chance."""

    def __init__(self, senses: Senses, cfg: GoalConfig, play: bool, seed: int = 0) -> None:
        self.senses, self.cfg, self.play = senses, cfg, play
        self.generator = torch.Generator().manual_seed(seed)
        self.explorer: Explorer | None = None

    def act(self, state: Tensor, goal: LatentState, step: int) -> Tensor:
        """The action (N, A), whatever the goal."""
        if not self.play:
            return 2 * torch.rand(len(state), self.senses.world.action_dim, generator=self.generator) - 1
        if self.explorer is None or step == 0:
            self.explorer = self.senses.world.explorer(len(state), self.generator)
        return self.explorer.act(state)


def judge(planner: StatePlanner | ActionSearch | Aimless, start: Tensor, goal: Tensor, label: str) -> dict[str, Any]:
    """Share of tasks that are solved at some step of the budget, with their number and a 95 % interval."""
    world, cfg = planner.senses.world, planner.cfg
    state, wanted = start, planner.senses(goal)
    solved = torch.zeros(len(start), dtype=torch.bool)
    for step in tqdm(range(cfg.budget), desc=label, leave=False):
        state = world.step(state, planner.act(state, wanted, step))
        solved |= world.solved(state, goal)
    count = int(solved.sum())
    return {"tasks": len(start), "solved": count / len(start), "solved_ci": wilson_interval(count, len(start))}


def seconds_per_plan(planner: StatePlanner | ActionSearch, start: Tensor, goal: Tensor, repeats: int = 5) -> float:
    """Median time of the first plan of one task [s]."""
    here, wanted = planner.senses(start[:1]), planner.senses(goal[:1])
    times = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            begin = time.perf_counter()
            planner.plan(here, wanted, 0)
            times.append(time.perf_counter() - begin)
    return float(torch.tensor(times[1:]).median())
