"""Pictures and joints of a limp robot that somebody brings to several postures by hand."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from argos_sim.camera_alignment.recording import Recording, recording_of
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import JointReading, Robot

REST_S = 0.3
"""How long joints are read, before and after a picture [s]."""
RESTED = 0.01
"""A limp arm whose joints moved by more while a picture was taken [rad] does not rest."""
PATIENCE_S = 10.0
"""For something to be sensed [s]."""


def by_hand(
    robot: Robot, manifest: PolicyManifest, count: int, ask: Callable[[str], str], corners: tuple[str, ...] = ()
) -> Recording:
    """Pictures whenever somebody who moved the limp arm says so, then touches of ``corners``.

    Args:
        ask: shows a prompt and returns what was typed; ``s`` leaves a corner out.
    """
    taken = []
    for number in range(count):
        where = "arm elsewhere" if not corners else "board elsewhere, tilted"
        if corners and number == count - 1:
            where = "board flat on the table, its corners within the arm's reach and the arm aside"
        ask(f"Picture {number + 1} of {count}: {where}, hands out of the picture, then Enter. ")
        while True:
            before, picture, after = _rest(robot), _picture(robot, time.monotonic()), _rest(robot)
            if corners or not (why := _moves(manifest, np.concatenate([before, after]))):
                break
            ask(f"{why} while the picture was taken: prop the arm so that it rests by itself, then Enter. ")
        taken.append((picture, np.concatenate([before, after]).mean(0)))
    touches = {}
    for corner in corners:
        where = f"Fingertip on corner {corner}, the board as in the last picture, then Enter (s: skip it). "
        while ask(where) != "s":
            read = _rest(robot)
            if not (why := _moves(manifest, read)):
                touches[corner] = read.mean(0)
                break
            where = f"{why}: hold the fingertip still on corner {corner}, then Enter (s: skip it). "
    recording = recording_of(manifest.joint_names, taken)
    placed = recording.files[-1] if touches else None
    return Recording(recording.joint_names, recording.files, recording.pictures, recording.joints, touches, placed)


def _reading(robot: Robot) -> JointReading:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        reading = robot.joints()
        if reading is not None and time.monotonic() - reading.time < 1.0:
            return reading
        time.sleep(0.002)
    raise DeployError("The joints are not read.")


def _rest(robot: Robot, seconds: float = REST_S) -> np.ndarray:
    """Read-outs (K, J) [rad] of a limp arm, for some time."""
    end, read = time.monotonic() + seconds, []
    while time.monotonic() < end or not read:
        read.append(_reading(robot).position)
        time.sleep(0.01)
    return np.array(read)


def _moves(manifest: PolicyManifest, read: np.ndarray) -> str:
    """Which joint moved in read-outs (K, J), and by how much; empty where none did."""
    moved = np.ptp(read, axis=0)
    joint = int(moved.argmax())
    return f"{manifest.joint_names[joint]} moved by {moved[joint]:.3f} rad" if moved[joint] > RESTED else ""


def _picture(robot: Robot, after: float) -> np.ndarray:
    """The first picture taken after a time."""
    while time.monotonic() < after + PATIENCE_S:
        frame = robot.frame()
        if frame is not None and frame.time > after:
            return np.array(frame.pictures[0])
        time.sleep(0.005)
    raise DeployError("The camera gives no new pictures.")
