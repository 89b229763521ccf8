"""What adapts, deployed: controllers and their robots in one environment, and how they look."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from argos_sim.configs import AdaptationConfig
from argos_sim.controller.adaptation import FleetPolicy, practise
from argos_sim.controller.alignment import Eyes, Posture
from argos_sim.controller.network import Controller, load_controller
from argos_sim.controller.translation import Experience
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.evaluation import Policy, judge
from argos_sim.pipeline.environment import environment_cfg, make_environment
from argos_sim.pipeline.evaluate import EVALUATION_SEED
from argos_sim.pipeline.play import Weights, remember_for
from argos_sim.pipeline.settings import AdaptationSettings, Settings, SettingsError
from argos_sim.randomization.shifts import Shift, set_world
from argos_sim.targets import PlannerTargets
from argos_wm.encoders.state import StateEncoder
from argos_wm.latents import LatentSpec

METHODS = ("protected", "unprotected")
EYES = "eyes.safetensors"
"""Beside an adapted controller: the homography that it looks through."""
SHIFT_SEED = 30_000
"""Apart from those of training, evaluation and the old conditions."""


@dataclass
class Learner:
    """One controller that adapts.

    Attributes:
        name: method and number of the seed.
        eyes: (8,) the homography that it looks through, see ``alignment.homography``; zero until one is needed.
        rounds: its experience.
    """

    name: str
    controller: Controller
    cfg: AdaptationConfig
    seed: int
    eyes: Tensor = field(default_factory=lambda: torch.zeros(8))
    rounds: list[Experience] = field(default_factory=list)


@dataclass
class Deployment:
    """A controller in an environment, and what goes with it."""

    settings: Settings
    env: LatentTrackingEnv
    controller: Controller
    spec: LatentSpec
    remembering: Controller | None = None
    """With a history, to be compared."""

    @property
    def cfg(self) -> AdaptationConfig:
        """How it adapts."""
        return self.settings.adaptation.learning

    def decode(self, latents: Tensor) -> Tensor:
        """Proprioceptive latents (…, D) → joint states (…, 2J)."""
        assert self.env.perception.encoder is not None, "an environment that tracks latents has an encoder"
        with torch.no_grad():
            return self.env.perception.encoder.decode_proprio(latents)

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (M, 3, H, W) → latents (M, P, C)."""
        return self.env.perception.encode(pictures)

    def look_through(self, learners: list[Learner], posture: Posture | None) -> None:
        """Let the robots of ``learners`` look as each has learned to; without a posture model, as ever."""
        self.env.perception.eyes = None
        if posture is not None:
            numbers = torch.stack([learner.eyes for learner in learners])
            guarded = torch.tensor([learner.cfg.guard for learner in learners])
            self.env.perception.eyes = Eyes(self.env.perception, posture, numbers, guarded)

    def practise(self, controllers: list[Controller], shift: Shift, seed: int, label: str) -> Experience:
        """One episode of every robot under ``shift``, the controllers sharing them."""
        set_world(self.env, self.settings.ranges(), shift, self.settings.seed + SHIFT_SEED)
        return practise(self.env, FleetPolicy(controllers), self.cfg, self.settings.seed + seed, label)

    def judge(self, policy: Policy, shift: Shift, episodes: int, label: str) -> Tensor:
        """Successes (M,) under ``shift``, in the same robots' same episodes whoever acts."""
        seed = self.settings.seed + EVALUATION_SEED
        set_world(self.env, self.settings.ranges(), shift, seed)
        assert self.env.target.source is not None
        self.env.target.source.reseed(seed)
        return judge(self.env, policy, episodes, seed, label)["success"]


@contextmanager
def deployment(settings: Settings) -> Iterator[Deployment]:
    """The run's controller, or the shipped one, in as many environments as all learners have robots.

    On the CPU, with the run's physics: they are some dozens, and what they learn is small.
    """
    settings = dataclasses.replace(settings, device="cpu", physics=settings.resolved_physics())
    weights, cfg = Weights.find(settings), settings.adaptation
    encoder = StateEncoder.load(weights.encoder)
    controller = load_controller(weights.controller, encoder.spec, f"the encoder {weights.encoder}")
    remembering = history_only(settings, encoder)
    source = PlannerTargets.load(weights.planner, encoder.spec, settings.controller.sampling, "cpu")
    env_cfg = environment_cfg(settings, fleet_size(cfg), encoder=str(weights.encoder))
    histories = [c.cfg.history for c in (controller, remembering) if c is not None]
    remember_for(env_cfg, encoder, source.planner, max(histories))
    with make_environment(env_cfg) as env:
        env.target.source = source
        yield Deployment(settings, env, controller, encoder.spec, remembering)


def history_only(settings: Settings, encoder: StateEncoder) -> Controller | None:
    """The controller that ``adaptation.history_only`` names."""
    if settings.adaptation.history_only is None:
        return None
    folder = Path(settings.adaptation.history_only) / "ppo"
    controller = load_controller(folder, encoder.spec, "the encoder of the run")
    if controller.cfg.history == 0:
        raise SettingsError(
            f"adaptation.history_only: the controller in {folder} has no history; name the folder of a run with "
            "controller.history=4 or the like, such as ablate.py history makes."
        )
    return controller


def fleet_size(cfg: AdaptationSettings) -> int:
    """Robots of all learners: a batch of episodes."""
    return cfg.learning.robots * cfg.seeds * len(METHODS)
