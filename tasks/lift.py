"""Lift: take the named block and hold it above the table."""

# Isaac Lab's configurations are filled in later (MISSING) and take classes as functions.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false

from __future__ import annotations

import math

import torch
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.envs.latent_tracking import CommandsCfg
from argos_sim.mdp.outcomes import LiftCommandCfg
from tasks.blocks import BLOCKS, BlocksEnvCfg, BlocksExpert

TEMPLATES = (
    "lift the {object} block",
    "pick up the {object} block",
    "raise the {object} cube",
    "take the {object} one off the table",
)


@configclass
class LiftCommandsCfg(CommandsCfg):
    """Names one block."""

    instruction: LiftCommandCfg = LiftCommandCfg(objects=BLOCKS, templates=TEMPLATES)


@configclass
class LiftEnvCfg(BlocksEnvCfg):
    """Hold the named block above the table."""

    commands: LiftCommandsCfg = LiftCommandsCfg()
    plans_per_episode: int = 6

    def lay_out(self) -> None:
        """See ``BlocksEnvCfg``."""
        super().lay_out()
        self.events.place_objects.params.update(radius=self.robot.workspace.grasp_radius)


class GraspExpert(BlocksExpert):
    """Takes a block between the jaws."""

    ALIGNED = False
    """Whether the jaws are laid along the block's faces. A picture of 64 pixels hardly shows how a block lies turned,
    so that the planner does not foresee such a turn of the wrist; and a block turns by itself between the jaws."""

    def grasp(self, ids: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Tips and values of the three legs after which the named block is held."""
        gripper = self.gripper
        position, yaw = self.block(ids, self.env.instruction.named[ids])
        turn = self.alignment(position, yaw)
        beside = gripper.beside - gripper.held + self.held(ids)
        low = self.beside(position, turn, beside, gripper.low)
        tips = [self.beside(position, turn, beside, gripper.above), low, low]
        # The block is in the way of closing, and so is held.
        return tips, [self.posture(turn, opening) for opening in (gripper.wide, gripper.wide, 0.0)]

    def held(self, ids: Tensor) -> Tensor:
        """Distance (n,) along the opening from the named block's centre to the fingertip, once it is taken [m]."""
        return self.gripper.held * self.scale(ids, self.env.instruction.named[ids])

    def alignment(self, position: Tensor, yaw: Tensor) -> Tensor:
        """Turn (n,) [rad] of the gripper, at most the eighth of a turn that lays the jaws along a block's faces; zero
        unless ``ALIGNED``."""
        if not self.ALIGNED:
            return torch.zeros_like(yaw)
        turn = yaw - self.bearing(position)
        return torch.remainder(turn + math.pi / 4, math.pi / 2) - math.pi / 4


class LiftExpert(GraspExpert):
    """Grasps, then raises the hand."""

    LEGS = (0.35, 0.2, 0.15, 0.3)

    def waypoints(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TaskExpert``."""
        tips, values = self.grasp(ids)
        return torch.stack([*tips, tips[0]], 1), torch.stack([*values, values[-1]], 1)
