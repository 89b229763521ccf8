"""Stack with the SO-100."""

from __future__ import annotations

from isaaclab.utils import configclass

from tasks import stack
from tasks.robot import Robot
from tasks.so100.robot import SO100


@configclass
class StackEnvCfg(stack.StackEnvCfg):
    """Put the named block on the other."""

    @property
    def robot(self) -> Robot:
        """See ``BlocksEnvCfg``."""
        return SO100

    def lay_out(self) -> None:
        """See ``BlocksEnvCfg``; the opening jaw finds room."""
        super().lay_out()
        self.events.place_objects.params.update(separation=0.08)
