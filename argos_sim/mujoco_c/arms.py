"""N arms, each with a table and cubes of its own, stepped one after the other by MuJoCo's C engine."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import math

import mujoco
import numpy as np

from argos_sim.deploy.simulated import JointDynamics
from argos_sim.mujoco_c import scene
from argos_sim.mujoco_c.motors import Motors
from argos_sim.mujoco_c.outcomes import done, tip_distances
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.ranges import RandomizationRanges

MAX_JOINT_SPEED = 60.0
"""rad/s; a faster joint, or what MuJoCo warns of, counts as broken physics."""
MARGIN = 0.02
"""Distance from the ends of a joint's range at which an episode may begin [rad]."""


class Arms:
    """Physics of N arms: torques in, joint states and outcomes out.

    Attributes:
        models, data: N of MuJoCo's.
        asked: (N,) index into ``world.texts``.
        touched: (N,) index of the first object touched, −1 for none.
        broken: (N,) bool, whether physics broke in this episode.
    """

    def __init__(self, world: World, count: int) -> None:
        self.world, self.nominal = world, scene.build(world)
        self.models = [copy.deepcopy(self.nominal) for _ in range(count)]
        self.data = [mujoco.MjData(model) for model in self.models]
        joints = [self.nominal.joint(name) for name in world.joint_names]
        self._positions = [int(joint.qposadr[0]) for joint in joints]
        self._dofs = [int(joint.dofadr[0]) for joint in joints]
        self._cubes = [self.nominal.body(name).id for name in world.objects]
        self._tip = self.nominal.body(world.tip_body).id
        self.motors = Motors(count, len(joints), world.stall_torque, world.back_emf)
        self.asked, self.touched = np.zeros(count, dtype=int), np.full(count, -1)
        self.broken = np.zeros(count, dtype=bool)

    def __len__(self) -> int:
        return len(self.models)

    def reset(self, ranges: RandomizationRanges, rng: np.random.Generator) -> None:
        """Begin N new episodes: other bodies and motors, places of arm and cubes, instructions."""
        world = self.world
        low, high = np.array(world.joint_limits).T
        for model, data in zip(self.models, self.data, strict=True):
            scene.vary(model, self.nominal, world, ranges, rng)
            mujoco.mj_resetData(model, data)
            spread = np.array(world.spread)
            data.qpos[self._positions] = (world.ready + rng.uniform(-spread, spread)).clip(low + MARGIN, high - MARGIN)
            for name, (x, y) in zip(world.objects, places(world, rng), strict=True):
                half_yaw = rng.uniform(-math.pi, math.pi) / 2
                turn = (math.cos(half_yaw), 0.0, 0.0, math.sin(half_yaw))
                data.joint(name).qpos = (x, y, world.placement.height, *turn)
            mujoco.mj_forward(model, data)
        self.motors.resample(ranges, rng)
        self.motors.reset()
        self.asked = rng.integers(len(world.texts), size=len(self))
        self.touched[:], self.broken[:] = -1, False

    def give(self, dynamics: JointDynamics) -> None:
        """The same joints and motors to every arm, instead of those that were drawn."""
        for model in self.models:
            model.dof_frictionloss[self._dofs] = dynamics.friction
            model.dof_armature[self._dofs] = dynamics.armature
            mujoco.mj_setConst(model, mujoco.MjData(model))
        self.motors.strength[:] = dynamics.strength
        self.motors.scale[:] = np.array(dynamics.back_emf) / self.motors.back_emf
        self.motors.delay[:] = dynamics.delay

    def joints(self) -> np.ndarray:
        """True positions [rad] and velocities [rad/s] (N, 2J)."""
        return np.array([np.r_[d.qpos[self._positions], d.qvel[self._dofs]] for d in self.data])

    def put_joints(self, state: np.ndarray) -> None:
        """Set positions and velocities (N, 2J), whatever the dynamics."""
        position, velocity = np.split(state, 2, axis=1)
        for i, data in enumerate(self.data):
            data.qpos[self._positions], data.qvel[self._dofs] = position[i], velocity[i]

    def step(self, command: np.ndarray) -> None:
        """One control step under commanded torques (N, J) [N·m]."""
        for _ in range(self.world.rates.decimation):
            self.physics_step(command)
        self.judge()

    def physics_step(self, command: np.ndarray) -> None:
        """One physics step under commanded torques (N, J) [N·m]; ``judge`` follows once a control step."""
        velocity = np.array([data.qvel[self._dofs] for data in self.data])
        efforts = self.motors.efforts(command, velocity)
        for model, data, effort in zip(self.models, self.data, efforts, strict=True):
            data.qfrc_applied[self._dofs] = effort
            mujoco.mj_step(model, data, self.world.substeps)

    def judge(self) -> None:
        """Note broken physics and first touches."""
        for i, data in enumerate(self.data):
            warned = any(data.warning[k].number for k in BROKEN)
            self.broken[i] |= warned or bool(np.abs(data.qvel[self._dofs]).max() > MAX_JOINT_SPEED)
            if self.touched[i] < 0:
                distance = self._tip_distances(i)
                if distance.min() <= self.world.goal.touch_distance:
                    self.touched[i] = distance.argmin()

    def success(self) -> np.ndarray:
        """(N,) whether what was asked for is done now, and physics never broke."""
        now = []
        for i, text in enumerate(self.asked):
            named, place = self.world.asked[text]
            now.append(done(self.world, named, place, self.touched[i], self._tip_distances(i), self._centres(i)))
        return np.array(now) & ~self.broken

    def _centres(self, arm: int) -> np.ndarray:
        return self.data[arm].xpos[self._cubes]

    def _tip_distances(self, arm: int) -> np.ndarray:
        data = self.data[arm]
        tip = data.xpos[self._tip] + data.xmat[self._tip].reshape(3, 3) @ np.array(self.world.tip_offset)
        turned = data.xmat[self._cubes].reshape(-1, 3, 3)
        return tip_distances(tip, self._centres(arm), turned, self.world.half_size)


BROKEN = tuple(
    int(warning)
    for warning in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
)
"""Warnings after which MuJoCo begins anew by itself."""


def places(world: World, rng: np.random.Generator, tries: int = 64) -> np.ndarray:
    """Places (O, 2) [m] in the ring sector, none too near another, or else the best of ``tries``."""
    where, count = world.placement, len(world.objects)
    best, widest = np.zeros((count, 2)), -1.0
    for _ in range(tries):
        distance = np.sqrt(rng.uniform(where.radius[0] ** 2, where.radius[1] ** 2, count))
        bearing = rng.uniform(*where.angle, count)
        x, y = where.centre[0] + distance * np.sin(bearing), where.centre[1] - distance * np.cos(bearing)
        found = np.stack([x, y], -1)
        gaps = np.linalg.norm(found[:, None] - found[None], axis=-1) + 10 * np.eye(count)
        if gaps.min() > widest:
            best, widest = found, min(gaps.min(), where.separation)
        if widest >= where.separation:
            break
    return best
