"""The command of latent tracking: a state to be reached by a time, drawn from the frozen planner.

At each planner tick of an environment its last target is judged and a new one is asked for, from where the robot then
is. A target is *reached* when, at its due time, the joints' RMS error to its decoded proprioception is at most
``JOINT_TOLERANCE`` and the vision error at most half of what it was when the target was given.
"""

# Isaac Lab fills MISSING fields later and types the environment of a term more loosely than it is.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportIncompatibleVariableOverride=false

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from isaaclab.managers import CommandTerm, CommandTermCfg
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.kinematics import cubic_path
from argos_sim.mdp.instructions import FOREVER
from argos_sim.paths import PRETRAINED
from argos_sim.targets import PlannerTargets, TargetSource
from argos_wm.sampler import SamplerConfig

if TYPE_CHECKING:
    from argos_sim.envs.latent_tracking_env import LatentTrackingEnv

JOINT_TOLERANCE = 0.10
"""rad RMS over the joints."""
VISION_SHARE = 0.5
"""Share of the initial vision error that may remain."""
OUTCOMES = ("judged", "reached", "joint_error", "proprio_error", "vision_share")
"""What is known of a target in the control step in which it is judged."""


class LatentTargetCommand(CommandTerm):
    """Holds each environment's target, judges it when it is due, and asks its source for the next.

    Attributes:
        target_vision (N, P, C), target_proprio (N, D): standardised latents.
        target_raw: (N, 2J) decoded proprioception [rad, rad/s].
        start_raw: (N, 2J) true joint state when the target was given.
        just: ``OUTCOMES`` of the targets judged in this control step, each (N,), 0 where none was.
        records: one dict of tensors a judged batch when ``cfg.record``.
    """

    cfg: LatentTargetCommandCfg

    _env: LatentTrackingEnv

    def __init__(self, cfg: LatentTargetCommandCfg, env: LatentTrackingEnv) -> None:
        super().__init__(cfg, env)
        self.perception, self.rates = env.perception, env.cfg.rates
        self.source: TargetSource | None = None
        perception = self.perception
        self.target_vision = torch.zeros_like(perception.vision)
        self.target_proprio = torch.zeros_like(perception.proprio)
        self.target_raw = torch.zeros_like(perception.raw_proprio)
        self.start_raw = torch.zeros_like(perception.raw_proprio)
        n = self.num_envs
        self.given_vision_error = torch.ones(n, device=self.device)
        self.given_joint_error = torch.ones(n, device=self.device)
        self._given_at = torch.full((n,), -1, dtype=torch.long, device=self.device)
        self._allowed = torch.ones(n, device=self.device)
        self.just = {name: torch.zeros(n, device=self.device) for name in OUTCOMES}
        self.records: list[dict[str, Tensor]] = []
        self._ready_at = -1
        self._wanting = True  # known without asking a GPU
        for name in ("reached", "judged"):
            self.metrics[name] = torch.zeros(n, device=self.device)

    @property
    def command(self) -> Tensor:
        """The target's latents, flat (N, P C + D)."""
        return torch.cat([self.target_vision.flatten(1), self.target_proprio], -1)

    @property
    def time_to_go(self) -> Tensor:
        """(N,) seconds until the target is due."""
        period = self.rates.control_per_plan
        return (period - self._env.episode_length_buf % period) * self.rates.control_dt

    def vision_error(self) -> Tensor:
        """(N,) RMS between current and target vision, in standardised units."""
        return (self.perception.vision - self.target_vision).flatten(1).pow(2).mean(1).sqrt()

    def proprio_error(self) -> Tensor:
        """(N,) RMS between current and target proprioception, in standardised units."""
        return (self.perception.proprio - self.target_proprio).pow(2).mean(1).sqrt()

    def joint_error(self) -> Tensor:
        """(N,) RMS over the joints of true minus target position [rad, or what counts as one]."""
        joints = self.target_raw.shape[1] // 2
        error = (self.perception.true_proprio() - self.target_raw)[:, :joints] / self._env.joint_unit
        return error.pow(2).mean(1).sqrt()

    def path(self, ahead: int = 0) -> Tensor:
        """Joint state (N, 2J) [rad, rad/s] that the way to the target asks for in ``ahead`` control steps.

        The way is a cubic, from the joint state in which the target was given to the target's own, velocities
        included, so that it says *when* to be where: neither late nor early.
        """
        elapsed = (self._env.episode_length_buf - self._given_at + ahead) * self.rates.control_dt
        phase = (elapsed / self._allowed).clamp(0.0, 1.0)
        return torch.cat(cubic_path(self.start_raw, self.target_raw, self._allowed, phase), -1)

    def path_error(self) -> Tensor:
        """True joint state minus ``path()`` (N, 2J) [rad, rad/s, or what counts as a radian]."""
        return (self.perception.true_proprio() - self.path()) / self._env.joint_unit.repeat(2)

    def forget(self) -> None:
        """Drop all targets, unjudged; the next look plans anew, for the episodes' present ages."""
        self._resample_command(slice(None))

    def ensure_ready(self) -> None:
        """See, judge and plan for the present control step, once; also outside ``compute``, as after a reset."""
        env = self._env
        if self._ready_at == env.common_step_counter and not self._wanting:
            return
        fresh = self._given_at < 0
        self._wanting = False
        first_call = self._ready_at != env.common_step_counter
        self._ready_at = env.common_step_counter
        self.perception.sense(env.common_step_counter)
        self.perception.look(env.common_step_counter, env.episode_length_buf)
        tick = env.episode_length_buf % self.rates.control_per_plan == 0
        due = tick & ~fresh if first_call else torch.zeros_like(tick)
        if first_call:
            for outcome in self.just.values():
                outcome.zero_()
        if bool(due.any()):
            self._judge(due.nonzero().squeeze(-1))
        wanting = (due | fresh).nonzero().squeeze(-1)
        if len(wanting):
            self._plan(wanting)

    def _judge(self, ids: Tensor) -> None:
        joints = self.joint_error()[ids]
        # By the picture of this moment: how late it arrives is not the robot's doing.
        vision = (self.perception.exposed_vision(ids) - self.target_vision[ids]).flatten(1).pow(2).mean(1).sqrt()
        reached = (joints <= JOINT_TOLERANCE) & (vision <= VISION_SHARE * self.given_vision_error[ids])
        outcomes = {
            "judged": torch.ones_like(joints),
            "reached": reached.float(),
            "joint_error": joints,
            "proprio_error": self.proprio_error()[ids],
            "vision_share": vision / self.given_vision_error[ids].clamp_min(1e-6),
        }
        for name in OUTCOMES:
            self.just[name][ids] = outcomes[name]
        count = self.metrics["judged"][ids]
        self.metrics["reached"][ids] = (self.metrics["reached"][ids] * count + reached.float()) / (count + 1)
        self.metrics["judged"][ids] = count + 1
        if self.cfg.record:
            record = {
                "env": ids,
                "step": self._env.episode_length_buf[ids],
                "reached": reached,
                "joint_error": joints,
                "joint_error_given": self.given_joint_error[ids],
                "vision_error": vision,
                "vision_error_given": self.given_vision_error[ids],
                "since": self._env.episode_length_buf[ids] - self._given_at[ids],
                "source": self._sources()[ids],
            }
            self.records.append({k: v.clone() for k, v in record.items()})

    def _sources(self) -> Tensor:
        """(N,) index of each environment's source in a mixture, 0 where there is but one."""
        known = getattr(self.source, "source_of", None)
        return torch.zeros(self.num_envs, dtype=torch.long, device=self.device) if known is None else known

    def _plan(self, ids: Tensor) -> None:
        encoder = self.perception.encoder
        assert encoder is not None, "an environment that tracks latents has an encoder"
        if self.source is None:
            folder = Path(self.cfg.planner)
            self.source = PlannerTargets.load(folder, encoder.spec, SamplerConfig(steps=2), self.device)
        target = self.source.targets(self._env, ids, self.time_to_go[ids])
        self.target_vision[ids], self.target_proprio[ids] = target.vision, target.proprio
        with torch.no_grad():
            self.target_raw[ids] = encoder.decode_proprio(target.proprio)
        self._given_at[ids] = self._env.episode_length_buf[ids]
        self._allowed[ids] = self.time_to_go[ids]
        self.start_raw[ids] = self.perception.true_proprio()[ids]
        self.given_vision_error[ids] = self.vision_error()[ids]
        self.given_joint_error[ids] = self.joint_error()[ids]

    def _update_metrics(self) -> None:
        pass

    def _resample_command(self, env_ids: Sequence[int] | slice) -> None:
        self._given_at[env_ids], self._wanting = -1, True
        for outcome in self.just.values():  # a new episode is not rewarded for the last one's target
            outcome[env_ids] = 0.0

    def _update_command(self) -> None:
        self.ensure_ready()


@configclass
class LatentTargetCommandCfg(CommandTermCfg):
    """Settings of ``LatentTargetCommand``."""

    class_type: type = LatentTargetCommand
    resampling_time_range: tuple[float, float] = (FOREVER, FOREVER)
    planner: str = str(PRETRAINED / "planner")
    """Folder of the world model that targets come from, unless the term's ``source`` is set."""
    record: bool = False
    """Keep an outcome of every target, for evaluation."""
