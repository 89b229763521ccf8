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
from tasks.so100.blocks import BLOCKS, SHOULDER, TIP, BlocksEnvCfg, BlocksExpert

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
        centre=SHOULDER,
        sectors=((-ZONE[1], -ZONE[0]), ZONE),
        **TIP,
    )


@configclass
class PushEnvCfg(BlocksEnvCfg):
    """Push the named block to the named side."""

    commands: PushCommandsCfg = PushCommandsCfg()
    plans_per_episode: int = 6

    def __post_init__(self) -> None:
        self.events.place_objects.params.update(angle=(-START, START), radius=(0.16, 0.28), separation=0.065)
        super().__post_init__()


class PushExpert(BlocksExpert):
    """The jaws around the block, so that it cannot slip away, then a turn of the shoulder."""

    LEGS = (0.32, 0.17, 0.08, 0.43)
    OPEN, LOOSE = 0.8, 0.35
    """Of the jaw [rad], on the way down and around the block: a little wider than its diagonal."""
    BESIDE = 0.025
    """From the block's centre to the fixed jaw [m]."""
    AIM = math.radians(38)
    """Bearing to which a block is brought."""

    def waypoints(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``TaskExpert``."""
        instruction = self.env.instruction
        position, _ = self.block(ids, instruction.named[ids])
        none = torch.zeros(len(ids), device=position.device)
        side = 2.0 * instruction.place[ids] - 1.0
        there = from_polar(self.AIM * side, to_polar(position, SHOULDER)[1], SHOULDER)
        low = self.beside(position, none, self.BESIDE, 0.012)
        tips = [self.beside(position, none, self.BESIDE, 0.08), low, low, self.beside(there, none, self.BESIDE, 0.012)]
        values = [self.posture(none, angle) for angle in (self.OPEN, self.OPEN, self.LOOSE, self.LOOSE)]
        return torch.stack(tips, 1), torch.stack(values, 1)
