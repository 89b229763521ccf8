"""Reach: touch the block that the instruction names, of three that differ in colour."""

# Isaac Lab's configurations are filled in later (MISSING) and take classes as functions.
# pyright: reportAssignmentType=false

from __future__ import annotations

import torch
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.envs.latent_tracking import CommandsCfg
from argos_sim.mdp.outcomes import TouchCommandCfg
from tasks.blocks import BLOCKS, BlocksEnvCfg, BlocksExpert

TEMPLATES = (
    "touch the {object} block",
    "reach for the {object} block",
    "move to the {object} cube",
    "put your finger on the {object} one",
)
APPROACH_HEIGHT = 0.003
"""The expert's goal for the fingertip above the block's top face [m]."""


@configclass
class ReachCommandsCfg(CommandsCfg):
    """Names one block."""

    instruction: TouchCommandCfg = TouchCommandCfg(objects=BLOCKS, templates=TEMPLATES)


@configclass
class ReachEnvCfg(BlocksEnvCfg):
    """Touch the named block."""

    commands: ReachCommandsCfg = ReachCommandsCfg()


class ReachExpert(BlocksExpert):
    """Fingertip on top of the named block, gripper pointing down and closed."""

    def waypoints(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TaskExpert``."""
        named = self.env.instruction.named[ids]
        tip = self.block(ids, named)[0].clone()
        tip[:, 2] += self.env.instruction.half_size[ids, named] + APPROACH_HEIGHT
        return tip[:, None], self.posture(torch.zeros(len(ids), device=tip.device), 0.0)[:, None]
