"""What counts as done, task by task: instructions that judge the present state of the scene."""

# Isaac Lab fills MISSING fields later and types the environment of a term more loosely than it is.
# pyright: reportIncompatibleVariableOverride=false, reportAssignmentType=false

from __future__ import annotations

from dataclasses import MISSING
from typing import TYPE_CHECKING

import torch
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.mdp.instructions import InstructionCommand, InstructionCommandCfg
from argos_sim.mdp.sectors import to_polar

if TYPE_CHECKING:
    from argos_sim.envs.latent_tracking_env import LatentTrackingEnv


class TouchCommand(InstructionCommand):
    """Touch an object, before any other."""

    @property
    def success(self) -> Tensor:
        """See ``InstructionCommand``."""
        return self.first_touched == self.named


class MoveCommand(InstructionCommand):
    """Bring an object into a sector around the arm, on the table."""

    cfg: MoveCommandCfg

    def __init__(self, cfg: MoveCommandCfg, env: LatentTrackingEnv) -> None:
        super().__init__(cfg, env)
        self._sectors = torch.tensor(cfg.sectors, device=self.device)

    @property
    def success(self) -> Tensor:
        """See ``InstructionCommand``."""
        low, high = self._sectors[self.place].unbind(-1)
        position, half = self.named_position(), self.half_size[self._every, self.named]
        bearing, _ = to_polar(position, self.cfg.centre)
        return (low <= bearing) & (bearing <= high) & ((position[:, 2] - half).abs() <= half)


class LiftCommand(InstructionCommand):
    """Hold an object above the table."""

    cfg: LiftCommandCfg

    @property
    def success(self) -> Tensor:
        """See ``InstructionCommand``."""
        return self.named_position()[:, 2] - self.half_size[self._every, self.named] >= self.cfg.height


class StackCommand(InstructionCommand):
    """Put an object on another, its place, and let it go."""

    cfg: StackCommandCfg

    @property
    def success(self) -> Tensor:
        """See ``InstructionCommand``."""
        position = self.object_positions() - self._env.scene.env_origins[:, None]
        offset = position[self._every, self.named] - position[self._every, self.place]
        below = self.half_size[self._every, self.place]
        rise, expected = offset[:, 2], self.half_size[self._every, self.named] + below
        near = offset[:, :2].norm(dim=1) <= below
        away = self.tip_distance()[self._every, self.named] >= self.cfg.clearance
        return near & ((rise - expected).abs() <= 0.2 * expected) & away


@configclass
class TouchCommandCfg(InstructionCommandCfg):
    """See ``TouchCommand``."""

    class_type: type = TouchCommand


@configclass
class MoveCommandCfg(InstructionCommandCfg):
    """See ``MoveCommand``."""

    class_type: type = MoveCommand
    centre: tuple[float, float] = MISSING
    """Of the sectors in the environment's frame [m]."""
    sectors: tuple[tuple[float, float], ...] = MISSING
    """Lowest and highest bearing of each place [rad]."""


@configclass
class LiftCommandCfg(InstructionCommandCfg):
    """See ``LiftCommand``."""

    class_type: type = LiftCommand
    height: float = 0.04
    """Of the object's lower face above the table [m]."""


@configclass
class StackCommandCfg(InstructionCommandCfg):
    """See ``StackCommand``."""

    class_type: type = StackCommand
    clearance: float = 0.02
    """Least distance from the fingertip to the object once it is let go [m]."""
