"""Closed-loop episodes kept for the eye: what the camera saw, what was imagined, and how the target was followed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from argos_sim.controller.network import PROPRIO, TARGET_VISION, VISION, Controller
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_wm.latents import LatentState
from argos_wm.planner import Planner


@dataclass(frozen=True)
class Judgement:
    """A target at its due time [s]: joints' RMS error [rad], vision error ÷ that when it was given."""

    time: float
    joint_error: float
    vision_share: float
    reached: bool


@dataclass
class Recording:
    """N episodes of F camera frames and S control steps."""

    images: Tensor
    """What the cameras saw, uint8 (F, N, 3, H, W)."""
    vision: Tensor
    """Its latents (F, N, P, C), standardised."""
    target_vision: Tensor
    """The target that was being followed (F, N, P, C)."""
    plan: LatentState
    """What was imagined at the start (N, T, …); its first state was the first target."""
    joint_error: Tensor
    """RMS over the joints between true and target position (S, N) [rad]."""
    vision_share: Tensor
    """Vision error ÷ that when the target was given (S, N)."""
    judgements: list[list[Judgement]]
    """Of each episode, in time."""
    instructions: list[str]
    named: list[str]
    """The object that each instruction names."""
    touched: list[str | None]
    """The object first touched."""
    touched_at: list[float]
    """When [s]; meaningless if none was."""
    done: list[bool]
    """Whether what was asked was done at the end."""
    control_dt: float
    """Seconds of a control step."""
    frame_steps: int
    """Control steps in a camera frame."""
    plan_steps: int
    """Control steps in a planner period."""

    @property
    def steps(self) -> int:
        return len(self.joint_error)

    @property
    def episodes(self) -> int:
        return len(self.instructions)

    def outcome(self, episode: int) -> str:
        """What became of an episode, in a few words."""
        verdict = "done" if self.done[episode] else "not done"
        return f"{verdict}: {self.touch(episode)}"

    def touch(self, episode: int) -> str:
        """What was touched first, and when."""
        touched, named = self.touched[episode], self.named[episode]
        if touched is None:
            return "nothing touched"
        label = f"touched {touched} at {self.touched_at[episode]:.1f} s"
        return label if touched == named else f"{label}, not {named}"


def joined(recordings: Sequence[Recording]) -> Recording:
    """Several recordings of equal length as one, their episodes one after the other."""
    merged: dict[str, Any] = {"plan": LatentState.cat([r.plan for r in recordings])}
    for field in dataclasses.fields(Recording):
        parts = [getattr(r, field.name) for r in recordings]
        if isinstance(parts[0], Tensor):
            merged[field.name] = torch.cat(parts, 1)
        elif isinstance(parts[0], list):
            merged[field.name] = list(itertools.chain.from_iterable(parts))
    return dataclasses.replace(recordings[0], **merged)


class ImaginedTargets:
    """A target source that imagines further than the next target, and keeps what it imagined first and last.

    Args:
        planner: frozen; of the same latents as the environment.
        targets: T, states to imagine each time.
    """

    def __init__(self, planner: Planner, targets: int = 3, seed: int = 0) -> None:
        self.planner, self.count, self.seed = planner, targets, seed
        self.first: LatentState | None = None
        self.latest: LatentState | None = None

    def targets(self, env: LatentTrackingEnv, ids: Tensor, horizon: Tensor) -> LatentState:
        """See ``argos_sim.targets.TargetSource``."""
        history, mask = env.perception.history(self.planner.world_model.config.history)
        instruction: Any = env.instruction
        period = env.cfg.rates.planner_period_s
        plan = self.planner.plan(history[ids], mask[ids], instruction.text(ids), self.count, period, self.seed).targets
        self.seed += 1
        self.latest = plan
        if self.first is None:
            self.first = plan
        return plan[:, 0].to(env.device)


class Recorder:
    """Keeps an episode of every environment: ``begin`` at its reset, ``capture`` before each step, then ``finish``."""

    def __init__(self, env: LatentTrackingEnv, source: ImaginedTargets) -> None:
        self.env, self.source = env, source
        self.target: Any = env.target
        self.instruction: Any = env.instruction
        self.target.source, self.target.cfg.record = source, True
        self.frames: list[tuple[Tensor, Tensor, Tensor]] = []
        self.errors: list[tuple[Tensor, Tensor]] = []

    def begin(self) -> None:
        """Forget the episode before; its first plan is the source's next."""
        self.source.first = None
        self.frames, self.errors = [], []
        self.target.records.clear()
        self.broken = torch.zeros(self.env.num_envs, dtype=torch.bool, device=self.env.device)

    def capture(self) -> bool:
        """Keep the present control step.

        Returns:
            whether a camera frame was due in it.
        """
        perception, due = self.env.perception, len(self.errors) % self.env.cfg.rates.control_per_frame == 0
        if due:
            frame = (perception.images.clone(), perception.vision.clone(), self.target.target_vision.clone())
            self.frames.append(frame)
        share = self.target.vision_error() / self.target.given_vision_error
        self.errors.append((self.target.joint_error(), share))
        return due

    def finish(self) -> Recording:
        """The episode up to the last step that was kept."""
        assert self.source.first is not None
        env, rates, instruction = self.env, self.env.cfg.rates, self.instruction
        images, vision, wanted = (torch.stack(x).cpu() for x in zip(*self.frames, strict=True))
        joint_error, share = (torch.stack(x).cpu() for x in zip(*self.errors, strict=True))
        names = instruction.objects
        return Recording(
            images,
            vision,
            wanted,
            self.source.first.to("cpu"),
            joint_error,
            share,
            _judgements(self.target.records, env.num_envs, rates.control_dt),
            instruction.text(torch.arange(env.num_envs, device=env.device)),
            [names[i] for i in instruction.named.tolist()],
            [names[i] if i >= 0 else None for i in instruction.first_touched.tolist()],
            (instruction.touched_at * rates.control_dt).tolist(),
            (instruction.success & ~self.broken).tolist(),
            rates.control_dt,
            rates.control_per_frame,
            rates.control_per_plan,
        )


@torch.no_grad()
def record_episodes(env: LatentTrackingEnv, controller: Controller, planner: Planner, seed: int = 0) -> Recording:
    """One episode in every environment, from its reset to its end, with the planner live."""
    recorder = Recorder(env, ImaginedTargets(planner, seed=seed))
    obs = begin_episode(env, recorder, seed)
    steps = env.max_episode_length
    for step in tqdm(range(steps), desc="playing", leave=False):
        recorder.capture()
        # The last state is shown too, but stepping from it would begin the next episode.
        if step < steps - 1:
            obs = env.step(action(controller, obs))[0]
            # Where physics broke another episode goes on in the film, of which this one's success is no part.
            recorder.broken |= env.reset_buf
    return recorder.finish()


def begin_episode(env: LatentTrackingEnv, recorder: Recorder, seed: int | None = None) -> Any:
    """Reset every environment and plan; with a ``seed``, what is drawn at this reset follows from it.

    Returns:
        the first observations.
    """
    if seed is not None:
        env.generator.manual_seed(seed)
        env.perception.generator.manual_seed(seed + 1)
    env.reset()
    # Isaac Lab plans once while it builds an environment; only this reset's plan is to be shown.
    recorder.begin()
    env.target.forget()
    env.target.ensure_ready()
    recorder.target.records.clear()
    return env.observation_manager.compute()


def action(controller: Controller, obs: Any) -> Tensor:
    """The controller's action (N, J), in shares of the torque limits."""
    cfg = controller.cfg
    vision, target = (obs[name].unflatten(-1, (cfg.patches, cfg.channels)) for name in (VISION, TARGET_VISION))
    return controller.action(vision, target, *cfg.split(obs[PROPRIO])).clamp(-1.0, 1.0)


def _judgements(records: list[dict[str, Tensor]], episodes: int, control_dt: float) -> list[list[Judgement]]:
    out: list[list[Judgement]] = [[] for _ in range(episodes)]
    for record in records:
        share = record["vision_error"] / record["vision_error_given"]
        columns = (record["env"], record["step"] * control_dt, record["joint_error"], share, record["reached"])
        for episode, *values in zip(*(column.tolist() for column in columns), strict=True):
            out[episode].append(Judgement(*values))
    return out
