"""Reach with the Franka."""

from __future__ import annotations

from isaaclab.utils import configclass

from tasks import reach
from tasks.franka.robot import FRANKA
from tasks.robot import Robot


@configclass
class ReachEnvCfg(reach.ReachEnvCfg):
    """Touch the named block."""

    @property
    def robot(self) -> Robot:
        """See ``BlocksEnvCfg``."""
        return FRANKA
