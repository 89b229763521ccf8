"""Robots as their MJCF has them, with no simulator that trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.motion.model import RobotModel
from argos_sim.motion.ways import Ways
from argos_sim.paths import asset


@dataclass(frozen=True)
class Known:
    """A robot, and where it is ready."""

    mjcf: Path
    ready: np.ndarray
    manifest: PolicyManifest
    model: RobotModel

    @property
    def ways(self) -> Ways:
        return Ways(self.model, self.manifest)

    def drawn(self, count: int, seed: int) -> np.ndarray:
        """Postures (N, J) in all of the joints' ranges."""
        low, high = np.array(self.manifest.joint_limits).T
        return np.random.default_rng(seed).uniform(low, high, (count, len(low)))


def known(name: str, joints: tuple[str, ...], ready: list[float], torque: float) -> Known:
    mjcf = asset("robots", name, f"{name}.xml")
    ranges = mujoco.MjModel.from_xml_path(str(mjcf))  # pyright: ignore[reportAttributeAccessIssue]
    manifest = PolicyManifest(
        spec={},
        joint_names=joints,
        joint_limits=tuple(tuple(ranges.joint(joint).range.tolist()) for joint in joints),
        torque_limits=(torque,) * len(joints),
        velocity_limits=(4.9,) * len(joints),
        rates={"control_hz": 50},
        history=0,
        action_scale=(torque,) * len(joints),
    )
    return Known(mjcf, np.array(ready), manifest, RobotModel(mjcf, joints))


SO100 = known(
    "so100",
    ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"),
    [0.0, -2.5, 2.3, 1.2, -1.57, 0.7],
    2.94,
)
FRANKA = known(
    "franka",
    (*(f"joint{i}" for i in range(1, 8)), "finger_left", "finger_right"),
    [0.0, -0.9, 0.0, -2.5, 0.0, 1.6, 0.785, 0.02, 0.02],
    70.0,
)
