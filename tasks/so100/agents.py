"""The SO-100's settings for Isaac Lab's own trainer: names of its experiments."""

from __future__ import annotations

from isaaclab.utils import configclass

from tasks.agents import BlocksPPOCfg


@configclass
class ReachPPOCfg(BlocksPPOCfg):
    """Of ``reach``."""

    experiment_name = "argos_reach_so100"


@configclass
class PushPPOCfg(BlocksPPOCfg):
    """Of ``push``."""

    experiment_name = "argos_push_so100"


@configclass
class LiftPPOCfg(BlocksPPOCfg):
    """Of ``lift``."""

    experiment_name = "argos_lift_so100"


@configclass
class StackPPOCfg(BlocksPPOCfg):
    """Of ``stack``."""

    experiment_name = "argos_stack_so100"
