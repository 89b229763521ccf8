"""Stack: put the named block on another, and let it go."""

# Isaac Lab's configurations are filled in later (MISSING) and take classes as functions.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false

from __future__ import annotations

import torch
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.envs.latent_tracking import CommandsCfg
from argos_sim.mdp.outcomes import StackCommandCfg
from tasks.blocks import BLOCKS, BlocksEnvCfg
from tasks.lift import GraspExpert

TEMPLATES = (
    "put the {object} block on the {place} one",
    "stack the {object} block on the {place} block",
    "place the {object} cube on top of the {place} cube",
    "set the {object} one down on the {place} block",
)


@configclass
class StackCommandsCfg(CommandsCfg):
    """Names a block, and the one to put it on."""

    instruction: StackCommandCfg = StackCommandCfg(objects=BLOCKS, places=BLOCKS, templates=TEMPLATES)


@configclass
class StackEnvCfg(BlocksEnvCfg):
    """Put the named block on the other."""

    commands: StackCommandsCfg = StackCommandsCfg()
    plans_per_episode: int = 9
    newton_substeps: int = 4

    def lay_out(self) -> None:
        """See ``BlocksEnvCfg``."""
        super().lay_out()
        self.events.place_objects.params.update(radius=self.robot.workspace.grasp_radius)


class StackExpert(GraspExpert):
    """Grasps, carries the block over the other, lowers it, opens, and draws back."""

    ALIGNED = True  # else 88 % of 64 nominal episodes succeed on Newton, and 98 % so
    LEGS = (0.2, 0.1, 0.09, 0.11, 0.2, 0.12, 0.08, 0.1)
    GAP = 0.002
    """Between the blocks when the upper one is let go [m]."""

    def waypoints(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TaskExpert``."""
        gripper, place = self.gripper, self.env.instruction.place[ids]
        size = self.robot.block_size * self.scale(ids, place)  # of the block below
        tips, values = self.grasp(ids)
        below, yaw = self.block(ids, place)
        there = self.alignment(below, yaw)
        over = self.beside(below, there, self.held(ids), gripper.above + size / 2)
        down = self.beside(below, there, self.held(ids), gripper.low + size + self.GAP)
        held, carried, open_ = values[-1], self.posture(there, 0.0), self.posture(there, gripper.released)
        tips = [*tips, tips[0], over, down, down, over]
        values = [*values, held, carried, carried, open_, open_]
        return torch.stack(tips, 1), torch.stack(values, 1)
