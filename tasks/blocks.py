"""What the tasks share, whatever the robot: three coloured blocks before an arm, and how an expert comes to them."""

# Isaac Lab's configurations are filled in later (MISSING), replaced by presets, and take classes as functions.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import copy
from dataclasses import MISSING

import isaaclab.sim as sim_utils
import torch
from isaaclab.assets import RigidObjectCfg
from isaaclab.managers import EventTermCfg
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.configs import ExpertCfg
from argos_sim.envs.latent_tracking import CommandsCfg, EventsCfg, LatentTrackingEnvCfg, LatentTrackingSceneCfg
from argos_sim.experts import TaskExpert
from argos_sim.mdp import events
from argos_sim.mdp.actions import TorqueActionCfg
from argos_sim.mdp.sectors import to_polar
from tasks.robot import Robot

BLOCK_COLOURS = {"red": (0.80, 0.07, 0.07), "green": (0.07, 0.60, 0.12), "blue": (0.08, 0.16, 0.80)}
BLOCKS = tuple(BLOCK_COLOURS)


def block(name: str, robot: Robot) -> RigidObjectCfg:
    """A free coloured cube of the robot's size, labelled by its colour for the segmentation."""
    size = robot.block_size
    return RigidObjectCfg(
        prim_path=f"{{ENV_REGEX_NS}}/{name}",
        spawn=sim_utils.CuboidCfg(
            size=(size, size, size),
            rigid_props=sim_utils.RigidBodyPropertiesCfg(),
            mass_props=sim_utils.MassPropertiesCfg(mass=robot.block_mass),
            collision_props=sim_utils.UsdPhysicsCollisionCfg(),
            physics_material=sim_utils.RigidBodyMaterialCfg(static_friction=0.8, dynamic_friction=0.8),
            visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=BLOCK_COLOURS[name]),
            semantic_tags=[("class", name)],
        ),
        init_state=RigidObjectCfg.InitialStateCfg(pos=(0.0, -0.25, size / 2)),
    )


@configclass
class BlocksSceneCfg(LatentTrackingSceneCfg):
    """A robot and three blocks."""

    red: RigidObjectCfg = MISSING
    green: RigidObjectCfg = MISSING
    blue: RigidObjectCfg = MISSING


@configclass
class BlocksEventsCfg(EventsCfg):
    """Blocks anywhere in a sector that arm and camera both cover; the arm anywhere near its ready pose.

    The arm starts far enough away, turned and opened enough, that in `reach` each of an episode's targets asks for
    a movement well above the tolerance by which it is judged.
    """

    place_robot = EventTermCfg(func=events.place_robot, mode="reset", params={"spread": 0.15})
    place_objects = EventTermCfg(func=events.place_objects, mode="reset")


@configclass
class BlocksEnvCfg(LatentTrackingEnvCfg):
    """Three blocks; a task says what is asked of them, a robot's variant of it who does it."""

    scene: BlocksSceneCfg = BlocksSceneCfg(num_envs=256, env_spacing=2.0)
    commands: CommandsCfg = CommandsCfg()
    events: BlocksEventsCfg = BlocksEventsCfg()

    @property
    def robot(self) -> Robot:
        """Who does it. No field, since settings of an environment are plain values."""
        raise NotImplementedError("a robot's variant of a task names the robot")

    def __post_init__(self) -> None:
        robot = self.robot
        self.robot_type, self.push_scale = robot.name, robot.push_scale
        self.joint_names, self.joint_limits = tuple(robot.joint_limits), dict(robot.joint_limits)
        self.joint_units, self.camera_pose = dict(robot.joint_units), copy.copy(robot.camera)
        self.scene.robot = copy.deepcopy(robot.articulation)
        self.scene.camera.spawn.focal_length = robot.camera.focal_length
        for name in BLOCKS:
            setattr(self.scene, name, block(name, robot))
        self.commands.instruction.tip_body = robot.tip_body
        self.commands.instruction.tip_offset = robot.tip_offset
        self.commands.instruction.object_half_size = robot.block_size / 2
        limits = robot.torque_limits
        self.actions.torque = TorqueActionCfg(
            asset_name="robot",
            joint_names=list(limits),
            preserve_order=True,
            scale=dict(limits),
            clip={name: (-limit, limit) for name, limit in limits.items()},
        )
        self.sim.use_newton_actuators = False  # the motor model is Isaac Lab's explicit kind, on every engine
        self.lay_out()
        super().__post_init__()

    def lay_out(self) -> None:
        """Say where at resets the arm, the blocks and other things are."""
        space = self.robot.workspace
        self.events.place_robot.params["joint_spread"] = dict(self.robot.start_spread)
        self.events.place_objects.params.update(
            names=BLOCKS,
            centre=space.centre,
            radius=space.radius,
            angle=(-space.angle, space.angle),
            height=self.robot.block_size / 2,
            separation=space.separation,
        )
        self.distractor_area = {
            "centre": space.centre,
            "radius": space.distractor_radius,
            "angle": (-space.distractor_angle, space.distractor_angle),
            "separation": space.distractor_separation,
            "ahead": space.ahead,
        }


class BlocksExpert(TaskExpert):
    """Knows where the blocks are, and how the robot's gripper comes to them."""

    def __init__(self, env, cfg: ExpertCfg, seed: int = 0) -> None:
        self.robot: Robot = env.cfg.robot
        self.gripper = self.robot.gripper
        super().__init__(env, self.robot.arm(env.device), cfg, seed)

    def block(self, ids: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Position (n, 3) [m] in the environment's frame and yaw (n,) [rad] of block ``index (n,)`` of ``ids``."""
        position, rotation = self.env.instruction.object_poses()
        x, y, z, w = rotation[ids, index].unbind(-1)
        yaw = torch.atan2(2 * (w * z + x * y), 1 - 2 * (y.square() + z.square()))
        return position[ids, index] - self.env.scene.env_origins[ids], yaw

    def scale(self, ids: Tensor, index: Tensor) -> Tensor:
        """Factor (n,) on the edge of block ``index (n,)`` of ``ids``."""
        return self.env.object_scale[ids, index]

    def bearing(self, position: Tensor) -> Tensor:
        """Bearings (n,) [rad] of positions (n, 3) around the arm's first joint."""
        return to_polar(position, self.robot.workspace.centre)[0]

    def beside(self, position: Tensor, turn: Tensor, distance: Tensor, height: Tensor | float) -> Tensor:
        """Fingertips (n, 3) [m], ``distance (n,)`` beside ``position``, where bearings are larger, the gripper turned
        by ``turn (n,)``."""
        angle = self.bearing(position) + turn
        offset = distance[:, None] * torch.stack([angle.cos(), angle.sin()], -1)
        return torch.cat([position[:, :2] + offset, (torch.zeros_like(distance) + height)[:, None]], -1)

    def posture(self, turn: Tensor, opening: float) -> Tensor:
        """Values (n, M) of the arm's constraint: the gripper turned by ``turn (n,)`` and opened."""
        closed, turned, opened = (
            torch.tensor(row, device=turn.device)
            for row in (self.gripper.closed, self.gripper.turned, self.gripper.opened)
        )
        return closed + turn[:, None] * turned + opening * opened
