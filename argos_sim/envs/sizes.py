"""Objects of several sizes: shapes are fixed when a scene is made, so that each environment has its own for good.

Engines copy one environment's shapes to all others, but for assets that are told apart by environment (Isaac Lab's
``MultiAssetSpawnerCfg``). A range of sizes therefore gives a few, evenly spread, dealt to the environments in turn, and
to each object in another order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING
from typing import Any

import isaaclab.sim as sim_utils
import numpy as np
import torch
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.randomization.ranges import Range

SIZES = 5
LENGTHS = ("size", "radius", "height")
"""What a shape's settings call its lengths."""


@configclass
class SizesCfg(sim_utils.MultiAssetSpawnerCfg):
    """One shape in several sizes."""

    nominal: Any = MISSING
    """The shape as it is modelled."""


def nominal(spawn: Any) -> Any:
    """The shape as it is modelled, of one size or of several."""
    return spawn.nominal if isinstance(spawn, SizesCfg) else spawn


def give_sizes(scene: InteractiveSceneCfg, names: Sequence[str], limits: Range) -> None:
    """Let the objects ``names`` of a scene that is not made yet have sizes within ``limits``, factors on lengths."""
    for name in names:
        thing = getattr(scene, name)
        thing.spawn = nominal(thing.spawn)
        if limits != (1.0, 1.0):
            shapes = [_scaled(thing.spawn, factor) for factor in _spread(limits)]
            thing.spawn = SizesCfg(assets_cfg=shapes, random_choice=False, nominal=thing.spawn)
            scene.clone_cfg.clone_strategy = in_turn


def in_turn(weights: np.ndarray, num_clones: int) -> np.ndarray:
    """Isaac Lab's strategy for cloning that deals sizes as ``scales`` says: which of all combinations, with the first
    object's size slowest, each environment has."""
    objects = round(math.log(len(weights), SIZES))
    chosen = np.zeros(num_clones, dtype=np.int64)
    for i in range(objects):
        chosen = SIZES * chosen + _sizes(i, np.arange(num_clones))
    return chosen


def scales(scene: InteractiveSceneCfg, names: Sequence[str], limits: Range) -> Tensor:
    """The factor on the lengths of every environment's objects ``names`` (N, O)."""
    turns, factors = np.arange(scene.num_envs), np.array(_spread(limits), dtype=np.float32)
    order = [name for name in vars(scene) if name in names]  # in which Isaac Lab combines them
    return torch.from_numpy(np.stack([factors[_sizes(order.index(name), turns)] for name in names], 1))


def _spread(limits: Range) -> list[float]:
    low, high = limits
    return [low + (high - low) * i / (SIZES - 1) for i in range(SIZES)]


def _sizes(index: int, turns: np.ndarray) -> np.ndarray:
    """Which size object ``index`` has in environments ``turns``: in the first the middle one."""
    step = index % (SIZES - 1) + 1  # prime to SIZES, so that all are dealt
    return (SIZES // 2 + step * turns) % SIZES


def _scaled(spawn: Any, factor: float) -> Any:
    """The same shape and material, ``factor`` as long, wide and high."""
    copy = spawn.copy()
    for name in LENGTHS:
        value = getattr(copy, name, None)
        if value is not None:
            setattr(copy, name, tuple(factor * x for x in value) if isinstance(value, tuple) else factor * value)
    copy.mass_props = copy.mass_props.replace(mass=copy.mass_props.mass * factor**3)
    return copy
