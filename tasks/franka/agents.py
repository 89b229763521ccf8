"""The Franka's settings for Isaac Lab's own trainer: names of its experiments."""

from __future__ import annotations

from isaaclab.utils import configclass

from tasks.agents import BlocksPPOCfg


@configclass
class ReachPPOCfg(BlocksPPOCfg):
    """Of ``reach``."""

    experiment_name = "argos_reach_franka"


@configclass
class LiftPPOCfg(BlocksPPOCfg):
    """Of ``lift``."""

    experiment_name = "argos_lift_franka"
