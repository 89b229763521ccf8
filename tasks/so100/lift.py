"""Lift: take the named block and hold it above the table."""

# Isaac Lab's configurations are filled in later (MISSING) and take classes as functions.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false

from __future__ import annotations

import torch
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.envs.latent_tracking import CommandsCfg
from argos_sim.mdp.outcomes import LiftCommandCfg
from tasks.so100.blocks import BLOCK_SIZE, BLOCKS, TIP, BlocksEnvCfg, BlocksExpert

TEMPLATES = (
    "lift the {object} block",
    "pick up the {object} block",
    "raise the {object} cube",
    "take the {object} one off the table",
)


@configclass
class LiftCommandsCfg(CommandsCfg):
    """Names one block."""

    instruction: LiftCommandCfg = LiftCommandCfg(objects=BLOCKS, templates=TEMPLATES, **TIP)


@configclass
class LiftEnvCfg(BlocksEnvCfg):
    """Hold the named block above the table."""

    commands: LiftCommandsCfg = LiftCommandsCfg()
    plans_per_episode: int = 6

    def __post_init__(self) -> None:
        self.events.place_objects.params.update(radius=(0.17, 0.25))
        super().__post_init__()


class GraspExpert(BlocksExpert):
    """Takes a block between the jaws, laid along its faces."""

    OPEN, CLOSED = 0.9, 0.0
    """Of the jaw [rad]; the block is in the way of closing it, and so is held."""
    ABOVE, LOW = 0.08, 0.012
    """Heights of the fingertip over the table, on the way and at the block [m]."""
    BESIDE = BLOCK_SIZE / 2 + 0.006
    """From the block's centre to the fixed jaw before it closes [m]."""
    HELD = BLOCK_SIZE / 2
    """The same once the block is held."""

    def grasp(self, ids: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Tips and values of the three legs after which the named block is held."""
        position, yaw = self.block(ids, self.env.instruction.named[ids])
        turn = self.alignment(position, yaw)
        low = self.beside(position, turn, self.BESIDE, self.LOW)
        tips = [self.beside(position, turn, self.BESIDE, self.ABOVE), low, low]
        return tips, [self.posture(turn, angle) for angle in (self.OPEN, self.OPEN, self.CLOSED)]


class LiftExpert(GraspExpert):
    """Grasps, then raises the hand."""

    LEGS = (0.35, 0.2, 0.15, 0.3)

    def waypoints(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TaskExpert``."""
        tips, values = self.grasp(ids)
        return torch.stack([*tips, tips[0]], 1), torch.stack([*values, values[-1]], 1)
