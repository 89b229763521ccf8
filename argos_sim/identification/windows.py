"""A recording, cut into short windows from which an arm is simulated anew."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.recorder import KIND, read_steps
from argos_sim.identification.excitation import MOVING

WINDOW_S = 0.5
"""Long enough that forces show in positions, short enough that what is not modelled does not add up [s]."""
LEAST_S = 4.0
"""Of what is fitted [s]."""
LEAST_WHOLE_S = 3.0
"""Of windows that are whole [s]; fewer of them say nothing of how sure they are."""
LEAST_TRAVEL = 0.05
"""rad; a joint that moves less tells nothing of friction and speed."""
LEAST_TORQUE = 0.05
"""N·m; a joint that is told less was not excited."""
LEAST_SHARE = 0.6
"""Of a window's control steps that must have a read-out of their own."""
LATE_S = 0.015
"""By which a read-out may be older than the recording's young ones [s]. Where it is, bus or machine stood still, and
when a command acted is not known."""


@dataclass(frozen=True)
class Recording:
    """Commands and read-outs of one excitation, in order, on one clock."""

    joint_names: tuple[str, ...]
    robot: str
    rate: float
    """Control steps a second [Hz]."""
    sent_at: np.ndarray
    """(N,) [s]."""
    torque: np.ndarray
    """(N, J) sent [N·m]."""
    read_at: np.ndarray
    """(N,) when the position was sensed [s]."""
    position: np.ndarray
    """(N, J) [rad]."""
    age: np.ndarray
    """(N,) of the read-out when the command was sent [s]."""
    moving: np.ndarray
    """(N,) bool, of what is fitted."""

    @property
    def seconds(self) -> float:
        """Of what is fitted [s]."""
        return float(self.moving.sum() / self.rate)


def read_recording(folder: Path) -> Recording:
    """A recording of ``playing.play``, whole or torn off.

    Raises:
        DeployError: there is none, or nothing can be learnt from it; the sentence names the joint, where there is one.
    """
    try:
        steps, about = read_steps(folder), json.loads((folder / KIND).read_text())
        names, rate, robot = tuple(about["joints"]), float(about["rates"]["control_hz"]), str(about["robot"])
    except (ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{folder} holds no recording of an excitation ({error}).") from None
    if "policy" in about:  # which an excitation has none of
        raise DeployError(
            f"{folder} holds a recording of a policy or a person, by run_robot.py or record.py, and no joint is "
            "excited by itself in it: take one of identify.py's own."
        )
    recording = Recording(
        joint_names=names,
        robot=robot,
        rate=rate,
        sent_at=steps["time"],
        torque=steps["sent"].astype(float),
        read_at=steps["time"] - steps["joints_age"],
        position=steps["position"].astype(float),
        age=steps["joints_age"].astype(float),
        moving=np.isin(steps["mode"], MOVING),
    )
    check(recording)
    return recording


def check(recording: Recording) -> None:
    """Raise ``DeployError`` where nothing can be learnt."""
    moving, names = recording.moving, recording.joint_names
    numbers = {"position": recording.position, "torque": recording.torque}
    for what, values in numbers.items():
        broken = ~np.isfinite(values).all(0)
        if broken.any():
            raise DeployError(f"The recording has a {what} of {names[int(broken.argmax())]} that is not a number.")
    times = (recording.sent_at, recording.read_at)
    if not all(np.isfinite(x).all() for x in times) or (np.diff(recording.sent_at) <= 0).any():
        raise DeployError("The recording's times are not numbers that rise.")
    if recording.seconds < LEAST_S:
        raise DeployError(
            f"The recording has {recording.seconds:.1f} s of excitation, and {LEAST_S:g} s are needed at least."
        )
    for name, torque, position in zip(names, recording.torque[moving].T, recording.position[moving].T, strict=True):
        if np.ptp(torque) < LEAST_TORQUE:
            raise DeployError(f"{name} was never told a torque to speak of, so that nothing can be said of it.")
        low, high = np.percentile(position, (1, 99))
        if high - low < LEAST_TRAVEL:
            raise DeployError(
                f"{name} moved by {high - low:.3f} rad under torques up to {np.abs(torque).max():.2f} N·m: it is "
                "stuck, not driven, or not read."
            )


@dataclass(frozen=True)
class Windows:
    """W pieces of a recording, S read-outs each at most; those that are missing weigh nothing."""

    begin: np.ndarray
    """(W,) time of the first read-out [s]."""
    offset: np.ndarray
    """(W, S) of each read-out from there [s]."""
    position: np.ndarray
    """(W, S, J) [rad]."""
    known: np.ndarray
    """(W, S) bool."""
    steps: int
    """Physics steps that cover a window."""

    def __len__(self) -> int:
        return len(self.begin)

    def some(self, every: int) -> Windows:
        """One in ``every``."""
        at = slice(every // 2, None, every)
        return Windows(self.begin[at], self.offset[at], self.position[at], self.known[at], self.steps)

    def first_guess(self) -> np.ndarray:
        """Positions [rad] and speeds [rad/s] (W, 2J) at the begin, by a cubic through the first read-outs."""
        out = []
        for offset, position, known in zip(self.offset, self.position, self.known, strict=True):
            at = np.flatnonzero(known)[:9]
            powers = offset[at, None] ** np.arange(4)
            coefficients = np.linalg.lstsq(powers, position[at], rcond=None)[0]
            out.append(np.r_[coefficients[0], coefficients[1]])
        return np.array(out)


def cut(recording: Recording, physics_dt: float) -> Windows:
    """The windows of what is fitted, end to end; those with many read-outs missing, or a late one, are left out."""
    count = round(WINDOW_S * recording.rate)
    found = []
    oldest = np.percentile(recording.age, 10) + LATE_S
    fresh = np.r_[True, np.diff(recording.read_at) > 0.2 / recording.rate]
    for first in range(0, len(recording.sent_at) - count + 1, count):
        at = np.arange(first, first + count)
        whole = recording.sent_at[at[-1]] - recording.sent_at[at[0]] < 1.2 * WINDOW_S
        new = np.flatnonzero(fresh[at]) + first
        late = recording.age[at].max() > oldest
        if late or not whole or not recording.moving[at].all() or len(new) < max(LEAST_SHARE * count, 6):
            continue
        offset, position, known = np.zeros(count), np.zeros((count, recording.position.shape[1])), np.zeros(count, bool)
        offset[: len(new)] = recording.read_at[new] - recording.read_at[new[0]]
        position[: len(new)], known[: len(new)] = recording.position[new], True
        found.append((recording.read_at[new[0]], offset, position, known))
    if len(found) * WINDOW_S < LEAST_WHOLE_S:
        raise DeployError(
            f"Too many read-outs are missing or late: less than {LEAST_WHOLE_S:g} s of the recording are whole. Is the "
            "machine busy?"
        )
    begin, offset, position, known = (np.array(x) for x in zip(*found, strict=True))
    return Windows(begin, offset, position, known, int(np.ceil(offset.max() / physics_dt - 1e-6)) + 1)
