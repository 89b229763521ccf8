"""A robot as its own MJCF has it: how near its parts come to the table and to each other, and what it weighs.

The base stands on the table, z = 0; parts are the geoms that are seen (group 2), links what joints move.
"""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np

from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.simulated import WORLD_FILE
from argos_sim.paths import asset

SEEN_GROUP = 2
"""Of the MJCF's geoms that are seen."""
FAR = 0.1
"""Distances beyond this are all the same [m]."""
NEIGHBOURS = 2
"""Links that are so few joints apart are near each other in any posture."""
NUDGE = 1e-4
"""[rad]."""


class RobotModel:
    """Of the joints that it is given; others stay at zero.

    Attributes:
        near: (K,) bool, which distances that ``clearance`` tells are of links that are near each other in any posture.
    """

    def __init__(self, mjcf: Path, joint_names: Sequence[str]) -> None:
        """``DeployError`` where the file has not these joints."""
        self._model = model = mujoco.MjModel.from_xml_path(str(mjcf))
        self._data = mujoco.MjData(model)
        numbers = [mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name) for name in joint_names]
        if min(numbers) < 0:
            raise DeployError(f"The robot's model {mjcf} has no joint {joint_names[int(np.argmin(numbers))]}.")
        self._places, self._dofs = model.jnt_qposadr[numbers], model.jnt_dofadr[numbers]
        self._geoms = np.flatnonzero(model.geom_group == SEEN_GROUP)
        owner = model.body_weldid[model.geom_bodyid[self._geoms]]
        links = [int(link) for link in np.unique(owner)]
        self._low = [np.flatnonzero(owner == link) for link in links if self._rises(link)]
        chain = {link: self._chain(link) for link in links}
        apart = {(a, b): len(set(chain[a]) ^ set(chain[b])) for a, b in itertools.combinations(links, 2)}
        pairs = [pair for pair, joints in apart.items() if joints > 1]
        self.near = np.array([False] * len(self._low) + [apart[pair] <= NEIGHBOURS for pair in pairs])
        of = [(i, g, h) for i, (a, b) in enumerate(pairs) for g, h in itertools.product(
            self._geoms[owner == a].tolist(), self._geoms[owner == b].tolist())]  # fmt: skip
        self._compared = np.array(of).T
        """Of two geoms each: which pair of links they belong to, and their numbers."""
        _, self._one, self._other = self._compared
        self._reach = model.geom_rbound[self._one] + model.geom_rbound[self._other]
        self._extent = _extents(model, self._geoms)

    @staticmethod
    def of_policy(folder: Path, manifest: PolicyManifest) -> RobotModel:
        """The robot that an exported policy's simulation has.

        Raises:
            DeployError: it was exported without one, or with one that names no robot of ours.
        """
        path = folder / WORLD_FILE
        try:
            place = Path(json.loads(path.read_text())["mjcf"])
            if place.is_absolute() or ".." in place.parts:
                raise ValueError(f"the robot's file {place} is not among the assets")
            mjcf = asset(*place.parts)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeployError(f"{path} does not say how the policy's arm is built ({error}).") from None
        return RobotModel(mjcf, manifest.joint_names)

    def clearance(self, q: np.ndarray) -> np.ndarray:
        """Distances (N, K), at most ``FAR`` [m], at joints (N, J): of each link from the table, then of each two links
        that no one joint connects; below zero where they reach into each other."""
        return np.stack([np.minimum(self._clearance(posture), FAR) for posture in q])

    def free(self, q: np.ndarray) -> float:
        """The least of them at joints (J,), but for links that are always near each other [m]."""
        return float(self.clearance(q[None])[0, ~self.near].min())

    def rising(self, q: np.ndarray) -> np.ndarray:
        """(J,) by how much each joint at ``q`` (J,) moves parts up or down, of all of them together [m/rad]."""
        moved = np.eye(len(q)) * NUDGE
        return np.array([np.abs(self._heights(q + d) - self._heights(q - d)).sum() for d in moved]) / (2 * NUDGE)

    def gravity(self, q: np.ndarray) -> np.ndarray:
        """(J,) [N·m] that keep the robot at rest at joints (J,) [rad]."""
        self._put(q)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_comVel(self._model, self._data)
        torque = np.zeros(self._model.nv)
        mujoco.mj_rne(self._model, self._data, 0, torque)
        return torque[self._dofs]

    def _clearance(self, q: np.ndarray) -> list[float]:
        self._put(q)
        lowest = self._data.geom_xpos[self._geoms, 2] - self._half_heights()
        heights, where = [float(lowest[of].min()) for of in self._low], self._data.geom_xpos
        found = [FAR] * (len(self.near) - len(heights))
        # What the spheres about two geoms leave between them is less than what is between the geoms.
        least = np.linalg.norm(where[self._one] - where[self._other], axis=1) - self._reach
        order = np.argsort(least)[: int((least < FAR).sum())].tolist()
        for pair, one, other, spheres in zip(*(x[order].tolist() for x in self._compared), least[order], strict=True):
            if spheres < found[pair]:
                far = mujoco.mj_geomDistance(self._model, self._data, one, other, found[pair], None)
                found[pair] = min(found[pair], far)
        return heights + found

    def _put(self, q: np.ndarray) -> None:
        self._data.qpos[self._places] = q
        mujoco.mj_kinematics(self._model, self._data)

    def _heights(self, q: np.ndarray) -> np.ndarray:
        self._put(q)
        return self._data.geom_xpos[self._geoms, 2].copy()

    def _half_heights(self) -> np.ndarray:
        """(G,) of each geom, from its centre to its lowest point [m]."""
        box, along, about, ball = self._extent
        across = np.abs(self._data.geom_xmat[self._geoms, 6:])
        return (across * box).sum(1) + across[:, 2] * along + np.hypot(across[:, 0], across[:, 1]) * about + ball

    def _chain(self, link: int) -> list[int]:
        """``link`` and all links that carry it, but for what does not move."""
        found = []
        while link:
            found.append(link)
            link = int(self._model.body_weldid[self._model.body_parentid[link]])
        return found

    def _rises(self, link: int) -> bool:
        """Whether a joint changes how high the lowest point of a link is."""
        mujoco.mj_kinematics(self._model, self._data)
        joints = np.flatnonzero(np.isin(self._model.jnt_bodyid, self._chain(link)))
        slides = self._model.jnt_type[joints] == mujoco.mjtJoint.mjJNT_SLIDE
        return bool((slides | (np.abs(self._data.xaxis[joints, 2]) < 1 - 1e-6)).any())


def _extents(model: mujoco.MjModel, geoms: np.ndarray) -> tuple[np.ndarray, ...]:
    """Half edges (G, 3) of boxes, half lengths (G,) along and radii (G,) about the z of cylinders and capsules, and
    radii (G,) of balls about all else [m]; zero where a geom has no such."""
    kind, size = model.geom_type[geoms], model.geom_size[geoms]
    box, cylinder, capsule = (kind == getattr(mujoco.mjtGeom, f"mjGEOM_{n}") for n in ("BOX", "CYLINDER", "CAPSULE"))
    along, about = np.where(cylinder | capsule, size[:, 1], 0.0), np.where(cylinder, size[:, 0], 0.0)
    ball = np.where(capsule, size[:, 0], np.where(box | cylinder, 0.0, model.geom_rbound[geoms]))
    return np.where(box[:, None], size, 0.0), along, about, ball
