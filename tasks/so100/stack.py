"""Stack: put the named block on another, and let it go."""

# Isaac Lab's configurations are filled in later (MISSING) and take classes as functions.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false

from __future__ import annotations

import torch
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.envs.latent_tracking import CommandsCfg
from argos_sim.mdp.outcomes import StackCommandCfg
from tasks.so100.blocks import BLOCK_SIZE, BLOCKS, TIP, BlocksEnvCfg
from tasks.so100.lift import GraspExpert

TEMPLATES = (
    "put the {object} block on the {place} one",
    "stack the {object} block on the {place} block",
    "place the {object} cube on top of the {place} cube",
    "set the {object} one down on the {place} block",
)


@configclass
class StackCommandsCfg(CommandsCfg):
    """Names a block, and the one to put it on."""

    instruction: StackCommandCfg = StackCommandCfg(objects=BLOCKS, places=BLOCKS, templates=TEMPLATES, **TIP)


@configclass
class StackEnvCfg(BlocksEnvCfg):
    """Put the named block on the other."""

    commands: StackCommandsCfg = StackCommandsCfg()
    plans_per_episode: int = 9
    newton_substeps: int = 4

    def __post_init__(self) -> None:
        self.events.place_objects.params.update(radius=(0.17, 0.25), separation=0.08)
        super().__post_init__()


class StackExpert(GraspExpert):
    """Grasps, carries the block over the other, lowers it, opens, and draws back."""

    LEGS = (0.2, 0.1, 0.09, 0.11, 0.2, 0.12, 0.08, 0.1)
    RELEASED = 0.45
    """Opening of the jaw [rad] that lets a block go without pushing its neighbours."""
    GAP = 0.002
    """Between the blocks when the upper one is let go [m]."""

    def waypoints(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TaskExpert``."""
        tips, values = self.grasp(ids)
        below, yaw = self.block(ids, self.env.instruction.place[ids])
        there = self.alignment(below, yaw)
        over = self.beside(below, there, self.HELD, self.ABOVE + BLOCK_SIZE / 2)
        down = self.beside(below, there, self.HELD, self.LOW + BLOCK_SIZE + self.GAP)
        held, carried, open_ = values[-1], self.posture(there, self.CLOSED), self.posture(there, self.RELEASED)
        tips = [*tips, tips[0], over, down, down, over]
        values = [*values, held, carried, carried, open_, open_]
        return torch.stack(tips, 1), torch.stack(values, 1)
