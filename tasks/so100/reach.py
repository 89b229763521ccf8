"""Reach with the SO-100."""

from __future__ import annotations

from isaaclab.utils import configclass

from tasks import reach
from tasks.robot import Robot
from tasks.so100.robot import SO100


@configclass
class ReachEnvCfg(reach.ReachEnvCfg):
    """Touch the named block."""

    @property
    def robot(self) -> Robot:
        """See ``BlocksEnvCfg``."""
        return SO100
