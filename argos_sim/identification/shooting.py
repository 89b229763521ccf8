"""Many candidates at once: each window of a recording is simulated from its begin, for each candidate's joints.

The physics is MuJoCo's C engine as ``mujoco_c`` builds it, the motor is ``mujoco_c.motors``' law, and what is found is
therefore right for the physics step that training uses. A command that begins or ends within a physics step acts in
proportion, so that a delay need not be a whole number of steps.
"""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from mujoco import rollout

from argos_sim.identification.windows import Recording, Windows
from argos_sim.mujoco_c.world import World


@dataclass(frozen=True)
class Candidates:
    """Joints and motors of C arms, each (C, J), see ``deploy.simulated.JointDynamics``."""

    friction: np.ndarray
    armature: np.ndarray
    back_emf: np.ndarray
    strength: np.ndarray
    delay: np.ndarray
    """(C,) from when a command is sent to when it acts, on the read-outs' clock [s]."""
    mass: np.ndarray
    """(C, J) factor on mass and inertia of the link that each joint moves."""
    centre: np.ndarray
    """(C, J, 3) of its centre of mass, beside the modelled one, along the link's axes [m]."""


class Shooter:
    """Simulates windows of one recording."""

    def __init__(self, world: World, recording: Recording, threads: int = 1) -> None:
        self.world = world
        spec = mujoco.MjSpec.from_file(str(world.mjcf))
        spec.option.timestep = world.rates.physics_dt / world.substeps
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT  # the excitation touches nothing
        self._model = spec.compile()
        if self._model.nv != len(world.joint_names):
            raise ValueError(f"{world.mjcf} has {self._model.nv} joints, and {len(world.joint_names)} are identified.")
        joints = [self._model.joint(name) for name in world.joint_names]
        self._positions = np.array([1 + int(joint.qposadr[0]) for joint in joints])  # after the time
        self._dofs = np.array([int(joint.dofadr[0]) for joint in joints])
        self._speeds = 1 + self._model.nq + self._dofs
        self._links = np.array([int(self._model.jnt_bodyid[joint.id]) for joint in joints])
        self._data = [mujoco.MjData(self._model) for _ in range(threads)]
        times, torque = recording.sent_at, recording.torque
        # A held command's integral over time is straight between commands: its mean over any time is two look-ups.
        self._times = np.r_[times, times[-1] + 1.0]
        impulse = torque * np.diff(self._times)[:, None]
        self._impulse = np.r_[np.zeros((1, torque.shape[1])), np.cumsum(impulse, 0)]

    def commands(self, windows: Windows, delay: float) -> np.ndarray:
        """Mean command in force (T, W, J) [N·m] in each physics step of the windows."""
        dt = self.world.rates.physics_dt
        edges = windows.begin + np.arange(windows.steps + 1)[:, None] * dt - delay
        impulse = np.stack([np.interp(edges, self._times, one) for one in self._impulse.T], -1)
        return np.diff(impulse, axis=0) / dt

    def simulate(self, candidates: Candidates, windows: Windows, start: np.ndarray) -> np.ndarray:
        """Positions (C, W, S, J) [rad] at the windows' read-outs, from ``start`` (C, W, 2J) [rad, rad/s]."""
        count, size, joints = start.shape[0], len(windows), len(self._dofs)
        models = [model for model in self._models(candidates) for _ in range(size)]
        state = np.zeros((count * size, 1 + self._model.nq + self._model.nv))
        state[:, self._positions], state[:, self._speeds] = np.split(start.reshape(-1, 2 * joints), 2, axis=1)
        delays, which = np.unique(candidates.delay, return_inverse=True)
        commands = np.stack([self.commands(windows, delay) for delay in delays], 1)  # (T, D, W, J)
        strength, slope = candidates.strength[:, None], candidates.back_emf[:, None]
        stall, path = self.world.stall_torque, [start]
        force = np.zeros((count * size, 1, self._model.nv))
        for command in commands:
            speed = path[-1][..., joints:]
            effort = (strength * command[which].clip(-stall, stall) - slope * speed).clip(-stall, stall)
            force[:, 0, self._dofs] = effort.reshape(-1, joints)
            state = self._advance(models, state, force)
            now = np.c_[state[:, self._positions], state[:, self._speeds]]
            path.append(now.reshape(count, size, 2 * joints))
        return self._at_read_outs(np.stack(path), windows)

    def _advance(self, models: list[Any], state: np.ndarray, force: np.ndarray) -> np.ndarray:
        """One physics step under joint forces (B, 1, J)."""
        states, _ = rollout.rollout(
            models,
            self._data,
            state,
            force,
            control_spec=int(mujoco.mjtState.mjSTATE_QFRC_APPLIED),
            nstep=self.world.substeps,
            persistent_pool=True,
        )
        return np.asarray(states)[:, -1]

    def _models(self, candidates: Candidates) -> list[Any]:
        models, links = [], self._links
        for c in range(len(candidates.friction)):
            model = copy.copy(self._model)
            model.dof_frictionloss[self._dofs] = candidates.friction[c]
            model.dof_armature[self._dofs] = candidates.armature[c]
            model.body_mass[links] *= candidates.mass[c]
            model.body_inertia[links] *= candidates.mass[c][:, None]
            model.body_ipos[links] += candidates.centre[c]
            mujoco.mj_setConst(model, self._data[0])
            models.append(model)
        return models

    def _at_read_outs(self, path: np.ndarray, windows: Windows) -> np.ndarray:
        """Hermite's cubics between physics steps: (T+1, C, W, 2J) → (C, W, S, J)."""
        dt, joints = self.world.rates.physics_dt, len(self._dofs)
        at = windows.offset / dt
        step = np.minimum(at.astype(int), len(path) - 2)
        u = (at - step)[..., None]
        each = np.arange(len(windows))[:, None]
        path = np.moveaxis(path, 0, 2)  # (C, W, T+1, 2J)
        before, after = path[:, each, step], path[:, each, step + 1]
        p0, v0, p1, v1 = before[..., :joints], before[..., joints:], after[..., :joints], after[..., joints:]
        h = u * u * (3 - 2 * u)
        return p0 + (p1 - p0) * h + dt * (v0 * u * (1 - u) ** 2 - v1 * u * u * (1 - u))
