"""Lift with the Franka."""

from __future__ import annotations

from isaaclab.utils import configclass

from tasks import lift
from tasks.franka.robot import FRANKA
from tasks.robot import Robot


@configclass
class LiftEnvCfg(lift.LiftEnvCfg):
    """Hold the named block above the table."""

    @property
    def robot(self) -> Robot:
        """See ``BlocksEnvCfg``."""
        return FRANKA
