"""Demonstrations, a round of DAgger and PPO in one small world of OvPhysX, and imitation; prints a digest of each.

Run by ``test_one_seed.py``, which compares processes.  Word: the seed.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import torch
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper

import tasks  # noqa: F401
from argos_sim.configs import CurriculumConfig, DaggerConfig, ExpertCfg, ImitationConfig, PPOConfig
from argos_sim.controller.dagger import visit
from argos_sim.controller.imitation import ImitationData, imitate
from argos_sim.controller.network import Controller, load_controller, load_weights
from argos_sim.controller.ppo import make_ppo, train_ppo
from argos_sim.demos import expert_rollout
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline.environment import environment_cfg, make_environment, make_expert
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.curriculum import widen
from argos_sim.targets import MixedTargets, PerturbedTargets, PlannerTargets
from argos_wm.sampler import SamplerConfig
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from tests.argos_sim.controller.test_imitation import CFG, JOINTS, PERIOD, cache

TASK, N = "Argos-Reach-SO100-v0", 6


def digest(tensors: list[torch.Tensor]) -> str:
    """Of all their bits."""
    return hashlib.sha256(b"".join(t.detach().contiguous().cpu().numpy().tobytes() for t in tensors)).hexdigest()


def imitated(seed: int) -> list[torch.Tensor]:
    """Weights after some steps on latents that count; the first weights are the same for every seed."""
    torch.manual_seed(0)
    controller = Controller(CFG, torch.ones(JOINTS))
    cfg = ImitationConfig(LoopConfig(steps=5, batch_size=16, seed=seed))
    data = ImitationData(cache(), controller, lambda raw: raw, PERIOD, cfg)
    with tempfile.TemporaryDirectory() as folder:
        trained = imitate(controller, data, cfg, Path(folder), RunLogger(Path(folder)))
    return list(trained.state_dict().values())


def main(seed: int) -> dict[str, str]:
    cfg = environment_cfg(Settings(task=TASK, seed=seed), N, "ovphysx", str(PRETRAINED / "encoder"))
    cfg.perception.control_history = load_weights(PRETRAINED / "controller").cfg.history
    cfg.plans_per_episode = 1
    widen(cfg, CurriculumConfig(widest="complete", probing=0.5))
    found = {}
    with make_environment(cfg) as env:
        encoder = env.perception.encoder
        assert encoder is not None
        planner = PlannerTargets.load(PRETRAINED / "planner", encoder.spec, SamplerConfig(steps=1), "cpu", seed)
        sources = {"planner": planner, "perturbed": PerturbedTargets(planner, encoder)}
        env.target.source = MixedTargets(sources, {"perturbed": 0.5}, N, env.device)
        expert = make_expert(env, TASK, ExpertCfg(noise=0.1), seed)
        prior = load_controller(PRETRAINED / "controller", encoder.spec, "the encoder")
        env.reset()
        rollout = expert_rollout(env, expert)
        found["scenes"] = digest([rollout.images[0], rollout.environment_state[0]])
        found["demonstrations"] = digest([rollout.images, rollout.control_state, rollout.control_action])
        found["dagger"] = digest(list(visit(env, prior, expert, DaggerConfig(), seed).values()))
        ppo = PPOConfig(iterations=2, num_envs=N, steps=20, critic_warmup=1, warmup_rounds=1, seed=seed)
        wrapped = RslRlVecEnvWrapper(env, clip_actions=1.0)  # pyright: ignore[reportArgumentType]
        with tempfile.TemporaryDirectory() as folder:
            algorithm = make_ppo(wrapped, prior, ppo, "cpu")
            actor, _ = train_ppo(wrapped, algorithm, ppo, Path(folder), RunLogger(Path(folder)))
        found["ppo"] = digest(list(actor.state_dict().values()))
    found["imitation"] = digest(imitated(seed))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("digests " + json.dumps(main(int(sys.argv[1]))), flush=True)
