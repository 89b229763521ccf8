"""Pictures and joints of a robot in several postures: driven there under the guard, or brought there by hand, limp."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from argos_sim.camera_alignment.recording import Recording
from argos_sim.camera_alignment.ways import Stop
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import JointReading, Robot
from argos_sim.deploy.safety import SafetyGuard

STIFFNESS, DAMPING, PULL = 12.0, 0.6, 4.0
"""Of the spring that drives a joint [N·m/rad, N·m·s/rad], and how fast its end leads away what gravity leaves [1/s]."""
SPEED = 0.8
"""Of the spring's end on its way [rad/s]."""
STILL, STILL_S = 0.02, 0.3
"""An arm rests that moved by less [rad] for so long [s]."""
RESTED = 0.01
"""A limp arm whose joints moved by more while a picture was taken [rad] does not rest."""
PATIENCE_S = 10.0
"""For a posture to be reached, or something to be sensed."""


def driven(
    robot: Robot,
    manifest: PolicyManifest,
    stops: Sequence[Stop],
    stopped: Callable[[], bool],
    show: Callable[[str], None],
) -> Recording:
    """Pictures at ``stops``, or near them: what counts is what the joints read there. The arm is let go at the last.

    Raises:
        DeployError: joints or pictures do not come, or ``stopped`` says so; the arm is let go.
    """
    guard, taken, count = SafetyGuard(manifest), [], sum(stop.shown for stop in stops)
    try:
        aim = resting(robot)
        for stop in stops:
            lead = _drive(robot, manifest, guard, aim, stop.joints, stopped)
            aim = stop.joints
            if stop.shown:
                taken.append(_still_picture(robot, manifest, guard, aim, lead, stopped))
                show(f"posture {len(taken)} of {count}")
    finally:
        robot.send(np.zeros(len(manifest.joint_names)))
    return _recording(manifest, taken)


def resting(robot: Robot) -> np.ndarray:
    """Where the joints are now (J,) [rad]."""
    return _reading(robot).position


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
    recording = _recording(manifest, taken)
    placed = recording.files[-1] if touches else None
    return Recording(recording.joint_names, recording.files, recording.pictures, recording.joints, touches, placed)


def _recording(manifest: PolicyManifest, taken: list[tuple[np.ndarray, np.ndarray]]) -> Recording:
    files = tuple(f"{i:02d}.png" for i in range(len(taken)))
    pictures, joints = zip(*taken, strict=True)
    return Recording(manifest.joint_names, files, np.stack(pictures), np.stack(joints))


def _drive(
    robot: Robot,
    manifest: PolicyManifest,
    guard: SafetyGuard,
    begin: np.ndarray,
    end: np.ndarray,
    stopped: Callable[[], bool],
) -> np.ndarray:
    """Along the straight way in joint space, until the arm rests there; returns how far (J,) the spring's end leads."""
    dt, started = 1 / manifest.rates["control_hz"], time.monotonic()
    seconds = float(np.abs(end - begin).max()) / SPEED
    lead, rested, last = np.zeros(len(end)), started + seconds, begin
    while (now := time.monotonic()) - started < seconds + PATIENCE_S:
        share = min(1.0, (now - started) / max(seconds, dt))
        position = _push(robot, guard, begin + share * (end - begin), lead, dt, stopped)
        if share < 1 or np.abs(position - last).max() > STILL:
            rested, last = max(now, started + seconds), position
        if now - rested > STILL_S + 1 / PULL:
            return lead
    raise DeployError("The arm does not come to rest: is something in its way, or is it not driven?")


def _push(
    robot: Robot, guard: SafetyGuard, aim: np.ndarray, lead: np.ndarray, dt: float, stopped: Callable[[], bool]
) -> np.ndarray:
    """One control step of the spring, whose end's ``lead`` (J,) is changed; returns the joints."""
    if stopped():
        raise DeployError("Stopped by hand; nothing was written.")
    reading = _reading(robot)
    lead += PULL * dt * (aim - reading.position)
    np.clip(lead, -0.3, 0.3, out=lead)
    torque = STIFFNESS * (aim + lead - reading.position) - DAMPING * reading.velocity
    robot.send(guard.apply(torque, reading.position, reading.velocity, reading.temperature))
    time.sleep(dt)
    return reading.position


def _still_picture(
    robot: Robot,
    manifest: PolicyManifest,
    guard: SafetyGuard,
    posture: np.ndarray,
    lead: np.ndarray,
    stopped: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:
    """The next picture of the arm held here, and the mean of the joints' read-outs meanwhile."""
    dt, begin, read = 1 / manifest.rates["control_hz"], time.monotonic(), []
    while time.monotonic() - begin < PATIENCE_S:
        read.append(_push(robot, guard, posture, lead, dt, stopped))
        frame = robot.frame()
        if frame is not None and frame.time > begin + STILL_S:
            return np.array(frame.pictures[0]), np.mean(read[len(read) // 2 :], axis=0)
    raise DeployError("The camera gives no new pictures.")


def _reading(robot: Robot) -> JointReading:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        reading = robot.joints()
        if reading is not None and time.monotonic() - reading.time < 1.0:
            return reading
        time.sleep(0.002)
    raise DeployError("The joints are not read.")


def _rest(robot: Robot, seconds: float = STILL_S) -> np.ndarray:
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
