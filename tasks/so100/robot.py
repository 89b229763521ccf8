"""The SO-100 arm in Isaac Lab: joints, limits, motors, a ready pose, and where its fingertip is.

Frames: the base stands at the origin of its frame, z up; the arm reaches toward -y. With all joints at zero the upper
arm, lower arm and gripper lie horizontally along -y. ``shoulder_pan`` turns about +z; ``shoulder_lift``, ``elbow_flex``
and ``wrist_flex`` turn about +x (before the pan), so that a negative lift raises the arm and positive elbow and wrist
angles fold it down: the gripper points straight down where the three sum to pi/2. ``wrist_roll`` turns the gripper
about its own y (it points along -y of its frame), and a positive ``gripper`` opens the jaw.
"""

from __future__ import annotations

import math

import torch

from argos_sim.actuators import STALL_TORQUE, STS3215ActuatorCfg
from argos_sim.envs.camera import CameraPose
from argos_sim.experts import Arm
from argos_sim.kinematics import SerialChain
from argos_sim.paths import asset
from tasks.robot import Gripper, Robot, Workspace, articulation

USD_PATH = asset("robots", "so100", "usd", "so100.usda")
MJCF_PATH = asset("robots", "so100", "so100.xml")

JOINT_NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")

JOINT_LIMITS: dict[str, tuple[float, float]] = {
    "shoulder_pan": (-2.2, 2.2),
    "shoulder_lift": (-3.14, 0.2),
    "elbow_flex": (0.0, 3.14),
    "wrist_flex": (-2.0, 1.8),
    "wrist_roll": (-3.14, 3.14),
    "gripper": (-0.2, 2.0),
}
"""Lower and upper end of each joint [rad]; a test holds them to the MJCF."""

TORQUE_LIMITS: dict[str, float] = dict.fromkeys(JOINT_NAMES, STALL_TORQUE)
"""Largest commanded torque of each joint [N·m]: all six are STS3215 servos."""

TIP_BODY = "gripper"
"""The link that carries the fixed jaw."""

TIP_OFFSET = (0.0089, -0.101, 0.0)
"""End of the fixed jaw's pads in the frame of ``TIP_BODY`` [m]; the MJCF's site `tip`."""

JAW_TIP = (-0.011, -0.0785, 0.0)
"""End of the moving jaw's pads in the frame of its link [m]."""

READY_POSE: dict[str, float] = {
    "shoulder_pan": 0.0,
    "shoulder_lift": -2.5,
    "elbow_flex": 2.3,
    "wrist_flex": 1.2,
    "wrist_roll": -1.57,
    "gripper": 0.7,
}
"""Drawn back over the base, jaw half open, the whole table ahead in the camera's view [rad]."""

SO100_CFG = articulation(USD_PATH, READY_POSE, STS3215ActuatorCfg(joint_names_expr=[".*"]))
"""The arm, fixed at its base, driven by six commanded torques."""

CONSTRAINT = ((0.0, 1.0, 1.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
"""What an expert chooses beside the fingertip's place: the gripper's pitch (the three bends sum to it; a quarter turn
points straight down), its roll, and its opening."""


STIFFNESS = (12.0, 12.0, 12.0, 6.0, 4.0, 4.0)
"""Of the expert's feedback [N·m/rad]; stable with 40 ms of total delay."""

DAMPING = (0.4, 0.4, 0.4, 0.15, 0.1, 0.1)
"""Likewise, beside the motors' own [N·m·s/rad]."""


def so100_arm(device: str) -> Arm:
    """The arm as experts see it."""
    same = torch.ones(len(JOINT_NAMES), device=device)
    return Arm(
        SerialChain.from_mjcf(MJCF_PATH, JOINT_NAMES, "tip", device),
        limits=torch.tensor([JOINT_LIMITS[name] for name in JOINT_NAMES], device=device),
        torque_limit=torch.tensor([TORQUE_LIMITS[name] for name in JOINT_NAMES], device=device),
        constraint=torch.tensor(CONSTRAINT, device=device),
        stiffness=torch.tensor(STIFFNESS, device=device),
        damping=torch.tensor(DAMPING, device=device),
        back_emf=0.6 * same,
        dry_friction=0.05 * same,
        armature=0.028 * same,
        unit=same,
    )


BLOCK_SIZE = 0.03
"""Edge of the blocks [m]."""

SO100 = Robot(
    name="so100",
    articulation=SO100_CFG,
    joint_limits=JOINT_LIMITS,
    torque_limits=TORQUE_LIMITS,
    arm=so100_arm,
    tip_body=TIP_BODY,
    tip_offset=TIP_OFFSET,
    fingertips={"moving_jaw": JAW_TIP},
    gripper=Gripper(
        # Pointing down, tilted toward the base; it opens sideways, its fixed jaw on the side of larger bearings.
        closed=(math.radians(75), -math.pi / 2, 0.0),
        turned=(0.0, 1.0, 0.0),
        opened=(0.0, 0.0, 1.0),
        wide=0.9,
        released=0.45,
        beside=BLOCK_SIZE / 2 + 0.006,
        held=BLOCK_SIZE / 2,
        above=0.08,
        low=0.012,
    ),
    workspace=Workspace(
        centre=(0.0, -0.0452),
        radius=(0.17, 0.28),
        grasp_radius=(0.17, 0.25),
        separation=0.07,
        distractor_radius=(0.15, 0.34),
        distractor_separation=0.06,
    ),
    block_size=BLOCK_SIZE,
    block_mass=0.03,
    camera=CameraPose(),
    start_spread={"shoulder_pan": 0.5, "wrist_roll": 0.5, "gripper": 0.4},
)
"""All that tasks must know of it."""
