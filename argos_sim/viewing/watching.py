"""The closed loop in real time, for people: it is watched in a browser, and may be asked for something else meanwhile.

An instruction that the user chooses is heard when the planner next plans, as a robot would hear it; from then on the
episode is judged by it.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from argos_sim.controller.network import Controller
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.viewing.painter import Painter
from argos_sim.viewing.panel import Panel, Status, Tracking, Wishes, mosaic
from argos_sim.viewing.recording import ImaginedTargets, Recorder, Recording, action, begin_episode, joined
from argos_sim.viewing.visualizer import server_of, show_camera
from argos_wm.latents import LatentState
from argos_wm.planner import Planner

KEPT = 12
"""Whole episodes, the last ones, that are filmed afterwards."""
PAUSE_S = 0.05
"""How often a paused loop looks whether it may go on."""


class AskedTargets(ImaginedTargets):
    """Plans for the instruction that the user chose, if there is one.

    A wish of the last planner period is heard in the next episode: there is no plan left that could heed it.

    Attributes:
        said: what was asked for in this episode, in time.
        leaving: whether the fingertip still lies where the instruction before had sent it, which is no touch of this
            one's.
    """

    def __init__(self, planner: Planner, seed: int) -> None:
        super().__init__(planner, seed=seed)
        self.wishes, self.said, self.leaving = Wishes(), list[str](), False

    def targets(self, env: LatentTrackingEnv, ids: Tensor, horizon: Tensor) -> LatentState:
        """See ``argos_sim.targets.TargetSource``."""
        instruction, wanted = env.instruction, self.wishes.instruction
        left = env.max_episode_length - int(env.episode_length_buf[ids[0]])
        if wanted is not None and instruction.text(ids) != [wanted] and left >= env.cfg.rates.control_per_plan:
            instruction.phrase[ids] = instruction.texts.index(wanted)
            instruction.first_touched[ids] = -1
            self.leaving = bool(self.said)  # an episode that begins with it begins away from all
        text = instruction.text(ids)[0]
        if self.said[-1:] != [text]:
            self.said.append(text)
        return super().targets(env, ids, horizon)

    def forgive(self, env: LatentTrackingEnv) -> None:
        """After each step: until the fingertip is away from all objects, nothing counts as touched."""
        if self.leaving:
            near = env.instruction.tip_distance()[0].amin() <= env.instruction.cfg.touch_distance
            self.leaving = bool(near)
            if self.leaving:
                env.instruction.first_touched[:] = -1


class Pace:
    """Waits so that simulated time passes no faster than real time, and knows how fast it passes."""

    def __init__(self, dt: float) -> None:
        self.dt, self._due, self._last = dt, time.monotonic(), time.monotonic()
        self.speed = 1.0
        """Simulated seconds a second, over about the last second."""

    def restart(self) -> None:
        """Count from now, after a pause."""
        self._due = self._last = time.monotonic()

    def wait(self) -> None:
        """Return when the next control step may begin; what was lost is not caught up with."""
        now = time.monotonic()
        self._due = max(self._due + self.dt, now)
        time.sleep(self._due - now)
        now, before = time.monotonic(), self._last
        self._last = now
        self.speed += min(1.0, now - before) * (self.dt / max(now - before, 1e-6) - self.speed)


class Watch:
    """One environment, its policy, and the page on which it is watched.

    Args:
        env: one environment, with Isaac Lab's viser visualizer (``visualizer.add_viewer``).
        painter: makes the painter of latents like the examples (…, P, C) that it is given.
        title: of the page.
    """

    def __init__(
        self,
        env: LatentTrackingEnv,
        controller: Controller,
        planner: Planner,
        painter: Callable[[Tensor], Painter],
        title: str,
        seed: int,
    ) -> None:
        self.env, self.controller = env, controller
        self.source = AskedTargets(planner, seed)
        self.recorder = Recorder(env, self.source)
        self.server = server_of(env)
        self.panel = Panel(self.server, env.instruction.texts, env.cfg.joint_names, title)
        self.wishes = self.source.wishes = self.panel.wishes
        self.pace = Pace(env.cfg.rates.control_dt)
        self.kept: deque[Recording] = deque(maxlen=KEPT)
        self.steps, self.reached, self.due, self.done, self.ended = 0, 0, 0, 0, 0
        self._observations = self._begin(seed)
        self.paint = painter(env.perception.vision.cpu())

    @torch.no_grad()
    def run(self, episodes: int | None) -> Recording | None:
        """Play until Ctrl-C, or for a number of whole ``episodes``.

        Returns:
            the last ``KEPT`` whole episodes; None where there is none.
        """
        obs = self._observations
        with interruptions() as interrupted:
            while not interrupted and self.ended != episodes:
                if self.wishes.new_episode:
                    obs = self._begin()
                    self._capture()  # shown though paused
                    obs = self._step(obs)
                if self.wishes.paused:
                    time.sleep(PAUSE_S)
                    self.pace.restart()
                    continue
                self._capture()
                self.pace.wait()
                if len(self.recorder.errors) == self.env.max_episode_length:
                    self._finish()
                    obs = self._begin()
                else:
                    obs = self._step(obs)
        return joined(list(self.kept)) if self.kept else None

    def _step(self, obs: Any) -> Any:
        """One control step; where it broke physics, Isaac Lab has begun another episode, which begins here, too."""
        obs = self.env.step(action(self.controller, obs))[0]
        self.source.forgive(self.env)
        return self._begin() if bool(self.env.reset_buf[0]) else obs

    def _begin(self, seed: int | None = None) -> Any:
        self.wishes.new_episode = False
        self.source.said.clear()
        self.source.leaving = False
        observations = begin_episode(self.env, self.recorder, seed)
        self.camera = show_camera(self.env, self.server)  # another place in each episode
        return observations

    def _finish(self) -> None:
        episode = self.recorder.finish()
        episode.instructions = [" → ".join(self.source.said)]
        self.kept.append(episode)
        judged = episode.judgements[0]
        self.reached, self.due = self.reached + sum(j.reached for j in judged), self.due + len(judged)
        self.done, self.ended = self.done + episode.done[0], self.ended + 1

    def _capture(self) -> None:
        frame_due = self.recorder.capture()
        env, target = self.env, self.env.target
        count = len(env.cfg.joint_names)
        states = (env.perception.true_proprio(), target.path(), target.target_raw)
        joints = torch.stack([state[0, :count] for state in states]).cpu()
        error, share = (float(value[0]) for value in self.recorder.errors[-1])
        self.panel.add(Tracking(self.steps * env.cfg.rates.control_dt, joints, error, share))
        self.steps += 1
        if frame_due:
            self._show()

    def _show(self) -> None:
        perception, plan = self.env.perception, self.source.latest
        assert plan is not None, "an episode begins with a plan"
        seen = self.paint(perception.vision[:1].cpu())[0]
        picture = mosaic(perception.images[0], seen, self.paint(plan.vision[:1].cpu())[0], plan.time[0].tolist())
        self.panel.show(self._status(), picture)
        self.panel.draw_curves()
        self.camera.image = np.ascontiguousarray(perception.images[0].permute(1, 2, 0).cpu().numpy())

    def _status(self) -> Status:
        instruction, rates = self.env.instruction, self.env.cfg.rates
        first, done = int(instruction.first_touched[0]), bool(instruction.success[0])
        touched = f"touched {instruction.objects[first]} first" if first >= 0 else "nothing touched yet"
        return Status(
            self.source.said[-1],
            instruction.objects[int(instruction.named[0])],
            f"{'done' if done else 'not done yet'}: {touched}",
            done,
            (self.reached, self.due),
            (self.done, self.ended),
            len(self.recorder.errors) * rates.control_dt,
            self.pace.speed,
        )


@contextmanager
def interruptions() -> Iterator[list[bool]]:
    """A list that Ctrl-C fills, so that the step under way is finished; a second Ctrl-C ends at once."""
    happened: list[bool] = []

    def interrupt(*_: Any) -> None:
        if happened:
            raise KeyboardInterrupt
        happened.append(True)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield happened
    finally:
        signal.signal(signal.SIGINT, before)
