"""One arm of MuJoCo's in a process of its own and in real time: the far side of ``deploy.simulated.SimulatedRobot``.

Physics keeps to the clock, whoever commands it; what it is late by, it makes up for. Servos, their bus and the camera
are imperfect as those of a real arm: commands and read-outs are late, some are lost, and read-outs are noisy. Pictures
are drawn by a thread of their own, from a copy of the state, so that physics does not wait for them.
"""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import threading
import time
from collections import deque
from multiprocessing.connection import Connection
from typing import Any

import mujoco
import numpy as np
import torch

from argos_sim.deploy.exchange import Latest
from argos_sim.deploy.simulated import SimulatedRobotSettings
from argos_sim.mujoco_c.arms import Arms
from argos_sim.mujoco_c.camera import TRAINED, RayCamera
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.backgrounds import composite, make_background_bank
from argos_sim.randomization.ranges import get_ranges

BACKGROUNDS = 64
BEHIND = 0.05
"""Physics that is later than this lets time pass instead of catching up [s]."""


class LiveArm:
    """One arm, its motors and its camera, on the wall clock."""

    def __init__(self, world: World, settings: SimulatedRobotSettings, command: Latest, joints: Latest, frame: Latest):
        self.world, self.settings = world, settings
        self.command, self.joints_out, self.frame_out = command, joints, frame
        torch.set_num_threads(1)
        self.arms = Arms(world, 1)
        root = self.arms.nominal.body(1).name
        classes = {root: 1} | {name: 2 + i for i, name in enumerate(world.objects)}
        bent = (settings.camera_distortion, settings.camera_distortion_2)
        lens = (settings.camera_focal_scale, *bent, settings.camera_offset)
        self.camera = RayCamera(self.arms.nominal, settings.image_size, world.camera, world.aperture, classes, *lens)
        self._camera_moved = np.array(settings.camera_shift), np.array(settings.camera_turn)
        self._drawn = mujoco.MjData(self.arms.nominal)
        self._lock = threading.Lock()
        self.lost_s = 0.0
        """Time that physics let pass since it could not keep up [s]."""
        families = get_ranges("train").background_families
        generator = torch.Generator().manual_seed(settings.seed)
        self._bank = make_background_bank(families, BACKGROUNDS, self.camera.size, generator)
        self.begin(0, None)

    def begin(self, episode: int, asked: str | None) -> str:
        """Another episode, the same for the same seed and number; what is asked in it."""
        with self._lock:
            self.rng = np.random.default_rng((self.settings.seed, episode))
            self.arms.reset(get_ranges(self.settings.ranges), self.rng)
            if self.settings.dynamics is not None:
                self.arms.give(self.settings.dynamics)
            if asked is not None:
                self.arms.asked[0] = self.world.texts.index(asked)
            self._background = int(self.rng.integers(BACKGROUNDS))
            self._readings: deque[tuple[float, np.ndarray]] = deque(maxlen=64)
            self._torque = np.zeros((1, len(self.world.joint_names)))
            self._sent_at: float | None = None
            self._heard, self._steps = self.command.count, 0
        return self.world.texts[int(self.arms.asked[0])]

    def step(self, now: float) -> None:
        """One physics step, and what is read after it."""
        cfg, arms = self.settings, self.arms
        # One that was sent since is a later step's: its delay shall not hang on how late this process woke up.
        sent = [command for command in self.command.since(self._heard) if command[1]["time"] <= now]
        if sent:
            self._heard, newest = sent[-1]
            if self.rng.random() >= cfg.lost:
                self._torque = np.asarray(newest["torque"], dtype=float)[None]
                self._sent_at = float(newest["time"])
        if self._sent_at is not None and now - self._sent_at > cfg.watchdog_s:
            self._torque = np.zeros_like(self._torque)
        with self._lock:
            arms.physics_step(self._torque)
            self._steps += 1
            if self._steps % self.world.rates.decimation == 0:
                arms.judge()
        self._readings.append((now, arms.joints()[0]))
        due = [reading for reading in self._readings if reading[0] <= now - cfg.read_delay_s]
        if due and self.rng.random() >= cfg.lost:
            sensed_at, state = due[-1]
            position, velocity = np.split(state, 2)
            noisy = position + cfg.encoder_noise * self.rng.standard_normal(len(position))
            self.joints_out.write(position=noisy, velocity=velocity, time=sensed_at)

    def look(self, now: float) -> None:
        """Draw what the camera sees at this moment; it is announced when its exposure and transfer are over."""
        with self._lock:
            mujoco.mj_copyData(self._drawn, self.arms.models[0], self.arms.data[0])
        mujoco.mj_kinematics(self.arms.models[0], self._drawn)
        rgb, classes = (
            torch.from_numpy(x)[None] for x in self.camera.render(self._drawn, TRAINED, *self._camera_moved)
        )
        seen = composite(rgb, classes > 0, self._bank[self._background][None])[0]
        wait = now + self.settings.camera_delay_s - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self.frame_out.write(picture=seen.permute(1, 2, 0).numpy(), time=now)


def serve(
    world: dict[str, Any],
    settings: SimulatedRobotSettings,
    command: Latest,
    joints: Latest,
    frame: Latest,
    questions: Connection,
) -> None:
    """Run one arm until the parent hangs up."""
    arm = LiveArm(World.from_json(world), settings, command, joints, frame)
    ended = threading.Event()

    def watch() -> None:
        period = 1 / arm.world.rates.camera_hz
        due = time.monotonic()
        while not ended.is_set():
            arm.look(due)
            due = max(due + period, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    camera = threading.Thread(target=watch, daemon=True)
    camera.start()
    dt, due = arm.world.rates.physics_dt, time.monotonic()
    questions.send("ready")
    try:
        while True:
            while questions.poll():
                questions.send(_answer(arm, questions.recv()))
            arm.step(due)
            due += dt
            late = time.monotonic() - due
            if late > BEHIND:
                due += late
                arm.lost_s += late
            elif late < 0:
                time.sleep(-late)
    except (EOFError, OSError):
        ended.set()
        camera.join(2.0)


def _answer(arm: LiveArm, question: tuple[str, Any]) -> Any:
    """What the parent wants to know or to begin."""
    name, argument = question
    if name == "begin":
        return arm.begin(*argument)
    if name == "success":
        return bool(arm.arms.success()[0])
    return arm.lost_s if name == "lost" else list(arm.world.texts)
