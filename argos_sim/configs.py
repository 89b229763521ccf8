"""What experts, learning and the curriculum take as settings.

They are here, and not beside what reads them, since that imports Isaac Lab or rsl_rl: ``--help`` and a mistake in a
command would take seconds longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from argos_sim.randomization.ranges import get_ranges
from argos_wm.training.loop import LoopConfig


@dataclass(frozen=True)
class ExpertCfg:
    """Gains and timing."""

    pace: tuple[float, float] = (0.96, 1.0)
    """Uniform range of the movement's duration, in units of the time until the episode's last target is due."""
    blend: float = 0.15
    """Share of a leg's time spent speeding up, and again slowing down."""
    noise: float = 0.0
    """Standard deviation of a slowly varying torque disturbance [N·m for a motor of the STS3215's torque, others in
    proportion], executed but not recorded as the expert's label: the demonstrations then show how to come back (DART,
    Laskey 2017)."""
    noise_time_s: float = 0.15
    """Correlation time of that disturbance [s]."""
    noise_share: float = field(default=0.5)
    """Share of the episodes that are disturbed."""
    redirected: float = 0.0
    """Share of the demonstrations in which another instruction comes while the arm is on its way; they are kept from
    there on. Where all go straight, a planner learns to go on as the arm has come, whatever it is asked for, and once
    led astray never comes back."""
    redirected_at: tuple[float, float] = (0.1, 0.6)
    """Uniform range of when it comes, in shares of the approach's time."""

    def __post_init__(self) -> None:
        low, high = self.redirected_at
        if not (0 <= self.redirected <= 1 and 0 <= low <= high < 1):
            raise ValueError(
                f"redirected={self.redirected} must be a share from 0 to 1, and redirected_at=[{low}, {high}] two "
                "shares of the approach's time, the smaller first and both below 1."
            )


@dataclass(frozen=True)
class ImitationConfig:
    """Settings of the warm start."""

    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=3000, batch_size=512, learning_rate=1e-3, ema_decay=0.995)
    )
    target_vision_noise: float = 0.1
    """Standard deviation added to the target's vision, since a planner's targets are not exact [standardised]."""
    target_proprio_noise: float = 0.0
    """Likewise for its proprioception. None: a controller taught to doubt its targets misses them (joint errors of
    0.039 rad with 0.1, and 0.3 on vision; 0.022 rad with 0 and 0.1; 128 episodes each on ``train``)."""
    vision_noise: float = 0.1
    """Added to the current vision."""


@dataclass(frozen=True)
class DaggerConfig:
    """Settings of the stage; without rounds it is left out."""

    rounds: int = 3
    episodes: int = 256
    """Of each round, as many environments."""
    expert_share: float = 0.2
    """Share of a round's environments in which the expert acts."""
    stride: int = 2
    """Every how many control steps a state is kept."""
    demonstrations: float = 0.3
    """Share of each batch that is drawn from the demonstrations."""
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=1500, batch_size=512, learning_rate=5e-4, ema_decay=0.995)
    )
    """Of each round."""


@dataclass(frozen=True)
class PPOConfig:
    """Settings of the reinforcement-learning stage."""

    iterations: int = 20
    """The critic's warm-up included; 0 leaves PPO out."""
    num_envs: int = 256
    """Of all processes together."""
    steps: int = 40
    """Control steps of each environment an iteration: one planner period, so that every target falls due in one."""
    critic_warmup: int | None = None
    """Iterations in which only the critic learns; by default as many as an episode has. All episodes begin together,
    if not at the same age, so that nothing is done in the first of them, and a critic that knows only those judges
    wrongly afterwards: after two iterations its squared error rose from 0.02 to 0.7, and five updates by it took
    `push` from 78.3 to 73.8 % (`train`, 512 episodes)."""
    warmup_rounds: int = 6
    """Fits of the critic to each of those iterations' returns, which are then taken anew from what it has learnt: a
    return that bootstraps from an untrained critic is mostly that critic's, and one round removes a third of it."""
    critic_epochs: int = 4
    """Passes of the critic alone over each iteration's samples, in each of those rounds and before each update."""
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 3e-5
    """Of the actor, at first; see ``desired_kl``. Low, since Adam's first steps are all as long as the rate, whatever
    the gradient: after DAgger the first update at 3e-4 took the policy so far that the distance from the path rose from
    0.027 to 0.031 rad, more than all later updates won back; from 3e-5 it rose to 0.028 (one run each)."""
    critic_learning_rate: float = 1e-3
    clip: float = 0.2
    gamma: float = 0.96
    """Horizon of half a second: a target that is due is decided by the last of its planner period."""
    gae_lambda: float = 0.9
    entropy: float = 0.0
    init_std: float = 0.1
    """Of the action, in shares of the torque limit: enough to explore, little enough to keep the imitated gait."""
    desired_kl: float = 0.02
    """KL divergence an iteration to which the actor's learning rate adapts (it stays near 4e-4 after imitation, near
    1.5e-4 after DAgger); 0 keeps the rate. In 20 iterations after imitation the distance from the path fell from 0.021
    to 0.016 rad, with 0.012 or 0.04 to 0.018; at a fixed rate of 1e-3 the policy was lost in two iterations, at 1e-5 it
    did not move (one run each)."""
    pull: float = 0.2
    """Weight of the mean squared distance to the imitated action, in units of ``init_std``, at the start."""
    pull_decay: float = 1.0
    """Factor on that weight in each iteration. After DAgger, with 0.02 and 0.9, 50 iterations took success from
    87 to 75 % (`reach`, nominal, 128 episodes). On an H100, 13 iterations of 4,096 environments took it on `unseen`
    from 73 to 77 % with these, to 74 % with 0.02 (4,096 episodes, one run each, begun at a rate of 3e-4; see
    `docs/controller.md`)."""
    ema_decay: float = 0.9
    """Of the average, over iterations, of the actor's weights, which is what comes out; 0 for the last ones. What
    thousands of samples say of a gradient is mostly chance. It is ramped (``argos_wm.training.loop.ramped``): 0.1 at
    the first update, 0.64 at the 16th, the last of the default, and never above 0.83 in `desk`'s 42."""
    critic_hidden: tuple[int, ...] = (256, 128)
    checkpoint_every: int = 50
    """Iterations; episodes begin anew at each checkpoint, so that a resumed run equals one that was not stopped. Not
    often, since what follows is not what episodes are like: see ``critic_warmup``. The CPU's presets have fewer
    iterations than this: what is killed of their ten minutes begins anew."""
    seed: int = 0

    def warmup_iterations(self, episode: int) -> int:
        """Iterations in which only the critic learns, where an episode has ``episode`` control steps.

        Raises:
            ValueError: no others follow.
        """
        warmup = math.ceil(episode / self.steps) if self.critic_warmup is None else self.critic_warmup
        if 0 < self.iterations <= warmup:
            raise ValueError(
                f"controller.ppo.iterations = {self.iterations}, but in the first {warmup} of them only the critic "
                "learns (controller.ppo.critic_warmup, an episode by default): set more, or 0 to leave PPO out."
            )
        return warmup


@dataclass(frozen=True)
class AdaptationConfig:
    """Settings of online adaptation."""

    rounds: int = 15
    """Episodes of each robot, with learning after each."""
    robots: int = 8
    """Robots of a learner, in parallel: rounds × robots episodes are its experience."""
    noise: float = 0.05
    """Standard deviation of the exploration added to the action, in shares of the torque limit: from the controller's
    own commands alone, what depends on the command and what on the pose could not be told apart."""
    noise_time_s: float = 0.1
    """How long that noise is alike."""
    old_rounds: int = 8
    """Rounds of the whole fleet in the old conditions, beforehand, for replay, inverse model and posture model. With 2
    of them the distance over states that were not replayed stayed at 0.1, however much the replay weighed."""
    inverse_steps: int = 2500
    """Training steps of the inverse model."""
    posture_steps: int = 1500
    """Training steps of the model that tells the joints from a picture."""
    updates: int = 200
    """Gradient steps after each round, at a rate that falls to zero along a cosine."""
    batch_size: int = 256
    learning_rate: float = 5e-4
    replay: float = 1.0
    """Weight of the squared distance to what was done in the old conditions, beside that to what is to be done in the
    new ones, at the beginning of a round; 0 for no replay. It grows while the controller is beyond ``radius``, and
    falls while it is within, as PPO's penalty does (Schulman 2017)."""
    radius: float | None = 0.1
    """RMS distance, in units of ``adaptation.STD``, that the controller may come to have in the old conditions; null
    for no trust region, and a replay that weighs the same throughout."""

    guard: bool = True
    """Whether a robot may look past what it learned of its camera, as its joints say in each episode."""

    def __post_init__(self) -> None:
        counts = ("rounds", "robots", "old_rounds", "inverse_steps", "posture_steps", "updates", "batch_size")
        if min(getattr(self, name) for name in counts) < 1:
            raise ValueError(f"adaptation.learning: {', '.join(counts)} must be above 0.")
        if (self.radius is not None and self.radius <= 0) or min(self.replay, self.noise, self.learning_rate) < 0:
            raise ValueError(
                f"adaptation.learning: radius = {self.radius} must be above 0, and replay = {self.replay}, "
                f"noise = {self.noise} and learning_rate = {self.learning_rate} not below."
            )

    def unprotected(self) -> AdaptationConfig:
        """The same, but what was known is left to its fate."""
        return replace(self, replay=0.0, radius=None, guard=False)


@dataclass  # not frozen: Isaac Lab sets every attribute of a term's parameters once more
class CurriculumConfig:
    """How ranges widen while PPO trains."""

    widest: str | None = None
    """Preset that they may come to have, such as ``complete``; None leaves them as they are."""
    step: float = 0.1
    """Of an edge, in shares of the way to the widest."""
    probing: float = 0.3
    """Share of the episodes that try an edge."""
    window: int = 32
    """Targets judged at an edge before it is decided about."""
    widen_above: float = 0.7
    """Share of them reached at which it moves out."""
    narrow_below: float = 0.4
    """Share below which it moves back."""

    def __post_init__(self) -> None:
        if self.widest is not None:
            get_ranges(self.widest)  # an unknown preset is refused before any long work
