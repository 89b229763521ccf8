"""What tasks must know of a robot. One file for each robot says it, as ``tasks/so100/robot.py`` does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import isaaclab.sim as sim_utils
from isaaclab.assets import ArticulationCfg
from isaaclab_newton.sim.schemas import NewtonArticulationCfg
from isaaclab_physx.sim.schemas import PhysxArticulationCfg

from argos_sim.actuators import MotorActuatorCfg
from argos_sim.envs.camera import CameraPose
from argos_sim.experts import Arm


@dataclass(frozen=True)
class Workspace:
    """Where blocks lie on the table: in a ring sector around the arm's first joint, its bearings about −y."""

    centre: tuple[float, float]
    """Of the ring in the base frame: where the first joint's axis stands [m]."""
    radius: tuple[float, float]
    """Inner and outer, as far as the fingertip comes [m]."""
    grasp_radius: tuple[float, float]
    """Where the gripper can take a block and raise it [m]."""
    separation: float
    """Least distance between the centres of two blocks: the open gripper finds room [m]."""
    distractor_radius: tuple[float, float]
    """Where things lie that no instruction names [m]."""
    distractor_separation: float
    """Their distance from blocks and each other [m]."""
    angle: float = math.radians(42)
    """Largest bearing of a block [rad]."""
    distractor_angle: float = math.radians(50)
    """Largest bearing of the other things [rad]."""
    ahead: float = 0.7
    """How far ahead of the robot unused things wait, under the camera and out of its sight and the arm's reach [m]."""


@dataclass(frozen=True)
class Gripper:
    """How an expert holds the gripper, as values (M,) of ``Arm.constraint``, and takes a block with it.

    Values are ``closed + turn · turned + opening · opened``.
    """

    closed: tuple[float, ...]
    """Closed, ready to take what stands along the arm [rad]."""
    turned: tuple[float, ...]
    """Their change with a turn of the gripper about the vertical, seen from above against the clock [1]."""
    opened: tuple[float, ...]
    """Their change with its opening [1]."""
    wide: float
    """Opening that goes around a block [rad or m]."""
    released: float
    """Opening that lets a block go without pushing its neighbours [rad or m]."""
    beside: float
    """Distance along the opening from the block's centre to the fingertip, before it is taken [m]."""
    held: float
    """The same once it is taken [m]."""
    above: float
    """Height of the fingertip over the table on the way [m]."""
    low: float
    """The same when a block is taken [m]."""


def articulation(usd: Path, ready: dict[str, float], motors: MotorActuatorCfg) -> ArticulationCfg:
    """An arm fixed at its base and driven by its motors alone, labelled for the segmentation.

    Args:
        ready: the pose in which episodes begin, by joint, in the order of state and action [rad; m where one slides].
    """
    return ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=sim_utils.UsdFileCfg(
            usd_path=str(usd),
            semantic_tags=[("class", "robot")],
            articulation_props={
                "/.*": [
                    NewtonArticulationCfg(self_collision_enabled=False),
                    PhysxArticulationCfg(enabled_self_collisions=False),
                ]
            },
        ),
        init_state=ArticulationCfg.InitialStateCfg(joint_pos=ready),
        joint_ordering=list(ready),
        actuators={"motors": motors},
    )


@dataclass(frozen=True)
class Robot:
    """A robot, as tasks see it: it stands at the origin of its environment and reaches toward −y."""

    name: str
    """As recordings state it."""
    articulation: ArticulationCfg
    """Its motors are one group of actuators called ``motors``, of ``argos_sim.actuators``' kind."""
    joint_limits: dict[str, tuple[float, float]]
    """Lower and upper end of each joint [rad; m where one slides], in the order of state and action."""
    torque_limits: dict[str, float]
    """Torque of an action of one, for each joint in that order [N·m; N where one slides]."""
    arm: Callable[[str], Arm]
    """The arm as experts see it, on a device."""
    tip_body: str
    """Link that carries the fingertip."""
    tip_offset: tuple[float, float, float]
    """Fingertip in that link's frame [m]."""
    gripper: Gripper
    workspace: Workspace
    block_size: float
    """Edge of the blocks [m]: what the gripper takes, and 5 of 64 pixels or more in the picture."""
    block_mass: float
    """kg."""
    camera: CameraPose
    start_spread: dict[str, float] = field(default_factory=dict)
    """Half-width of the joints' offset from the ready pose at the start of an episode, where it is not 0.15 rad; so
    that already the first target asks for a movement [rad, or what counts as one]."""
    joint_units: dict[str, float] = field(default_factory=dict)
    """See ``LatentTrackingEnvCfg``."""
    fingertips: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """Ends of the other fingers, each in the frame of its link [m], which a real arm's guard watches like the tip."""
    push_scale: float = 1.0
    """See ``LatentTrackingEnvCfg``."""
    motor_signs: dict[str, int] = field(default_factory=dict)
    """−1 for joints whose motors, as they are mounted, count down while the angle grows; others count as the joint."""
    motor_middles: dict[str, float] = field(default_factory=dict)
    """Angle in the middle of the range that calibrating the real arm records, where that is not the limits' middle
    [rad; m where one slides]."""

    def __post_init__(self) -> None:
        names, ready = tuple(self.joint_limits), tuple(self.articulation.init_state.joint_pos)
        for what, given in (("the ready pose", ready), ("torque_limits", tuple(self.torque_limits))):
            if given != names:
                raise ValueError(
                    f"The robot {self.name} has limits for the joints {', '.join(names)}, and {what} for "
                    f"{', '.join(given)}; both need the same, in the order of state and action."
                )
        for what, given in (("motor_signs", self.motor_signs), ("motor_middles", self.motor_middles)):
            unknown = sorted(set(given) - set(names))
            if unknown:
                raise ValueError(f"The robot {self.name} has no joint {unknown[0]!r}, which its {what} name.")
        rows = {len(values) for values in (self.gripper.closed, self.gripper.turned, self.gripper.opened)}
        if len(rows) > 1:
            raise ValueError(
                f"The gripper of the robot {self.name} has closed, turned and opened of {sorted(rows)} values; each "
                "needs as many as Arm.constraint has rows."
            )
