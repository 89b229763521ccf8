"""Closed-loop episodes kept for the eye: what the camera saw, what was imagined, and how the target was followed."""

from __future__ import annotations

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


class ImaginedTargets:
    """A target source that imagines further than the next target, and keeps what it imagined first.

    Args:
        planner: frozen; of the same latents as the environment.
        targets: T, states to imagine each time.
    """

    def __init__(self, planner: Planner, targets: int = 3, seed: int = 0) -> None:
        self.planner, self.count, self.seed = planner, targets, seed
        self.first: LatentState | None = None

    def targets(self, env: LatentTrackingEnv, ids: Tensor, horizon: Tensor) -> LatentState:
        """See ``argos_sim.targets.TargetSource``."""
        history, mask = env.perception.history(self.planner.world_model.config.history)
        instruction: Any = env.instruction
        period = env.cfg.rates.planner_period_s
        plan = self.planner.plan(history[ids], mask[ids], instruction.text(ids), self.count, period, self.seed).targets
        self.seed += 1
        if self.first is None:
            self.first = plan
        return plan[:, 0].to(env.device)


@torch.no_grad()
def record_episodes(env: LatentTrackingEnv, controller: Controller, planner: Planner, seed: int = 0) -> Recording:
    """One episode in every environment, from its reset to its end, with the planner live."""
    rates, perception = env.cfg.rates, env.perception
    target: Any = env.target
    instruction: Any = env.instruction
    source = ImaginedTargets(planner, seed=seed)
    target.source, target.cfg.record = source, True
    env.generator.manual_seed(seed)
    perception.generator.manual_seed(seed + 1)
    obs, _ = env.reset()
    # Isaac Lab plans once while it builds an environment; only this reset's plan is to be shown.
    every = torch.arange(env.num_envs, device=env.device)
    source.first = None
    target._resample_command(every)
    target.ensure_ready()
    obs = env.observation_manager.compute()
    target.records.clear()
    frames: list[tuple[Tensor, Tensor, Tensor]] = []
    errors: list[tuple[Tensor, Tensor]] = []
    steps = env.max_episode_length
    for step in tqdm(range(steps), desc="playing", leave=False):
        if step % rates.control_per_frame == 0:
            frames.append((perception.images.clone(), perception.vision.clone(), target.target_vision.clone()))
        errors.append((target.joint_error(), target.vision_error() / target.given_vision_error))
        # The last state is shown too, but stepping from it would begin the next episode.
        if step < steps - 1:
            obs = env.step(_action(controller, obs))[0]
    assert source.first is not None
    images, vision, wanted = (torch.stack(x).cpu() for x in zip(*frames, strict=True))
    joint_error, share = (torch.stack(x).cpu() for x in zip(*errors, strict=True))
    names = instruction.objects
    return Recording(
        images,
        vision,
        wanted,
        source.first.to("cpu"),
        joint_error,
        share,
        _judgements(target.records, env.num_envs, rates.control_dt),
        instruction.text(every),
        [names[i] for i in instruction.named.tolist()],
        [names[i] if i >= 0 else None for i in instruction.first_touched.tolist()],
        (instruction.touched_at * rates.control_dt).tolist(),
        instruction.success.tolist(),
        rates.control_dt,
        rates.control_per_frame,
        rates.control_per_plan,
    )


def _action(controller: Controller, obs) -> Tensor:
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
