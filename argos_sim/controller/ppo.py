"""Reinforcement learning on top of imitation: rsl_rl's PPO with a warmed-up critic and a pull toward where it began.

The actor starts as the imitated controller. First only the critic learns, since an untrained critic's advantages would
spoil the actor. Then PPO (Schulman 2017) improves it, while a pull toward the action of the policy that it began as
keeps what that knew. What comes out is an average of the actor's weights over the iterations.

Several processes (``Parallel``) share the environments and learn one policy: they average the gradients of their own
environments' samples, and take together whatever else is measured on samples (advantages' mean and deviation, the
critic's normalisation, the KL divergence that sets the learning rate, the curriculum's counts).
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from rsl_rl.algorithms import PPO
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from argos_sim.configs import PPOConfig
from argos_sim.controller.actor import ControllerModel
from argos_sim.controller.network import PROPRIO, TARGET_VISION, VISION, Controller
from argos_sim.controller.ppo_checkpoint import resume, save
from argos_sim.controller.pull import ImitationPull
from argos_sim.controller.rollouts import LatentRollouts
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Average, ramped
from argos_wm.training.parallel import Parallel

ACTOR_GROUPS = [PROPRIO, VISION, TARGET_VISION]


class TwoRates(torch.optim.Adam):
    """Adam whose first group, the actor's, follows rsl_rl's adaptive rate, while the critic's keeps its own.

    An actor that is nearly right must move slowly; a critic that follows it as slowly judges by yesterday's policy.
    rsl_rl writes one rate into every group before it steps.
    """

    def __init__(self, actor: list[nn.Parameter], critic: list[nn.Parameter], rate: float, critic_rate: float) -> None:
        super().__init__([{"params": actor}, {"params": critic}], lr=rate)
        self.critic_rate = critic_rate

    def step(self, closure=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        """See ``torch.optim.Adam``."""
        self.param_groups[1]["lr"] = self.critic_rate
        return super().step(closure)


class TrackingPPO(PPO):
    """rsl_rl's PPO with a critic that learns first and more, and the pull toward imitation."""

    def configure(self, prior: Controller, cfg: PPOConfig, parallel: Parallel, episode: int) -> None:
        """Start the actor from ``prior``; ``episode`` is an episode's length in control steps."""
        self.parallel = parallel
        self.critic_warmup = cfg.warmup_iterations(episode)
        actor, critic = list(self._raw_actor.parameters()), list(self._raw_critic.parameters())
        self.optimizer = TwoRates(actor, critic, cfg.learning_rate, cfg.critic_learning_rate)
        self._raw_actor.load_controller(prior)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
        self.average = Average(self._raw_actor) if cfg.ema_decay > 0 else None
        self.pull = ImitationPull(prior, cfg.pull, cfg.init_std)
        self.settings, self.warming_up = cfg, True

    def begin_iteration(self, iteration: int) -> None:
        """Set what depends on the iteration: who learns, and how strong the pull is."""
        self.progress = iteration - self.critic_warmup
        self.warming_up = self.progress < 0
        self.pull.mirror_loss_coeff = self.settings.pull * self.settings.pull_decay ** max(0, self.progress)
        pulls = self.pull.mirror_loss_coeff > NO_PULL
        self.symmetry = self.pull if pulls else None  # pyright: ignore[reportAttributeAccessIssue]
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate

    def process_env_step(self, obs: TensorDict, rewards: Tensor, dones: Tensor, extras: dict[str, Tensor]) -> None:
        """rsl_rl's, which adds γ V to the reward where an episode ran out of time; where that was is kept."""
        step = self.storage.step
        if step == 0:
            self.ran_out = torch.zeros_like(self.storage.rewards)
        if "time_outs" in extras:
            self.ran_out[step, :, 0] = extras["time_outs"].to(self.ran_out)
        super().process_env_step(obs, rewards, dones, extras)

    def compute_returns(self, obs: TensorDict) -> None:
        """Returns and advantages (generalised advantage estimation); a critic that warms up is fitted to them first."""
        self._returns(obs)
        if not self.warming_up:
            return
        self.critic.update_normalization(self.storage.observations.flatten(0, 1))  # pyright: ignore
        paid = self.storage.rewards - self.gamma * self.storage.values * self.ran_out
        for _ in range(self.settings.warmup_rounds):
            self.fit_critic()
            with torch.no_grad():
                for step, seen in enumerate(self.storage.observations):
                    self.storage.values[step] = self.critic(seen)
            self.storage.rewards = paid + self.gamma * self.storage.values * self.ran_out
            self._returns(obs)

    def _returns(self, obs: TensorDict) -> None:
        """rsl_rl's, but with advantages normalised over the samples of all processes, where it takes each's own."""
        super().compute_returns(obs)
        if self.parallel.ranks == 1:
            return
        advantages = self.storage.returns - self.storage.values
        count = advantages.numel() * self.parallel.ranks
        mean = self.parallel.sum(advantages.double().sum()) / count
        square = self.parallel.sum((advantages - mean).square().sum()) / (count - 1)
        self.storage.advantages = ((advantages - mean) / (square.sqrt() + 1e-8)).float()

    def fit_critic(self) -> float:
        """Move the critic toward the stored returns, ``critic_epochs`` times over them; the mean squared error."""
        total, batches = 0.0, 0
        with torch.enable_grad():
            # rsl_rl's own batches: the critic takes no latents, which ``LatentRollouts`` would gather.
            epochs = self.settings.critic_epochs
            for batch in RolloutStorage.mini_batch_generator(self.storage, self.num_mini_batches, epochs):
                loss = F.mse_loss(self.critic(batch.observations), batch.returns)  # pyright: ignore[reportArgumentType]
                self.optimizer.zero_grad()
                loss.backward()
                if self.is_multi_gpu:
                    self.reduce_parameters()
                nn.utils.clip_grad_norm_(self.critic.parameters(), self.max_grad_norm)
                self.optimizer.step()
                total, batches = total + loss.item(), batches + 1
        return total / batches

    def update(self) -> dict[str, float]:
        """One iteration's learning; returns mean losses."""
        value = self.fit_critic()
        if self.warming_up:
            self.storage.clear()
            return {"value": value}
        losses = super().update() | {"value": value}
        if self.average is not None:
            self.average.update(self._raw_actor, ramped(self.settings.ema_decay, self.progress))
        return losses


RANKS_APART = 10_000_019
"""Between the seeds of two processes: more than iterations, so that no two draw the same."""
NO_PULL = 1e-3
"""Weight of the pull below which it is left out: it costs a pass through the imitated policy."""


def make_ppo(env, prior: Controller, cfg: PPOConfig, device: str, parallel: Parallel | None = None) -> TrackingPPO:
    """Build the algorithm for a wrapped environment (``RslRlVecEnvWrapper``), one of as many as ``parallel`` has."""
    parallel, obs = parallel or Parallel(), env.get_observations()
    groups = {"actor": ACTOR_GROUPS, "critic": ["critic"]}
    noise = {"class_name": "GaussianDistribution", "init_std": cfg.init_std, "std_type": "log"}
    actor = ControllerModel(obs, groups, "actor", env.num_actions, prior.settings(), noise).to(device)
    critic = MLPModel(obs, groups, "critic", 1, cfg.critic_hidden, "elu", obs_normalization=True).to(device)
    algorithm = TrackingPPO(
        actor,
        critic,
        LatentRollouts(env.num_envs, cfg.steps, obs, env.num_actions, [VISION, TARGET_VISION], device),
        num_learning_epochs=cfg.epochs,
        num_mini_batches=cfg.minibatches,
        clip_param=cfg.clip,
        gamma=cfg.gamma,
        lam=cfg.gae_lambda,
        entropy_coef=cfg.entropy,
        learning_rate=cfg.learning_rate,
        schedule="adaptive" if cfg.desired_kl > 0 else "fixed",
        desired_kl=cfg.desired_kl,
        # Clipped, a value may move by 0.2 an iteration; returns are ten times that.
        use_clipped_value_loss=False,
        device=device,
        multi_gpu_cfg={"global_rank": parallel.rank, "world_size": parallel.ranks} if parallel.ranks > 1 else None,
    )
    algorithm.configure(prior, cfg, parallel, env.max_episode_length)
    return algorithm


def train_ppo(
    env, algorithm: TrackingPPO, cfg: PPOConfig, out_dir: Path, logger: RunLogger
) -> tuple[ControllerModel, dict[str, float]]:
    """Run PPO, resuming from ``out_dir`` if it holds a checkpoint; returns the actor, and how fast it went.

    The actor is the algorithm's own, whose weights at the end are the average's (``PPOConfig.ema_decay``).

    Of several processes all return the same actor; the main one keeps ``out_dir`` and logs.
    """
    widening, parallel = env.unwrapped.widening, algorithm.parallel
    start = resume(algorithm, widening, out_dir, cfg)
    if parallel.ranks > 1:
        algorithm.broadcast_parameters()  # the critic's first weights
    if parallel.main:
        logger.drop_after(start - 1, "ppo/")  # a row has the number of its iteration, from 0
    obs = None
    bar = tqdm(
        range(start, cfg.iterations),
        initial=start,
        total=cfg.iterations,
        desc="ppo",
        unit="iteration",
        disable=not parallel.main,
    )
    algorithm.train_mode()
    begin, learning = time.monotonic(), 0.0
    for iteration in bar:
        if obs is None or iteration % cfg.checkpoint_every == 0:
            obs = _begin(env, cfg.seed, iteration, parallel.rank)
            if iteration == start:  # what a training begins with, once, is no part of its iterations
                begin = time.monotonic()
        algorithm.begin_iteration(iteration)
        obs, figures = _rollout(env, algorithm, obs, cfg.steps)
        before = time.monotonic()
        losses = algorithm.update()
        learning += time.monotonic() - before
        _require_finite_learning(algorithm, losses, iteration)
        figures |= {f"loss_{'pull' if k == 'symmetry' else k}": v for k, v in losses.items()}
        figures = _pooled(figures, parallel)
        figures |= {"learning_rate": algorithm.learning_rate, "action_std": algorithm.actor.output_std.mean().item()}
        if widening is not None:
            widening.decide(parallel)
            figures |= {f"curriculum/{k}": v for k, v in widening.summary().items()}
        if parallel.main:
            logger.log({f"ppo/{k}": v for k, v in figures.items()}, iteration)
        bar.set_postfix(reward=f"{figures['reward']:.3f}", reached=f"{figures.get('reached', float('nan')):.2f}")
        if (iteration + 1) % cfg.checkpoint_every == 0 and parallel.main:
            save(algorithm, widening, out_dir, iteration + 1, cfg)
    algorithm.eval_mode()
    actor = algorithm.get_policy()
    assert isinstance(actor, ControllerModel)
    if algorithm.average is not None:
        actor.load_state_dict(algorithm.average.tensors)
    steps = (cfg.iterations - start) * cfg.steps * env.num_envs * parallel.ranks
    seconds = max(time.monotonic() - begin, 1e-9)
    # Nothing was timed where nothing was left to do.
    return actor, {"env_steps_per_s": steps / seconds, "learning_share": learning / seconds} if steps else {}


def _pooled(figures: dict[str, float], parallel: Parallel) -> dict[str, float]:
    """Averages over all processes; what counts is summed."""
    if parallel.ranks == 1:
        return figures
    pooled = {k: float(v) for k, v in parallel.mean({k: torch.tensor(v) for k, v in figures.items()}).items()}
    return pooled | {"physics_broke": pooled["physics_broke"] * parallel.ranks}


def _begin(env, seed: int, iteration: int, rank: int) -> TensorDict:
    """New episodes, of random ages, from random numbers that depend only on seed, iteration and process."""
    base = env.unwrapped
    number = seed * 1_000_003 + iteration + RANKS_APART * rank
    torch.manual_seed(number)
    base.generator.manual_seed(number)
    base.perception.generator.manual_seed(number + 1)
    base.target.source.reseed(number + 2)
    if base.widening is not None:
        base.widening.forget_episodes()
    base.reset()
    base.episode_length_buf = level_ages(base.num_envs, base.max_episode_length, base.device)
    base.target.forget()  # its targets were for the age of zero, as is what was observed at the reset
    base.obs_buf = base.observation_manager.compute()
    return env.get_observations().clone()


def level_ages(count: int, length: int, device: torch.device | str = "cpu") -> Tensor:
    """Ages (count,) in control steps, as evenly over episodes of ``length`` as can be, each environment's by chance.

    Environments grow old together, so that every camera frame then sees as many plans made and episodes begun as any
    other, within a few; of ages drawn one by one a frame may see half as many again.
    """
    return torch.randperm(count, device=device) * length // count


def _rollout(env, algorithm: TrackingPPO, obs: TensorDict, steps: int) -> tuple[TensorDict, dict[str, float]]:
    """Collect ``steps`` transitions of every environment and their returns."""
    target = env.unwrapped.target
    target.records.clear()
    rewards, broken, path = 0.0, 0, 0.0
    with torch.no_grad():
        for _ in range(steps):
            obs, reward, done, extras = env.step(algorithm.act(obs))
            broken += int(env.unwrapped.reset_terminated.sum())
            _require_finite(obs, reward)
            algorithm.process_env_step(obs, reward, done, extras)
            rewards += float(reward.mean()) / steps
            error = target.path_error()
            path += float(error[:, : error.shape[1] // 2].square().mean(1).sqrt().mean()) / steps
        algorithm.compute_returns(obs)
    figures = {"reward": rewards, "path_error": path, "physics_broke": float(broken)}
    if target.records:
        joined = {k: torch.cat([r[k] for r in target.records]).float() for k in target.records[0]}
        figures |= {k: float(joined[k].mean()) for k in ("reached", "joint_error", "vision_error")}
        figures["vision_share"] = float((joined["vision_error"] / joined["vision_error_given"]).median())
        figures |= _by_source(joined, getattr(target.source, "names", ()))
    return obs, figures


def _by_source(records: dict[str, Tensor], names: tuple[str, ...]) -> dict[str, float]:
    """Each source's share of the targets, and the share of its targets that were reached."""
    figures = {}
    for i, name in enumerate(names):
        own = records["source"] == i
        figures[f"share_{name}"] = float(own.float().mean())
        if bool(own.any()):
            figures[f"reached_{name}"] = float(records["reached"][own].mean())
    return figures


def _require_finite(obs: TensorDict, reward: Tensor) -> None:
    """Stop before a NaN reaches the weights; the last checkpoint stays."""
    for name, value in [*obs.items(), ("reward", reward)]:
        bad = int((~torch.isfinite(value.view(len(value), -1))).any(1).sum())
        if bad:
            raise FloatingPointError(
                f"The {name} of {bad} environments is not finite; training stopped, and resumes from its checkpoint."
            )


def _require_finite_learning(algorithm: TrackingPPO, losses: dict[str, float], iteration: int) -> None:
    """Stop before weights that are not finite are saved.

    What they command breaks the physics of every environment, and each begins anew before anything is observed, so that
    neither observations nor rewards would show it.
    """
    bad = [f"the {name} loss" for name, value in losses.items() if not math.isfinite(value)]
    modules = (("actor", algorithm.get_policy()), ("critic", algorithm._raw_critic))
    bad += [f"the {name}" for name, module in modules if not all(x.isfinite().all() for x in module.parameters())]
    if bad:
        raise FloatingPointError(
            f"In iteration {iteration} of PPO {bad[0]} became not finite; training stopped, and its checkpoint, if it "
            "has one, is of before. Lower controller.ppo.learning_rate or desired_kl."
        )
