"""Push: bring the named block to the left or to the right, without taking it off the table.

Left and right are the camera's, as in the pictures that the planner sees.
"""

# Isaac Lab's configurations are filled in later (MISSING) and take classes as functions.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false

from __future__ import annotations

import math

import torch
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.envs.latent_tracking import CommandsCfg
from argos_sim.mdp.outcomes import MoveCommandCfg
from argos_sim.mdp.sectors import from_polar, to_polar
from tasks.blocks import BLOCKS, BlocksEnvCfg
from tasks.lift import GraspExpert

TEMPLATES = (
    "push the {object} block to the {place}",
    "push the {object} block to the {place} zone",
    "move the {object} cube to the {place} side",
    "slide the {object} one over to the {place}",
)
START = math.radians(20)
"""Largest bearing at which blocks lie at first."""
ZONE = (math.radians(28), math.radians(60))
"""Bearings of the right zone; the left is its mirror image."""


@configclass
class PushCommandsCfg(CommandsCfg):
    """Names a block and a side."""

    instruction: MoveCommandCfg = MoveCommandCfg(
        objects=BLOCKS,
        places=("left", "right"),
        templates=TEMPLATES,
        sectors=((-ZONE[1], -ZONE[0]), ZONE),
    )


@configclass
class PushEnvCfg(BlocksEnvCfg):
    """Push the named block to the named side."""

    commands: PushCommandsCfg = PushCommandsCfg()
    plans_per_episode: int = 6

    def lay_out(self) -> None:
        """See ``BlocksEnvCfg``."""
        super().lay_out()
        self.commands.instruction.centre = self.robot.workspace.centre
        self.events.place_objects.params.update(angle=(-START, START))


class PushExpert(GraspExpert):
    """The jaws around the block, so that it cannot slip away; then a turn of the shoulder."""

    LEGS = (0.32, 0.15, 0.12, 0.41)
    AIM = math.radians(38)
    """Bearing to which a block is brought."""

    def waypoints(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TaskExpert``."""
        instruction = self.env.instruction
        position, yaw = self.block(ids, instruction.named[ids])
        side = 2.0 * instruction.place[ids] - 1.0
        centre = self.robot.workspace.centre
        there = from_polar(self.AIM * side, to_polar(position, centre)[1], centre)
        tips, values = self.grasp(ids)
        turned = self.beside(there, self.alignment(position, yaw), self.held(ids), self.gripper.low)
        return torch.stack([*tips, turned], 1), torch.stack([*values, values[-1]], 1)
