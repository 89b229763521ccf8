"""Lift with the SO-100."""

from __future__ import annotations

from isaaclab.utils import configclass

from tasks import lift
from tasks.robot import Robot
from tasks.so100.robot import SO100


@configclass
class LiftEnvCfg(lift.LiftEnvCfg):
    """Hold the named block above the table."""

    @property
    def robot(self) -> Robot:
        """See ``BlocksEnvCfg``."""
        return SO100
