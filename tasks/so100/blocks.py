"""What the SO-100's tasks share: three coloured blocks before the arm, and how an expert comes to them."""

# Isaac Lab's configurations are filled in later (MISSING), replaced by presets, and take classes as functions.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportArgumentType=false

from __future__ import annotations

import math

import isaaclab.sim as sim_utils
import torch
from isaaclab.assets import RigidObjectCfg
from isaaclab.managers import EventTermCfg
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.envs.latent_tracking import CommandsCfg, EventsCfg, LatentTrackingEnvCfg, LatentTrackingSceneCfg
from argos_sim.experts import ExpertCfg, TaskExpert
from argos_sim.mdp import events
from argos_sim.mdp.actions import TorqueActionCfg
from argos_sim.mdp.sectors import to_polar
from tasks.so100.robot import (
    JOINT_LIMITS,
    JOINT_NAMES,
    SO100_CFG,
    TIP_BODY,
    TIP_OFFSET,
    TORQUE_LIMITS,
    so100_arm,
)

BLOCK_SIZE = 0.03
"""Edge of the blocks [m]."""
BLOCK_COLOURS = {"red": (0.80, 0.07, 0.07), "green": (0.07, 0.60, 0.12), "blue": (0.08, 0.16, 0.80)}
BLOCKS = tuple(BLOCK_COLOURS)
SHOULDER = (0.0, -0.0452)
"""Where the pan axis stands in the base frame [m]; the blocks lie around it."""
TIP = {"tip_body": TIP_BODY, "tip_offset": TIP_OFFSET, "object_half_size": BLOCK_SIZE / 2}
"""What instructions must know of fingertip and blocks."""


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
class BlocksSceneCfg(LatentTrackingSceneCfg):
    """The SO-100 and three blocks."""

    robot = SO100_CFG
    red = block("red")
    green = block("green")
    blue = block("blue")


@configclass
class BlocksEventsCfg(EventsCfg):
    """Blocks anywhere in a sector that arm and camera both cover; the arm anywhere near its ready pose.

    The arm starts far enough away, turned and opened enough, that in `reach` each of an episode's targets asks for
    a movement well above the tolerance by which it is judged.
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
            "names": BLOCKS,
            "centre": SHOULDER,
            "radius": (0.17, 0.28),
            "angle": (-math.radians(42), math.radians(42)),
            "height": BLOCK_SIZE / 2,
            "separation": 0.07,
        },
    )


@configclass
class BlocksEnvCfg(LatentTrackingEnvCfg):
    """Three blocks; a task says what is asked of them."""

    scene: BlocksSceneCfg = BlocksSceneCfg(num_envs=256, env_spacing=2.0)
    commands: CommandsCfg = CommandsCfg()
    events: BlocksEventsCfg = BlocksEventsCfg()
    distractor_area: dict = {
        "centre": SHOULDER,
        "radius": (0.15, 0.34),
        "angle": (-math.radians(50), math.radians(50)),
        "separation": 0.06,
    }
    joint_names: tuple[str, ...] = JOINT_NAMES
    joint_limits: dict[str, tuple[float, float]] = JOINT_LIMITS

    def __post_init__(self) -> None:
        self.actions.torque = TorqueActionCfg(
            asset_name="robot",
            joint_names=list(JOINT_NAMES),
            preserve_order=True,
            scale=dict(TORQUE_LIMITS),
            clip={name: (-limit, limit) for name, limit in TORQUE_LIMITS.items()},
        )
        self.sim.use_newton_actuators = False  # the motor model is Isaac Lab's explicit kind, on every engine
        super().__post_init__()


class BlocksExpert(TaskExpert):
    """Knows where the blocks are, and how the SO-100's gripper comes to them: pointing down, tilted toward the base."""

    PITCH = math.radians(75)
    ROLL = -math.pi / 2
    """The gripper opens sideways, around the arm; its fixed jaw is then on the side of larger bearings."""

    def __init__(self, env, cfg: ExpertCfg, seed: int = 0) -> None:
        super().__init__(env, so100_arm(env.device), cfg, seed)

    def block(self, ids: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Position (n, 3) [m] in the environment's frame and yaw (n,) [rad] of block ``index (n,)`` of ``ids``."""
        position, rotation = self.env.instruction.object_poses()
        x, y, z, w = rotation[ids, index].unbind(-1)
        yaw = torch.atan2(2 * (w * z + x * y), 1 - 2 * (y.square() + z.square()))
        return position[ids, index] - self.env.scene.env_origins[ids], yaw

    def beside(self, position: Tensor, turn: Tensor, distance: float, height: float) -> Tensor:
        """Fingertips (n, 3) [m] on the fixed jaw's side of ``position``, the gripper rolled by ``turn (n,)``."""
        angle = to_polar(position, SHOULDER)[0] + turn
        offset = distance * torch.stack([angle.cos(), angle.sin()], -1)
        return torch.cat([position[:, :2] + offset, torch.full_like(position[:, :1], height)], -1)

    def posture(self, turn: Tensor, opening: float) -> Tensor:
        """Values (n, 3) [rad] of ``robot.CONSTRAINT``: the gripper rolled by ``turn (n,)`` and opened."""
        same = torch.ones_like(turn)
        return torch.stack([self.PITCH * same, self.ROLL + turn, opening * same], -1)

    def alignment(self, position: Tensor, yaw: Tensor) -> Tensor:
        """Roll (n,) [rad] from ``ROLL`` that lays the jaws along a block's nearest faces, at most an eighth turn."""
        turn = yaw - to_polar(position, SHOULDER)[0]
        return torch.remainder(turn + math.pi / 4, math.pi / 2) - math.pi / 4
