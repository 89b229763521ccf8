"""A simulated arm behind the interface of a real one: another engine, real time, delays, noise and lost packets.

MuJoCo runs in a process of its own (``argos_sim.mujoco_c.live``), so that the control loop here shares nothing with it
but what goes over a bus.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from argos_sim.deploy.manifest import WORLD_FILE, DeployError, PolicyManifest
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.deploy.signals import leave_to_parent
from argos_sim.deploy.simulated_bus import SimulatedBus

PATIENCE_S = 60.0
"""How long the process may take to begin."""


@dataclass(frozen=True)
class JointDynamics:
    """Joints and motors of one arm, each (J,)."""

    friction: tuple[float, ...]
    """Dry friction [N·m]."""
    armature: tuple[float, ...]
    """Inertia of the rotor behind the gears [kg·m²]."""
    back_emf: tuple[float, ...]
    """Torque lost per speed [N·m·s/rad]."""
    strength: tuple[float, ...]
    """Torque delivered per torque commanded."""
    delay: int
    """Age of the command in force [physics steps]."""


@dataclass(frozen=True)
class SimulatedRobotSettings:
    """How unlike the ideal the arm is."""

    image_size: int | tuple[int, int] = 64
    """Side of a square picture, or height and width, whose central square is what a policy sees [pixels]."""
    camera_shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where the camera stands other than in training, along each axis of the base's frame [m], ..."""
    camera_turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """... how it is turned about each [rad], ..."""
    camera_focal_scale: float = 1.0
    """... a factor on its focal length, ..."""
    camera_distortion: float = 0.0
    """... k₁ of its lens, see ``argos_sim.deploy.pinhole``, ..."""
    camera_distortion_2: float = 0.0
    """... k₂, ..."""
    camera_offset: tuple[float, float] = (0.0, 0.0)
    """... and where its axis is, to the right of the picture's middle and down, in halves of the central square."""
    seed: int = 0
    ranges: str = "train"
    """Preset from which each episode's bodies, motors and surfaces are drawn."""
    dynamics: JointDynamics | None = None
    """Joints and motors of the arm where they are not drawn; what identification must find."""
    read_delay_s: float = 0.005
    """Age of a joint read-out when it arrives [s]."""
    encoder_noise: float = 0.0008
    """Standard deviation of a read-out [rad]: half a step of a 12-bit encoder."""
    lost: float = 0.01
    """Share of commands, and of read-outs, that never arrive."""
    camera_delay_s: float = 0.03
    """From the exposure to the picture's arrival [s]."""
    watchdog_s: float = 0.1
    """The motors let go where no command came for so long [s]."""

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Height, width and colours of a picture."""
        size = self.image_size
        return (size, size, 3) if isinstance(size, int) else (*size, 3)


class SimulatedRobot:
    """See ``robots.Robot``; ``begin`` and ``success`` are what only a simulation can do."""

    def __init__(self, folder: Path | str, manifest: PolicyManifest, settings: SimulatedRobotSettings) -> None:
        """Start the process; ``DeployError`` in one sentence if the folder describes no world, or several cameras."""
        if len(cameras := manifest.spec.get("cameras", ("front",))) > 1:
            raise DeployError(f"The policy has the cameras {', '.join(cameras)}, and the simulated robot has one.")
        path = Path(folder) / WORLD_FILE
        if not path.is_file():
            raise DeployError(
                f"The policy at {folder} has no {WORLD_FILE}: MuJoCo's loop cannot simulate its robot, or it was "
                "exported for a robot alone."
            )
        try:
            world = json.loads(path.read_text())
        except ValueError as error:
            raise DeployError(f"{path} is no JSON ({error}); it may be cut off. Export the policy again.") from None
        self.joint_names, self.settings = manifest.joint_names, settings
        self.episode: int | None = None
        """The one that was begun last."""
        self._frame: Frame | None = None
        self._frames = 0
        """Number of that picture."""
        context = multiprocessing.get_context("spawn")
        self._bus = SimulatedBus(context, len(self.joint_names), settings.picture_shape)
        self._questions, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(world, settings, self._bus.command, self._bus.read_out, self._bus.frame, theirs),
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self._answer("its start", PATIENCE_S)
        rates = world["rates"]
        self.episode_s = world["plans"] * rates["planner_period_s"] + 1 / rates["camera_hz"]
        """How long an episode lasts that is judged [s]."""

    def joints(self) -> JointReading | None:
        """See ``Robot``."""
        return self._bus.joints()

    def frame(self) -> Frame | None:
        """See ``Robot``."""
        newest = self._bus.frame.read(self._frames)
        if newest is not None:
            self._frames, value = newest
            self._frame = Frame((value["picture"],), float(value["time"]))
        return self._frame

    def send(self, torque: np.ndarray) -> None:
        """See ``Robot``."""
        self._bus.send(torque, time.monotonic())

    def begin(self, episode: int, text: str | None = None) -> str:
        """Another episode: arm and blocks elsewhere, another body; returns what is asked in it, ``text`` if given."""
        texts = self._ask("texts", None)
        if text is not None and text not in texts:
            raise ValueError(f"{text!r} cannot be judged. Ask one of: {'; '.join(texts)}.")
        asked, self.episode = self._ask("begin", (episode, text)), episode
        return asked

    def success(self) -> bool:
        """Whether what was asked for is done now."""
        return self._ask("success", None)

    def lost_s(self) -> float:
        """Time that physics let pass since the machine could not keep up [s]: the arm was slower than a real one."""
        return self._ask("lost", None)

    def close(self) -> None:
        """See ``Robot``."""
        self._questions.close()
        self._process.join(2.0)
        self._process.terminate()

    def _ask(self, name: str, argument: object) -> Any:
        with contextlib.suppress(OSError):  # told by the answer that does not come
            self._questions.send((name, argument))
        return self._answer(name, PATIENCE_S)

    def _answer(self, what: str, seconds: float) -> Any:
        try:
            if self._questions.poll(seconds):
                return self._questions.recv()
        except (EOFError, OSError):
            pass
        raise DeployError(f"The simulated robot's process ended or hung at {what}.")


def _serve(*arguments: Any) -> None:
    """In the process: everything heavy is imported there."""
    leave_to_parent()
    from argos_sim.mujoco_c.live import serve

    serve(*arguments)
