"""Recordings that are made without waiting: the live arm's own code, on a clock that is set."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from argos_sim.deploy.exchange import Latest
from argos_sim.deploy.manifest import MANIFEST_FILE, PolicyManifest
from argos_sim.deploy.recorder import Recorder
from argos_sim.deploy.recording import describe
from argos_sim.deploy.robots import Frame
from argos_sim.deploy.simulated import WORLD_FILE, SimulatedRobot, SimulatedRobotSettings
from argos_sim.mujoco_c.live import LiveArm
from argos_sim.mujoco_c.world import World

EXACT = SimulatedRobotSettings(encoder_noise=0.0, lost=0.0, read_delay_s=0.005, image_size=32)
BEGIN = 100.0
"""Time at which all begins [s]."""


def sway(step: int, joints: np.ndarray) -> np.ndarray:
    """Torques (J,) that move every joint, and let none run to an end of its range."""
    return np.array([0.5, 0.4, 0.5, 0.25, 0.3, 0.3]) * np.sin(0.1 * step + np.arange(6)) - np.array(
        [0, -0.3, 0.3, 0, 0, 0]
    )


def policy_folder(folder: Path, world: World) -> tuple[Path, PolicyManifest]:
    """An exported policy without its networks."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(world.joint_names)
    spec: dict[str, Any] = dict.fromkeys(("encoder", "encoder_hash", "stats_hash"), "none")
    spec |= {"rows": 4, "cols": 4, "channels": 4, "proprio_dim": 8, "joint_names": names, "cameras": ["front"]}
    rates = {"physics_hz": 200, "control_hz": 50, "camera_hz": 10, "planner_period_s": 0.8}
    limits: dict[str, Any] = {"torque_limits": (2.94,) * 6, "velocity_limits": (4.9,) * 6, "action_scale": (2.94,) * 6}
    manifest = PolicyManifest(
        spec, world.joint_names, world.joint_limits, rates=rates, history=0, image_size=32, **limits
    )
    (folder / MANIFEST_FILE).write_text(manifest.to_yaml())
    (folder / WORLD_FILE).write_text(json.dumps(world.to_json()))
    return folder, manifest


class Pretended(SimulatedRobot):
    """What a recording's header asks of a simulated robot."""

    def __init__(self, settings: SimulatedRobotSettings) -> None:
        self.settings = settings


Pretended.__name__ = SimulatedRobot.__name__


def record(
    folder: Path,
    world: World,
    settings: SimulatedRobotSettings = EXACT,
    episodes: Sequence[int] = (0,),
    steps: int = 100,
    torque: Callable[[int, np.ndarray], np.ndarray] = sway,
    kept: Callable[[int], bool] = lambda _: True,
    robot: Any = None,
) -> Path:
    """Record episodes of the arm under ``torque`` (number of the step, joints (2J,)); pictures are numbered by colour.

    Steps begin at ``BEGIN``, 20 ms apart, pictures are taken with every fifth; each step hears of the joints 5 ms late.
    """
    policy, manifest = policy_folder(folder / "policy", world)
    about = describe(policy, manifest, Pretended(settings) if robot is None else robot)
    recorder = Recorder(folder / "log", 6, about)
    context = multiprocessing.get_context("spawn")
    command = Latest(context, {"torque": ("f8", (6,)), "time": ("f8", ())})
    joints = Latest(context, {"position": ("f8", (6,)), "velocity": ("f8", (6,)), "time": ("f8", ())})
    arm = LiveArm(world, settings, command, joints, SimpleNamespace())  # pyright: ignore[reportArgumentType]
    now, number = BEGIN, 0
    for episode in episodes:
        text = arm.begin(episode, None)
        for _ in range(4):
            arm.step(now)
            now += world.rates.physics_dt
        recorder._put({"time": now, "event": "begin", "text": text, "episode": episode})
        for step in range(steps):
            newest = joints.read()
            assert newest is not None
            value = newest[1]
            sent = torque(step, np.r_[value["position"], value["velocity"]])
            command.write(torque=sent, time=now + 0.001)
            recorder.add(
                **{"time": now, "took": 0.001, "position": value["position"], "velocity": value["velocity"]},
                **{"wanted": sent, "sent": sent, "target": value["position"], "plan": number},
                joints_age=now - value["time"],
            )
            if step % 5 == 0:
                recorder.see(Frame((picture(number),), now))
                number += 1
            for _ in range(4):
                now += world.rates.physics_dt
                arm.step(now)
        recorder._put({"time": now, "event": "end", "done": kept(episode), "stopped": None})
    recorder.close()
    return folder / "log"


def picture(number: int) -> np.ndarray:
    """A picture (32, 48, 3) that its number can be told from: its central square is of one colour."""
    out = np.full((32, 48, 3), 255, np.uint8)
    out[:, 8:40] = (7 * number % 256, 90, 30)
    return out
