"""Environments whose speed is compared, each in a process of its own, since a process opens a physics engine once.

A ``World`` is the handle of such a process: it answers one question at a time and waits in between without working, so
that several of them can take turns on one machine. Three kinds, of the same scene, rates and engine:

- ``plain``: Isaac Lab's ``ManagerBasedRLEnv`` with Isaac Lab's own terms and its own motor model; no ARGOS in it;
- ``blind``: ARGOS's environment without its senses: motors, bus, randomization, instructions, rewards;
- ``seeing``: all of it, with targets that cost nothing until ``targets`` asks for others.
"""

from __future__ import annotations

import cProfile
import dataclasses
import io
import multiprocessing
import os
import pstats
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from isaaclab.envs import ManagerBasedRLEnv
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from argos_sim.controller.network import load_controller, load_weights
from argos_sim.controller.ppo import make_ppo, train_ppo
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings, settings_from
from argos_sim.pipeline.throughput_baseline import plain_cfg, without_senses
from argos_sim.plan_bank import BankTargets
from argos_sim.platform import launch, prepare
from argos_sim.targets import PlannerTargets, TargetSource
from argos_wm.latents import LatentState
from argos_wm.training.logger import RunLogger

MIB = 2**20
ROWS = 25
"""Functions or kernels that a profile lists."""


class World:
    """An environment in a process of its own.

    Args:
        kind: ``plain``, ``blind`` or ``seeing``.
        threads: of torch; None leaves them.
    """

    def __init__(self, settings: Settings, kind: str, num_envs: int, threads: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._name = f"the {kind} world of {num_envs} environments"
        self._process = context.Process(
            target=_serve, args=(theirs, settings.to_dict(), kind, num_envs, threads), daemon=True
        )
        self._process.start()
        theirs.close()

    def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of ``Measured.<question>(*arguments)`` in the process.

        Raises:
            ValueError: the process failed, with its reason.
        """
        try:
            self._pipe.send((question, arguments))
            failed, answer = self._pipe.recv()
        except (EOFError, BrokenPipeError):
            failed, answer = True, "it ended without a word, perhaps for lack of memory"
        if failed:
            raise ValueError(f"The benchmark stopped in {self._name}: {answer}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, settings: dict[str, Any], kind: str, num_envs: int, threads: int | None) -> None:
    """Answer questions until the parent is gone."""
    import tasks  # noqa: F401  registers the gymnasium ids

    if threads is not None:
        torch.set_num_threads(threads)
    measured = None
    while True:
        try:
            question, arguments = pipe.recv()
        except EOFError:
            os._exit(0)  # Isaac Lab's engines may hang in their destructors
        try:
            measured = measured or Measured(settings_from(settings), kind, num_envs)
            pipe.send((False, getattr(measured, question)(*arguments)))
        except Exception as error:
            pipe.send((True, f"{type(error).__name__}: {error}"))


class HeldTargets:
    """Targets equal to the present, which cost nothing."""

    def targets(self, env, ids: Tensor, horizon: Tensor) -> LatentState:
        """See ``argos_sim.targets.TargetSource``."""
        state = env.perception.state()[ids]
        return LatentState(state.vision, state.proprio, horizon)

    def reseed(self, seed: int) -> None:
        """Nothing is drawn."""


class Measured:
    """The environment within the process; its methods are what can be asked, all times in seconds."""

    def __init__(self, settings: Settings, kind: str, num_envs: int) -> None:
        prepare()
        self.settings, self.device = settings, torch.device(settings.resolved_device())
        cfg = environment_cfg(settings, num_envs, encoder=str(_weights(settings, "encoder")))
        cfg.perception.control_history = load_weights(_weights(settings, "controller")).cfg.history
        self._runtime = launch(cfg)  # kept, since it is closed where nothing holds it
        self._runtime.__enter__()
        with open(os.devnull, "w") as devnull, redirect_stdout(devnull):
            if kind == "plain":
                self.env: Any = ManagerBasedRLEnv(plain_cfg(cfg))
            else:
                if kind == "blind":
                    without_senses(cfg)
                self.env = LatentTrackingEnv(cfg)
        self.frame = cfg.rates.control_per_frame
        self.generator = torch.Generator(self.device).manual_seed(0)
        self.sources: dict[str, TargetSource] = {"held": HeldTargets()}
        if kind == "seeing":
            self.targets("held")
        self.env.reset()
        self.ages()

    def ages(self, apart: bool = False) -> None:
        """Spread the episodes' ages: over the camera's frames, or over all control steps, cameras ``apart``."""
        env = self.env
        ages = torch.randint(env.max_episode_length - 1, (env.num_envs,), generator=self.generator, device=self.device)
        ages = ages if apart else ages - ages % self.frame
        if isinstance(env, LatentTrackingEnv):
            env._episode_length_buf = ages  # past the property, which rounds to frames
            if env.cfg.commands.target is not None:
                env.target.forget()
        else:
            env.episode_length_buf = ages

    def targets(self, source: str) -> None:
        """Ask for targets ``held`` where they are, from the frozen ``planner``, or from a ``bank`` of its plans."""
        if source != "held" and source not in self.sources:
            spec, folder = self.env.perception.encoder.spec, _weights(self.settings, "planner")
            sampling = self.settings.controller.sampling
            planner = PlannerTargets.load(folder, spec, sampling, str(self.device))
            bank = BankTargets(planner, capacity=self.env.num_envs)
            self.sources |= {"planner": planner, "bank": bank}
            bank.begin(self.env, torch.arange(self.env.num_envs, device=self.device))
            bank.targets(self.env, torch.arange(self.env.num_envs, device=self.device), self.env.target.time_to_go)
        self.env.target.source = self.sources[source]

    def step(self, count: int) -> float:
        """Time of a control step, of ``count`` of them with random torques."""
        shape = self.env.num_envs, self.env.action_manager.total_action_dim
        actions = 0.3 * torch.randn(count, *shape, generator=self.generator, device=self.device)

        def steps() -> None:
            for action in actions:
                self.env.step(action)

        with torch.no_grad():
            return self._timed(steps) / count

    @torch.no_grad()
    def parts(self) -> dict[str, float]:
        """Times of the parts that a control step is made of, each alone, for all environments once."""
        env = self.env
        perception, every = env.perception, torch.arange(env.num_envs, device=self.device)
        encoder, seen = perception.encoder, {}

        def physics() -> None:
            for _ in range(env.cfg.decimation * self.frame):  # one step alone is too short to be timed
                env.scene.write_data_to_sim()
                env.sim.step(render=False)
                env.scene.update(env.physics_dt)

        def render() -> None:
            seen["rgb"], seen["classes"] = perception.render()

        def appear() -> None:
            seen["images"] = perception.appear(seen["rgb"], seen["classes"], every)

        def encode() -> None:
            for part in every.split(perception.cfg.encode_batch):
                encoder.encode_vision(seen["images"][part])

        works = {"physics": physics, "rendering": render, "appearance": appear, "encoding": encode}
        works["proprioception"] = lambda: encoder.encode_proprio(perception.raw_proprio)
        times = {name: self._timed(work) for name, work in works.items()}
        return times | {"physics": times["physics"] / self.frame}

    def memory(self) -> dict[str, float]:
        """MiB that the process holds, and those of the device that are taken, if it is a GPU, whoever holds them: the
        worlds beside this one do, too."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        figures = {"host": pages * os.sysconf("SC_PAGE_SIZE") / MIB}
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            figures["device"] = (total - free) / MIB
        return figures

    def learning(self, iterations: int) -> float:
        """Share of PPO's iterations that learning takes, the critic's warm-up and the first iteration left out."""
        cfg, device = self.settings.controller.ppo, str(self.device)
        cfg = dataclasses.replace(cfg, critic_warmup=0, num_envs=self.env.num_envs, checkpoint_every=10**9)
        wrapped = RslRlVecEnvWrapper(self.env, clip_actions=1.0)
        prior = load_controller(_weights(self.settings, "controller"), self.env.perception.encoder.spec, "the encoder")
        algorithm, figures = make_ppo(wrapped, prior.to(device), cfg, device), {}
        for count in (1, iterations):
            with tempfile.TemporaryDirectory() as folder:
                run = dataclasses.replace(cfg, iterations=count)
                _, figures = train_ppo(wrapped, algorithm, run, Path(folder), RunLogger(Path(folder), "none"))
        return figures["learning_share"]

    def profile(self, count: int) -> str:
        """The costliest kernels of ``count`` control steps on a GPU, or the costliest functions on a CPU, as text."""
        if self.device.type == "cuda":
            with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as torch_profile:
                self.step(count)
            return torch_profile.key_averages().table(sort_by="self_device_time_total", row_limit=ROWS)
        python_profile, text = cProfile.Profile(), io.StringIO()
        python_profile.runcall(self.step, count)
        pstats.Stats(python_profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(ROWS)
        return text.getvalue()

    def _timed(self, work: Callable[[], Any]) -> float:
        self._synchronize()
        begin = time.perf_counter()
        work()
        self._synchronize()
        return time.perf_counter() - begin

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the whole device, Warp's and the engine's streams too


def _weights(settings: Settings, name: str) -> Path:
    """The run's own weights where it has all of them, or else the shipped ones."""
    own = all((settings.folder / part / "stage.json").is_file() for part in ("encoder", "planner", "controller"))
    return (settings.folder if own else PRETRAINED) / name
