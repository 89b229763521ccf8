"""Reaching goals in a small world, with ARGOS's two parts and with search over actions, on the same data.

Both see a picture of the start and one of the goal, which a recorded episode reached ``ahead`` steps later, know that
number, and have twice as many steps. ARGOS's way: the planner draws the next state on the way to the goal, and a small
network that imitates the recorded play turns "here" and "there next" into an action, step by step. The other way,
DINO-WM's: a deterministic predictor of the same size, and the cross-entropy method over actions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from argos_wm.cem import CEMConfig, CEMPlanner
from argos_wm.compiling import compile_layers
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
from argos_wm.worlds.world import Episodes, Explorer, World, record, tasks

STEP = 0.1
"""Seconds of a step, so that the planner's clock is in the range that it was made for."""
PROPRIO_STD = 0.25
TEXT_DIM = 1
BUDGET = 2
"""Steps that planners have, in units of those between start and goal in the recording."""
TARGET_NOISE = 0.1
"""Standard deviation added to the vision of what is followed in training, since a planner's states are not exact."""


@dataclass(frozen=True)
class GoalConfig:
    """How planners are trained and judged in one world."""

    patch: int = 8
    episodes: int = 3000
    """Of play, recorded once for both."""
    length: int = 101
    """States of an episode."""
    period: int = 5
    """Steps that one step of the world model takes, DINO-WM's frameskip."""
    ahead: tuple[int, ...] = (25, 50)
    """Steps between start and goal in the recording that they come from; each distance has tasks of its own, and
    planners have twice as many steps. DINO-WM's is 25."""
    tasks: int = 200
    """Of each distance."""
    model: WorldModelConfig = field(
        default_factory=lambda: WorldModelConfig(history=(0.0,), action_dropout=0.0, context_noise=0.1, time_mean=2.5)
    )
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=3000, batch_size=128, learning_rate=1e-3, ema_decay=0.998)
    )
    follower_loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=10_000, batch_size=512, learning_rate=1e-3, ema_decay=0.998)
    )
    sampler: SamplerConfig = field(default_factory=lambda: SamplerConfig(steps=2))
    cem: CEMConfig = field(default_factory=lambda: CEMConfig(samples=64, elites=8, iterations=5))
    replan: int = 10
    """Steps after which the search over actions begins anew, around the rest of its last plan."""

    def __post_init__(self) -> None:
        if self.length <= self.longest * self.period:
            raise ValueError(
                f"Episodes of {self.length} states hold no way of {self.longest} periods of {self.period} steps; "
                "record longer ones or set goals less far ahead."
            )

    @property
    def longest(self) -> int:
        """Periods of the longest way that the planner is trained on."""
        return max(2, -(-max(self.ahead) // self.period))


class Senses:
    """Pictures and what the agent feels of itself, as latent states."""

    def __init__(self, world: World, patch: int, device: torch.device | str = "cpu") -> None:
        self.world, self.codec, self.device = world, PixelCodec(world.image_size, patch), device
        names = tuple(f"x{i}" for i in range(world.proprio_dim))
        self.spec = self.codec.spec(world.name, names)

    def __call__(self, state: Tensor, seconds: float | Tensor = 0.0) -> LatentState:
        """States (N, S) of the world as latent states (N, …) at a time, on the device."""
        time = torch.as_tensor(seconds).expand(len(state)).float()
        return LatentState(self.codec.encode(self.world.render(state)), self.feelings(state), time).to(self.device)

    def feelings(self, state: Tensor) -> Tensor:
        """Standardised proprioception (N, D)."""
        return (self.world.proprio(state) - 0.5) / PROPRIO_STD


def encode(world: World, episodes: Episodes, patch: int) -> LatentCache:
    """Recorded play as a latent cache at one frame a step."""
    senses, (count, length) = Senses(world, patch), episodes.states.shape[:2]
    states = episodes.states.flatten(0, 1)
    pictures = (senses.codec.encode(world.render(chunk)).half() for chunk in states.split(2048))
    shape = (len(states), senses.spec.patches, senses.spec.channels)
    vision = torch.empty(
        shape, dtype=torch.float16
    )  # filled chunk by chunk: in parts and joined, it takes twice as much
    for rows, chunk in zip(vision.split(2048), pictures, strict=True):
        rows.copy_(chunk)
    actions = F.pad(episodes.actions, (0, 0, 0, 1)).flatten(0, 1)
    return LatentCache(
        spec=senses.spec,
        fps=1 / STEP,
        instructions=[""] * count,
        starts=torch.arange(count + 1) * length,
        vision=vision,
        proprio=senses.feelings(states),
        positions=world.proprio(states),
        actions=actions,
        time=(torch.arange(length) * STEP).repeat(count),
        environment_state=states,
    )


def draw_windows(cache: LatentCache, cfg: GoalConfig, goals: bool) -> Windows:
    """Training windows, as they will be asked for.

    With goals: two periods to the longest way ahead, and the target is the state half-way, as ``whole_ways`` asks; no
    actions. Without: actions, and the state a period ahead.
    """
    count = cfg.loop.rows
    periods = torch.randint(2, cfg.longest + 1, (count,)) if goals else torch.ones(count, dtype=torch.long)
    episode = torch.randint(len(cache), (count,))
    last = cache.starts[episode + 1] - 1 - periods * cfg.period
    first = cache.starts[episode]
    frames = first + (torch.rand(count) * (last - first + 1)).long()
    ahead = (periods // 2).clamp_min(1) * cfg.period
    windows = cache.windows(frames, ahead, cfg.model.history, cfg.period, periods * cfg.period if goals else None)
    windows.has_actions = torch.full((count,), not goals)
    return windows


def train_world_model(
    cache: LatentCache,
    cfg: GoalConfig,
    objective: Literal["flow", "mean"],
    out_dir: Path,
    logger: RunLogger,
    device: torch.device | str = "cpu",
) -> WorldModel:
    """A planner that knows goals (``flow``), or DINO-WM's predictor that knows actions (``mean``)."""
    torch.manual_seed(cfg.loop.seed)
    config = replace(cfg.model, objective=objective, action_steps=cfg.period)
    model = WorldModel(config, cache.spec, TEXT_DIM, cache.actions.shape[1]).to(device)
    text = no_text(cfg.loop.rows, TEXT_DIM, device)

    def loss(forward: Forward, _: int) -> dict[str, Tensor]:
        return forward(draw_windows(cache, cfg, objective == "flow").to(device), text)

    trained = fit(model, loss, cfg.loop, out_dir, logger, f"{objective}")
    assert isinstance(trained, WorldModel)
    return trained


class Follower(nn.Module):
    """What takes a state to the next that is wanted: an action for "here", "there", and the seconds between."""

    def __init__(self, cache: LatentCache, width: int = 512, per_patch: int = 32) -> None:
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


def train_follower(
    cache: LatentCache, cfg: GoalConfig, out_dir: Path, logger: RunLogger, device: torch.device | str = "cpu"
) -> Follower:
    """Imitate recorded play: the action that was done between a state and one that came at most a period later."""
    torch.manual_seed(cfg.follower_loop.seed)
    follower = Follower(cache).to(device)
    frames = torch.arange(len(cache.episode_of))
    usable = frames[cache.end(frames) > frames]

    def loss(_: Forward, step: int) -> dict[str, Tensor]:
        now = usable[torch.randint(len(usable), (cfg.follower_loop.rows,))]
        ahead = 1 + torch.randint(cfg.period, now.shape)
        then = torch.minimum(now + ahead, cache.end(now))
        here, there = cache.states(now).to(device), cache.states(then).to(device)
        there.vision = there.vision + TARGET_NOISE * torch.randn_like(there.vision)
        return {"loss": F.mse_loss(follower(here, there), cache.actions[now].clamp(-1, 1).to(device))}

    trained = fit(follower, loss, cfg.follower_loop, out_dir, logger, "follower")
    assert isinstance(trained, Follower)
    return trained


class StatePlanner:
    """ARGOS's way: draw the whole way to the goal, follow it for a period, and draw it anew from where that led.

    A way is as long as the time until the goal is due; once it is overdue, as the time that is left.
    """

    def __init__(
        self, model: WorldModel, follower: Follower, senses: Senses, cfg: GoalConfig, ahead: int, seed: int = 0
    ) -> None:
        """``ahead``: steps from the start until the goal is due."""
        self.model, self.follower, self.senses, self.cfg, self.ahead = model, follower, senses, cfg, ahead
        self.generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def act(self, state: Tensor, goal: LatentState, step: int) -> Tensor:
        """The action (N, A) at ``step`` of the budget."""
        cfg = self.cfg
        if step % cfg.period == 0:
            self.target = self.plan(self.senses(state), goal, step)[:, 0]
        here = self.senses(state, (step % cfg.period) * STEP)
        return self.follower(here, self.target).clamp(-1, 1)

    def plan(self, here: LatentState, goal: LatentState, step: int) -> LatentState:
        """The states (N, T, …) on the way to the goal, one a period."""
        cfg = self.cfg
        due = self.ahead if step < self.ahead else BUDGET * self.ahead
        periods = min(cfg.longest, max(1, (due - step) // cfg.period))
        every = torch.full((len(goal),), periods, device=here.time.device)
        return whole_ways(self.model, here, goal, every, cfg.period * STEP, self.generator, cfg.sampler)


class ActionSearch:
    """DINO-WM's way: search for actions whose predicted outcome is the goal."""

    def __init__(self, model: WorldModel, senses: Senses, cfg: GoalConfig, ahead: int, seed: int = 0) -> None:
        self.search, self.senses, self.cfg = CEMPlanner(model, cfg.period * STEP, cfg.cem), senses, cfg
        self.ahead, self.generator = ahead, torch.Generator().manual_seed(seed)
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
        periods = max(cfg.replan, self.ahead - step) // cfg.period
        start = None
        if self.last is not None and step > 0:
            rest = self.last[:, cfg.replan // cfg.period :]
            start = F.pad(rest, (0, 0, 0, 0, 0, max(0, periods - rest.shape[1])))[:, :periods]
        return self.search.plan(here, goal, periods, self.generator, start)


class Aimless:
    """What comes of no planning: random actions, or the play that was recorded. Some goals are met by chance."""

    def __init__(self, senses: Senses, cfg: GoalConfig, ahead: int, play: bool, seed: int = 0) -> None:
        self.senses, self.cfg, self.ahead, self.play = senses, cfg, ahead, play
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
    world = planner.senses.world
    state, wanted = start, planner.senses(goal)
    solved = torch.zeros(len(start), dtype=torch.bool)
    for step in tqdm(range(BUDGET * planner.ahead), desc=label, leave=False):
        state = world.step(state, planner.act(state, wanted, step).cpu())
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
            plan = planner.plan(here, wanted, 0)
            (plan.time if isinstance(plan, LatentState) else plan).sum().item()  # until a GPU is done
            times.append(time.perf_counter() - begin)
    return float(torch.tensor(times[1:]).median())


RECORD_SEED, TASK_SEED = 0, 1
"""Tasks come from episodes that nothing was trained on."""


@dataclass
class Trained:
    """What is compared, trained on the same recorded play."""

    flow: WorldModel
    mean: WorldModel
    follower: Follower
    senses: Senses

    def planner(self, cfg: GoalConfig, ahead: int) -> StatePlanner:
        """ARGOS's way to goals so many steps ahead."""
        return StatePlanner(self.flow, self.follower, self.senses, cfg, ahead)


def train(
    world: World, cfg: GoalConfig, folder: Path, logger: Callable[[str], RunLogger], device: torch.device | str = "cpu"
) -> Trained:
    """Train both ways' networks, each in a folder of its own; ``logger`` makes one by a network's name. What trains
    compiled plans compiled."""
    cache = encode(world, record(world, cfg.episodes, cfg.length, RECORD_SEED), cfg.patch)
    models: dict[str, WorldModel] = {}
    for objective in ("flow", "mean"):
        log = logger(objective)
        models[objective] = train_world_model(cache, cfg, objective, folder / objective, log, device)
        log.close()
    log = logger("follower")
    follower = train_follower(cache, cfg, folder / "follower", log, device)
    log.close()
    if cfg.loop.compile:
        for model in models.values():
            compile_layers(model.requires_grad_(False))
    return Trained(models["flow"], models["mean"], follower, Senses(world, cfg.patch, device))


def compare(trained: Trained, cfg: GoalConfig, start: Tensor, goal: Tensor, ahead: int) -> dict[str, Any]:
    """Shares of tasks solved by both ways, by random actions and by play, and the time that plans take."""
    senses, figures = trained.senses, {}
    aimless = {label: Aimless(senses, cfg, ahead, play) for label, play in (("random", False), ("play", True))}
    planners = {
        "states": trained.planner(cfg, ahead),
        "actions": ActionSearch(trained.mean, senses, cfg, ahead),
    }
    for label, planner in (aimless | planners).items():
        result = judge(planner, start, goal, f"{senses.world.name}, {ahead} steps, by {label}")
        figures |= {f"{label}.{k}": v for k, v in result.items()}
    for label, planner in planners.items():
        figures[f"{label}.seconds_per_plan"] = seconds_per_plan(planner, start, goal)
    figures["gain"] = figures["states.solved"] - figures["actions.solved"]
    figures["time_ratio"] = figures["actions.seconds_per_plan"] / figures["states.seconds_per_plan"]
    return figures


def held_out_tasks(world: World, cfg: GoalConfig, ahead: int) -> tuple[Tensor, Tensor]:
    """Starts and goals so many steps apart."""
    return tasks(world, record(world, 4 * cfg.tasks, cfg.length, TASK_SEED), ahead, cfg.tasks, TASK_SEED)
