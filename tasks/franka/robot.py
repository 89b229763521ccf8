"""The Franka Emika Panda in Isaac Lab: joints, limits, motors, a ready pose, and where its fingertip is.

Frames: the base stands at the origin of its frame, z up; the arm reaches toward -y. ``joint1`` to ``joint7`` turn
about the z of their links, as in the manufacturer's table (``franka.xml``). With ``joint3`` and ``joint5`` at zero the
arm stays in one vertical plane, in which the hand points straight down where joint2 - joint4 - joint6 is zero;
``joint7`` then turns it about the vertical, with the clock as seen from above.

The gripper's two fingers are two joints with a motor and a command each. A real hand drives both by one motor; but a
joint that follows another is a different constraint on each engine, and makes an arm with more joints than commands, of
which resets, targets, senses and experts would all have to know. What grips is the same. A real hand would be given the
mean of both commands.

Commanded torques hold the arm's weight, as the SO-100's do. The real arm's interface adds gravity's part by itself: to
it, the command less what ``SerialChain.gravity_and_inertia`` gives would be sent.
"""

from __future__ import annotations

import math

import torch

from argos_sim.actuators import MotorActuatorCfg
from argos_sim.envs.camera import CameraPose
from argos_sim.experts import Arm
from argos_sim.kinematics import SerialChain
from argos_sim.paths import asset
from tasks.robot import Gripper, Robot, Workspace, articulation

USD_PATH = asset("robots", "franka", "usd", "franka.usda")
MJCF_PATH = asset("robots", "franka", "franka.xml")

ARM, FINGERS = tuple(f"joint{i}" for i in range(1, 8)), ("finger_left", "finger_right")
JOINT_NAMES = ARM + FINGERS


def joints(arm: float, fingers: float) -> dict[str, float]:
    """One number for the arm's joints, and one for the fingers."""
    return dict.fromkeys(ARM, arm) | dict.fromkeys(FINGERS, fingers)


JOINT_LIMITS: dict[str, tuple[float, float]] = {
    "joint1": (-2.8973, 2.8973),
    "joint2": (-1.7628, 1.7628),
    "joint3": (-2.8973, 2.8973),
    "joint4": (-3.0718, -0.0698),
    "joint5": (-2.8973, 2.8973),
    "joint6": (-0.0175, 3.7525),
    "joint7": (-2.8973, 2.8973),
    "finger_left": (0.0, 0.04),
    "finger_right": (0.0, 0.04),
}
"""Lower and upper end of each joint [rad; m of the fingers], the manufacturer's; a test holds them to the MJCF."""

MOTOR_TORQUES: dict[str, float] = (
    dict.fromkeys(ARM[:4], 87.0) | dict.fromkeys(ARM[4:], 12.0) | dict.fromkeys(FINGERS, 70.0)
)
"""Largest torque of each joint [N·m; N of the fingers], the manufacturer's."""

TORQUE_LIMITS: dict[str, float] = {
    "joint1": 20.0,
    "joint2": 70.0,
    "joint3": 20.0,
    "joint4": 40.0,
    "joint5": 5.0,
    "joint6": 8.0,
    "joint7": 4.0,
    "finger_left": 15.0,
    "finger_right": 15.0,
}
"""Largest commanded torque, that of an action of one [N·m; N]: about twice what the expert takes at most, or more. In
shares of the motors' own limits its torques would be a hundredth in some joints and half in others."""

VELOCITY_LIMITS: dict[str, float] = (
    dict.fromkeys(ARM[:4], 2.175) | dict.fromkeys(ARM[4:], 2.61) | dict.fromkeys(FINGERS, 0.05)
)
"""Fastest that each joint may move [rad/s; m/s], the manufacturer's."""

VISCOUS = joints(1.0, 20.0)
"""Loss to speed [N·m·s/rad; N·s/m]: friction alone, since torque is controlled. It, dry friction and rotors are of the
size that public models have; nothing was identified here."""
FRICTION = joints(0.3, 0.5)
"""Dry friction [N·m; N]; Gaz et al. (2019) identified between 0.15 and 0.64."""
ARMATURE = joints(0.1, 0.5)
"""Of the rotors, seen at the joint [kg·m²; kg]."""

TIP_BODY = "hand"
"""The last link of the arm, with the hand bolted to it."""

TIP_OFFSET = (0.0, 0.0, 0.2192)
"""Between the ends of the fingers' pads in the frame of ``TIP_BODY`` [m]; the MJCF's site `tip`."""

FINGER_END = (0.0, 0.0, 0.0538)
"""End of a finger's pad in the frame of its link [m]."""

READY_POSE: dict[str, float] = {
    "joint1": 0.0,
    "joint2": -0.9,
    "joint3": 0.0,
    "joint4": -2.5,
    "joint5": 0.0,
    "joint6": 1.6,
    "joint7": math.pi / 4,
    "finger_left": 0.02,
    "finger_right": 0.02,
}
"""Drawn back, hand pointing down and half open, the blocks ahead in the camera's view [rad; m]."""

FRANKA_CFG = articulation(
    USD_PATH,
    READY_POSE,
    MotorActuatorCfg(
        joint_names_expr=[".*"],
        stall_torque=MOTOR_TORQUES,
        back_emf=VISCOUS,
        armature=ARMATURE,
        friction=FRICTION,
        dynamic_friction=FRICTION,
        actuator_effort_limit=MOTOR_TORQUES,
        actuator_velocity_limit=VELOCITY_LIMITS,
    ),
)
"""The arm, fixed at its base, driven by seven commanded torques and two forces."""

CONSTRAINT = (
    (0.0, 1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0),
)
"""What an expert chooses beside the fingertip's place: the hand's pitch from straight down, its roll, how far each
finger is out; and that joint3 and joint5 keep the arm in its plane, which uses up the freedom of seven joints."""

STIFFNESS = joints(120.0, 400.0)
"""Of the expert's feedback, for a unit of inertia [1/s²]: a held block, 2.5 cm in the way of a finger and its rotor of
0.5 kg, is pressed with 5 N."""

DAMPING = joints(14.0, 0.0)
"""Likewise, beside the motors' own [1/s]."""

JOINT_UNITS = dict.fromkeys(FINGERS, 0.02)
"""A finger's stroke counts as two radians, about what the SO-100's jaw turns."""


def franka_arm(device: str) -> Arm:
    """The arm as experts see it."""

    def row(values: dict[str, float]) -> torch.Tensor:
        return torch.tensor([values[name] for name in JOINT_NAMES], device=device)

    return Arm(
        SerialChain.from_mjcf(MJCF_PATH, JOINT_NAMES, "tip", device),
        limits=torch.tensor([JOINT_LIMITS[name] for name in JOINT_NAMES], device=device),
        torque_limit=row(TORQUE_LIMITS),
        constraint=torch.tensor(CONSTRAINT, device=device),
        stiffness=row(STIFFNESS),
        damping=row(DAMPING),
        back_emf=row(VISCOUS),
        dry_friction=row(FRICTION),
        armature=row(ARMATURE),
        unit=row(joints(1.0, 1.0) | JOINT_UNITS),
        computed_torque=True,
    )


FRANKA = Robot(
    name="franka",
    articulation=FRANKA_CFG,
    joint_limits=JOINT_LIMITS,
    torque_limits=TORQUE_LIMITS,
    arm=franka_arm,
    tip_body=TIP_BODY,
    tip_offset=TIP_OFFSET,
    fingertips=dict.fromkeys(FINGERS, FINGER_END),
    gripper=Gripper(
        # Straight down, opening sideways; both fingers move, so that the tip is where the block's centre is.
        closed=(0.0, math.pi / 4, 0.0, 0.0, 0.0, 0.0),
        turned=(0.0, -1.0, 0.0, 0.0, 0.0, 0.0),
        opened=(0.0, 0.0, 1.0, 1.0, 0.0, 0.0),
        wide=0.04,
        released=0.035,
        beside=0.0,
        held=0.0,
        above=0.13,
        low=0.012,
    ),
    workspace=Workspace(
        centre=(0.0, 0.0),
        radius=(0.32, 0.50),
        grasp_radius=(0.32, 0.48),
        separation=0.12,
        distractor_radius=(0.28, 0.56),
        distractor_separation=0.10,
        angle=math.radians(40),
        ahead=0.72,
    ),
    block_size=0.05,
    block_mass=0.14,
    camera=CameraPose(position=(0.0, -1.02, 0.92), pitch=math.radians(44)),
    start_spread={"joint1": 0.5, "joint7": 0.5, "finger_left": 0.8, "finger_right": 0.8},
    joint_units=JOINT_UNITS,
    push_scale=12.0,
)
"""All that tasks must know of it. Pushes are in proportion to what the motors hold at arm's length."""
