"""The torques of a recording played into MuJoCo: where its arm would be by now, beside where the robot was.

The simulated arm starts as the recorded one did and hears what that was sent, when it was sent; nothing else. How far
they come apart is what a simulator is wrong by, and grows with time; ``restart_s`` puts the simulated arm back on the
recorded one now and then, so that what one moment added can be seen. Where the recording is of a ``SimulatedRobot``,
its episode's own body, motors and blocks are drawn again; any other is played on the nominal body, without blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from argos_sim.deploy.recording import Recording, Segment
from argos_sim.deploy.simulated import WORLD_FILE, JointDynamics
from argos_sim.mujoco_c.arms import Arms
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.ranges import get_ranges

HORIZONS_S = (0.1, 0.5, 1.0)
"""From a restart to where the two arms are compared [s]."""
LET_GO_S = 0.1
"""Motors without a command for so long let go, as the drivers' do [s]."""
ASIDE = 5.0
"""Where blocks are that nobody knows the places of [m]."""


@dataclass(frozen=True)
class Played:
    """A simulated arm beside the recorded one, at K recorded steps."""

    steps: np.ndarray
    """(K,) their indices."""
    since: np.ndarray
    """(K,) time since the simulated arm was last put where the recorded one was [s]."""
    position: np.ndarray
    """(K, J) when the recorded position was sensed [rad]."""
    velocity: np.ndarray
    """(K, J) [rad/s]."""
    objects: np.ndarray
    """(K, O, 7) places [m] and quaternions w, x, y, z of the blocks; O is 0 where they are not known."""
    difference: np.ndarray
    """(K, J) position less the recorded one [rad]; NaN where no joints were read."""

    def rms(self) -> np.ndarray:
        """(J,) of the difference [rad]."""
        return np.sqrt(np.nanmean(self.difference**2, 0))

    def rms_at(self, horizon_s: float, control_dt: float) -> np.ndarray:
        """(J,) of the difference, ``horizon_s`` after a restart to within half a step [rad]; NaN where none was so
        long."""
        there = np.abs(self.since - horizon_s) <= 0.5 * control_dt
        return np.sqrt(np.nanmean(self.difference[there] ** 2, 0)) if there.any() else np.full(len(self.rms()), np.nan)


class Resimulation:
    """Plays segments of a recording."""

    def __init__(self, recording: Recording, world: World | None = None) -> None:
        """Build the arm of the recording, or of another ``world`` that it is to be compared with.

        Raises:
            ValueError: the recording tells of no world, or the world's joints are not the recording's.
        """
        self.recording = recording
        if world is None:
            if recording.about["world"] is None:
                raise ValueError(
                    f"The recording in {recording.folder} is of a policy without {WORLD_FILE}: its torques cannot "
                    "be played into a simulator. Give another policy's with --world."
                )
            world = World.from_json(recording.about["world"])
        if world.joint_names != recording.joint_names:
            raise ValueError(
                f"The recording's joints are {', '.join(recording.joint_names)}, the world's "
                f"{', '.join(world.joint_names)}."
            )
        self.world, self.arms = world, Arms(world, 1)
        self.simulated = recording.about["robot"] == "SimulatedRobot"

    def play(self, segment: Segment, restart_s: float | None = None) -> Played:
        """Play one segment, from the recorded start and again every ``restart_s``.

        Raises:
            ValueError: no joints were read in it.
        """
        steps = self.recording.steps
        sensed = steps["time"] - steps["joints_age"]
        known = self.recording.within(segment) & np.isfinite(steps["position"]).all(1) & (sensed >= segment.begin)
        index = np.flatnonzero(known)
        if not len(index):
            raise ValueError(f"No joints were read in the segment that began at {segment.begin:.2f} s.")
        self._begin(segment)
        wanted = np.inf if restart_s is None else restart_s
        pieces = []
        while len(index):
            until = sensed[index[0]] + wanted
            count = max(1, int(np.searchsorted(sensed[index], until, side="right")))
            pieces.append(self._piece(index[:count], sensed))
            # The last of a piece is where the next one starts, so that every step is compared once.
            index = index[count - 1 if count > 1 and count < len(index) else count :]
        return _joined(pieces, steps["position"])

    def _begin(self, segment: Segment) -> None:
        """The segment's body, motors and blocks."""
        settings = self.recording.about["robot_settings"]
        if self.simulated and segment.episode is not None:
            rng = np.random.default_rng((settings["seed"], segment.episode))
            self.arms.reset(get_ranges(settings["ranges"]), rng)
            if settings.get("dynamics"):
                self.arms.give(JointDynamics(**settings["dynamics"]))
            return
        self.arms.reset(get_ranges("nominal"), np.random.default_rng(0))
        for number, name in enumerate(self.world.objects):
            self.arms.data[0].joint(name).qpos[:2] = (ASIDE, number)

    def _piece(self, index: np.ndarray, sensed: np.ndarray) -> dict[str, np.ndarray]:
        """Put the arm where the first of the steps ``index`` was, and play the torques until the last."""
        steps, arms, dt = self.recording.steps, self.arms, self.world.rates.physics_dt
        first, start = index[0], sensed[index[0]]
        arms.put_joints(np.r_[steps["position"][first], steps["velocity"][first]][None].astype(float))
        arms.motors.reset()
        count = int(np.ceil((sensed[index[-1]] - start) / dt - 1e-6))
        times = start + dt * np.arange(count + 1)
        sent_at = steps["time"] + steps["took"]
        command = np.searchsorted(sent_at, times, side="right") - 1
        torques = np.where((command >= 0)[:, None], steps["sent"][np.maximum(command, 0)], 0.0).astype(float)
        torques[times - sent_at[np.maximum(command, 0)] > LET_GO_S] = 0.0
        states, objects = [arms.joints()[0]], [self._objects()]
        for torque in torques[1:]:
            arms.physics_step(torque[None])
            states.append(arms.joints()[0])
            objects.append(self._objects())
        at, table = sensed[index], np.array(states)
        joints = np.stack([np.interp(at, times, column) for column in table.T], 1)
        nearest = np.clip(np.rint((at - start) / dt).astype(int), 0, count)
        position, velocity = np.split(joints, 2, axis=1)
        return {
            "steps": index,
            "since": at - start,
            "position": position,
            "velocity": velocity,
            "objects": np.array(objects)[nearest],
        }

    def _objects(self) -> np.ndarray:
        if not self.simulated:
            return np.zeros((0, 7))
        return np.array([self.arms.data[0].joint(name).qpos for name in self.world.objects])


def _joined(pieces: list[dict[str, np.ndarray]], recorded: np.ndarray) -> Played:
    """One after the other; of two at one step, the one that was played up to it."""
    later = [pieces[0], *({name: values[1:] for name, values in piece.items()} for piece in pieces[1:])]
    parts = {name: np.concatenate([piece[name] for piece in later]) for name in pieces[0]}
    return Played(**parts, difference=parts["position"] - recorded[parts["steps"]])
