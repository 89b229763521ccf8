"""Push with the SO-100."""

from __future__ import annotations

from isaaclab.utils import configclass

from tasks import push
from tasks.robot import Robot
from tasks.so100.robot import SO100


@configclass
class PushEnvCfg(push.PushEnvCfg):
    """Push the named block to the named side."""

    @property
    def robot(self) -> Robot:
        """See ``BlocksEnvCfg``."""
        return SO100

    def lay_out(self) -> None:
        """See ``BlocksEnvCfg``; the three find room in the narrower sector."""
        super().lay_out()
        self.events.place_objects.params.update(radius=(0.16, 0.28), separation=0.065)
