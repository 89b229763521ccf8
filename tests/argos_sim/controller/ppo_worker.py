"""Trains by PPO on ``PointEnv``; run by ``test_ppo_ranks.py``, alone or as one of several processes.

Words: a folder, and what to do.
"""

import os
import sys
import time
from pathlib import Path

import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from tensordict import TensorDict

from argos_sim.configs import PPOConfig
from argos_sim.controller.ppo import TrackingPPO, make_ppo, train_ppo
from argos_sim.pipeline.command_line import run
from argos_wm.training.logger import LoggerKind, RunLogger
from argos_wm.training.parallel import Parallel
from tests.argos_sim.controller.test_ppo import PointEnv, prior

ENVS, STEPS, SEEDS, LOGGED = 16, 6, 3, 4
SAMPLES = PPOConfig(
    num_envs=ENVS,
    learning_rate=3e-4,
    steps=STEPS,
    critic_warmup=1,
    warmup_rounds=2,
    critic_epochs=2,
    epochs=3,
    minibatches=1,
    pull=0.5,
)
TRAINING = PPOConfig(
    iterations=16,
    num_envs=64,
    learning_rate=3e-3,
    init_std=0.5,
    desired_kl=0.1,
    steps=12,
    critic_warmup=1,
    warmup_rounds=2,
    critic_epochs=2,
    minibatches=2,
    pull=0.0,
    checkpoint_every=3,
)


def learn_from_given_samples(folder: Path, parallel: Parallel) -> None:
    """Two iterations, one of warming up, on samples that are the same however many processes share them."""
    own = slice(parallel.rank * ENVS // parallel.ranks, (parallel.rank + 1) * ENVS // parallel.ranks)
    generator = torch.Generator().manual_seed(3)
    torch.manual_seed(0)  # the critic's first weights
    algorithm = make_ppo(PointEnv(ENVS // parallel.ranks), prior(), SAMPLES, "cpu", parallel)
    algorithm.train_mode()
    probe = _seen(generator, slice(None))
    with torch.no_grad():
        before = algorithm.actor(probe).clone()
    for iteration in range(2):
        algorithm.begin_iteration(iteration)
        obs = _collect(algorithm, generator, own)
        algorithm.compute_returns(obs)
        algorithm.update()
    if parallel.main:
        with torch.no_grad():
            learned = {"before": before, "action": algorithm.actor(probe), "value": algorithm.critic(probe)}
        learned["rate"] = torch.tensor(algorithm.learning_rate)
        save_file({k: v.contiguous() for k, v in learned.items()}, folder / "learned.safetensors")


def _seen(generator: torch.Generator, own: slice) -> TensorDict:
    sizes = {"proprio": 2 * 4 + 4 + 2 + 1, "vision": 6, "target_vision": 6, "critic": 2}
    groups = {name: torch.randn(ENVS, size, generator=generator)[own] for name, size in sizes.items()}
    return TensorDict(groups, batch_size=[len(groups["critic"])])


def _collect(algorithm: TrackingPPO, generator: torch.Generator, own: slice) -> TensorDict:
    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(ENVS, *shape, generator=generator)[own]

    obs = _seen(generator, own)
    with torch.no_grad():
        for _ in range(STEPS):
            algorithm.act(obs)
            actions = algorithm.actor.output_mean + 0.1 * draw(2)
            algorithm.transition.actions = actions
            algorithm.transition.actions_log_prob = algorithm.actor.get_output_log_prob(actions)
            # Of another mean and size in either half: normalised apart, advantages would be others.
            reward = draw() * torch.arange(1.0, ENVS + 1)[own] + torch.arange(ENVS)[own]
            obs = _seen(generator, own)
            algorithm.process_env_step(obs, reward, (draw() > 1).long(), {})
    return obs


def train(
    folder: Path, parallel: Parallel, seed: int = 0, iterations: int = TRAINING.iterations, kind: LoggerKind = "none"
) -> None:
    """A whole run, as the stage does it."""
    cfg = PPOConfig(**{**vars(TRAINING), "seed": seed, "iterations": iterations})
    env, logger = PointEnv(cfg.num_envs // parallel.ranks), RunLogger(folder, kind, parallel=parallel)
    actor, _ = train_ppo(env, make_ppo(env, prior(), cfg, "cpu", parallel), cfg, folder, logger)
    logger.close()
    save_file(dict(actor.state_dict()), folder / f"actor{parallel.rank}.safetensors")


def slowly(folder: Path, parallel: Parallel) -> None:
    """A run that says under which number it may be killed, and leaves time to do it."""
    (folder / f"{parallel.rank}.pid").write_text(str(os.getpid()))
    step = PointEnv.step

    def late(self: PointEnv, action: torch.Tensor):
        time.sleep(0.03)
        return step(self, action)

    PointEnv.step = late
    train(folder, parallel)


if __name__ == "__main__":
    where, what = Path(sys.argv.pop(1)), sys.argv.pop(1)

    def work(_: object) -> None:
        parallel = Parallel.launched()
        if what == "samples":
            learn_from_given_samples(where, parallel)
            for seed in range(SEEDS):
                train(where / str(seed), parallel, seed)
            # Each process in a folder of its own, which tells what it wrote.
            train(where / "apart" / str(parallel.rank), parallel, iterations=LOGGED, kind="wandb")
        else:
            slowly(where, parallel) if what == "slowly" else train(where, parallel)

    where.mkdir(parents=True, exist_ok=True)
    run(work, OmegaConf.create(), many_processes=True)
