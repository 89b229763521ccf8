"""Reach: touch the block that the instruction names, of three that differ in colour."""

# Isaac Lab's configurations are filled in later (MISSING), replaced by presets, and take classes as functions.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportArgumentType=false

from __future__ import annotations

import math

import isaaclab.envs.mdp as lab_mdp
import isaaclab.sim as sim_utils
import torch
from isaaclab.assets import RigidObjectCfg
from isaaclab.managers import EventTermCfg
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.envs.latent_tracking import CommandsCfg, EventsCfg, LatentTrackingEnvCfg, LatentTrackingSceneCfg
from argos_sim.experts import ExpertCfg, TorqueExpert
from argos_sim.kinematics import SerialChain
from argos_sim.mdp import events
from argos_sim.mdp.instructions import InstructionCommandCfg
from tasks.so100.robot import (
    JOINT_LIMITS,
    JOINT_NAMES,
    MJCF_PATH,
    SO100_CFG,
    TIP_BODY,
    TIP_OFFSET,
    TORQUE_LIMITS,
)

BLOCK_SIZE = 0.03
"""Edge of the blocks [m]."""
BLOCK_COLOURS = {"red": (0.80, 0.07, 0.07), "green": (0.07, 0.60, 0.12), "blue": (0.08, 0.16, 0.80)}
PHRASINGS = ("touch the {} block", "reach for the {} block", "move to the {} cube", "put your finger on the {} one")
SHOULDER = (0.0, -0.0452)
"""Where the pan axis stands in the base frame [m]; the blocks lie around it."""
APPROACH_HEIGHT = 0.003
"""The expert's goal for the fingertip above the block's top face [m]."""


def block(name: str) -> RigidObjectCfg:
    """A free coloured cube, labelled by its colour for the segmentation."""
    return RigidObjectCfg(
        prim_path=f"{{ENV_REGEX_NS}}/{name}",
        spawn=sim_utils.CuboidCfg(
            size=(BLOCK_SIZE, BLOCK_SIZE, BLOCK_SIZE),
            rigid_props=sim_utils.RigidBodyPropertiesCfg(),
            mass_props=sim_utils.MassPropertiesCfg(mass=0.03),
            collision_props=sim_utils.UsdPhysicsCollisionCfg(),
            physics_material=sim_utils.RigidBodyMaterialCfg(static_friction=0.8, dynamic_friction=0.8),
            visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=BLOCK_COLOURS[name]),
            semantic_tags=[("class", name)],
        ),
        init_state=RigidObjectCfg.InitialStateCfg(pos=(0.0, -0.25, BLOCK_SIZE / 2)),
    )


@configclass
class ReachSceneCfg(LatentTrackingSceneCfg):
    """The SO-100 and three blocks."""

    robot = SO100_CFG
    red = block("red")
    green = block("green")
    blue = block("blue")


@configclass
class ReachCommandsCfg(CommandsCfg):
    """Names one block."""

    instruction: InstructionCommandCfg = InstructionCommandCfg(
        phrasings={name: [p.format(name) for p in PHRASINGS] for name in BLOCK_COLOURS},
        tip_body=TIP_BODY,
        tip_offset=TIP_OFFSET,
        object_half_size=BLOCK_SIZE / 2,
    )


@configclass
class ReachEventsCfg(EventsCfg):
    """Blocks anywhere in a sector that arm and camera both cover; the arm anywhere near its ready pose.

    The arm starts far enough away, turned and opened enough, that each of an episode's three targets asks for a
    movement well above the tolerance by which it is judged.
    """

    place_robot = EventTermCfg(
        func=events.place_robot,
        mode="reset",
        params={"spread": 0.15, "joint_spread": {"shoulder_pan": 0.5, "wrist_roll": 0.5, "gripper": 0.4}},
    )
    place_objects = EventTermCfg(
        func=events.place_objects,
        mode="reset",
        params={
            "names": tuple(BLOCK_COLOURS),
            "centre": SHOULDER,
            "radius": (0.17, 0.28),
            "angle": (-math.radians(42), math.radians(42)),
            "height": BLOCK_SIZE / 2,
            "separation": 0.07,
        },
    )


@configclass
class ReachEnvCfg(LatentTrackingEnvCfg):
    """Touch the named block."""

    scene: ReachSceneCfg = ReachSceneCfg(num_envs=256, env_spacing=2.0)
    commands: ReachCommandsCfg = ReachCommandsCfg()
    events: ReachEventsCfg = ReachEventsCfg()
    joint_names: tuple[str, ...] = JOINT_NAMES
    joint_limits: dict[str, tuple[float, float]] = JOINT_LIMITS

    def __post_init__(self) -> None:
        self.actions.torque = lab_mdp.JointEffortActionCfg(
            asset_name="robot",
            joint_names=list(JOINT_NAMES),
            preserve_order=True,
            scale=dict(TORQUE_LIMITS),
            clip={name: (-limit, limit) for name, limit in TORQUE_LIMITS.items()},
        )
        self.sim.use_newton_actuators = False  # the motor model is Isaac Lab's explicit kind, on every engine
        super().__post_init__()


class ReachExpert:
    """The scripted expert of ``reach``: fingertip on top of the named block, gripper pointing down."""

    # The gripper's pitch (the three bends sum to it), its roll and its opening: it points down, jaw closed.
    CONSTRAINT = ((0.0, 1.0, 1.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    POINTING = (math.radians(75), -math.pi / 2, 0.0)

    def __init__(self, env, cfg: ExpertCfg, seed: int = 0) -> None:
        device = env.device
        self.env = env
        limits = torch.tensor([JOINT_LIMITS[name] for name in JOINT_NAMES], device=device)
        torque_limit = torch.tensor([TORQUE_LIMITS[name] for name in JOINT_NAMES], device=device)
        chain = SerialChain.from_mjcf(MJCF_PATH, JOINT_NAMES, "tip", device)
        constraint = torch.tensor(self.CONSTRAINT, device=device)
        self.motion = TorqueExpert(chain, limits, constraint, torque_limit, env.num_envs, cfg, seed)

    def begin(self, ids: Tensor) -> None:
        """Plan toward the block that each environment's instruction names."""
        instruction = self.env.instruction
        position, _ = instruction.object_poses()
        goal = position[ids, instruction.named[ids]] - self.env.scene.env_origins[ids]
        goal = goal + torch.tensor([0.0, 0.0, BLOCK_SIZE / 2 + APPROACH_HEIGHT], device=goal.device)
        joints = self.env.perception.true_proprio()[ids, : len(JOINT_NAMES)]
        pointing = torch.tensor(self.POINTING, device=goal.device).expand(len(ids), -1)
        self.motion.begin(ids, joints, goal, pointing)

    def torque(self) -> Tensor:
        """Torques (N, J) [N·m] from what the robot's own encoders say."""
        joints, velocity = self.env.perception.raw_proprio.chunk(2, -1)
        time = self.env.episode_length_buf * self.env.cfg.rates.control_dt
        return self.motion.torque(joints, velocity, time)
