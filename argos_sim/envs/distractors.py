"""Objects on the table that no instruction names, of shapes and sizes unlike the others'.

They stand in for what lies on a real table. A scene has them only where it is asked to, by
``LatentTrackingEnvCfg.distractors``; how many of them lie among the other objects is drawn at each reset, and the rest
wait on the table's near edge, under the camera and out of its sight. In the canonical picture, which encoders learn to
draw, they are part of the background.
"""

# Isaac Lab's configurations are filled in later and take classes as functions.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

import math
from collections.abc import Sequence

import isaaclab.sim as sim_utils
import torch
from isaaclab.assets import RigidObjectCfg
from torch import Tensor

from argos_sim.mdp.events import write_object
from argos_sim.mdp.sectors import from_polar
from argos_sim.perception import DISTRACTOR
from argos_sim.randomization.dynamics import ids_of, uniform

TRIES = 128
"""Places drawn at once for each, of which the first that is free is taken."""


def _physical(colour: tuple[float, float, float], mass: float) -> dict:
    return {
        "rigid_props": sim_utils.RigidBodyPropertiesCfg(),
        "mass_props": sim_utils.MassPropertiesCfg(mass=mass),
        "collision_props": sim_utils.UsdPhysicsCollisionCfg(),
        "physics_material": sim_utils.RigidBodyMaterialCfg(static_friction=0.8, dynamic_friction=0.8),
        "visual_material": sim_utils.PreviewSurfaceCfg(diffuse_color=colour),
        "semantic_tags": [("class", DISTRACTOR)],
    }


SHAPES = {
    "can": (sim_utils.CylinderCfg(radius=0.014, height=0.05, **_physical((0.75, 0.7, 0.1), 0.04)), 0.025),
    "slab": (sim_utils.CuboidCfg(size=(0.055, 0.022, 0.012), **_physical((0.5, 0.1, 0.6), 0.02)), 0.006),
    "tower": (sim_utils.CuboidCfg(size=(0.02, 0.02, 0.045), **_physical((0.1, 0.6, 0.65), 0.03)), 0.0225),
}
"""Name → what is spawned, and the height of its centre on the table [m]."""


def distractor_cfgs(ahead: float) -> dict[str, RigidObjectCfg]:
    """Every distractor by its name in the scene; unused ones wait ``ahead`` of the robot [m]."""
    return {
        name: RigidObjectCfg(
            prim_path=f"{{ENV_REGEX_NS}}/{name}",
            spawn=spawn,
            init_state=RigidObjectCfg.InitialStateCfg(pos=_waiting(i, ahead, height)),
        )
        for i, (name, (spawn, height)) in enumerate(SHAPES.items())
    }


def _waiting(index: int, ahead: float, height: float) -> tuple[float, float, float]:
    return (0.1 * (index - 1), -ahead, height)


def set_aside(env, ids: Tensor) -> None:
    """Take the distractors of environments ``ids`` off the table, where others decide what lies on it."""
    upright = torch.tensor([0.0, 0.0, 0.0, 1.0], device=env.device).expand(len(ids), 4)
    ahead = env.cfg.distractor_area["ahead"]
    for i, (name, (_, height)) in enumerate(SHAPES.items()):
        place = torch.tensor(_waiting(i, ahead, height), device=env.device).expand(len(ids), 3)
        write_object(env, name, ids, place, upright)


def place_distractors(
    env,
    env_ids: Tensor | None,
    among: Sequence[str],
    centre: tuple[float, float],
    radius: tuple[float, float],
    angle: tuple[float, float],
    separation: float,
    ahead: float,
) -> None:
    """Lay a drawn number of distractors in a ring sector, apart from the objects ``among`` them; belongs after those.

    Args:
        centre, radius, angle, separation: as for ``events.place_objects``.
        ahead: distance ahead of the robot at which unused ones wait [m].
    """
    ids = ids_of(env, env_ids)
    n, device = len(ids), env.device
    used = env.draws.integers("distractors", ids, env.generator)
    order = torch.rand(n, len(SHAPES), generator=env.generator, device=device).argsort(1)
    rank = order.argsort(1)  # which distractors an episode with fewer of them has
    origins = env.scene.env_origins[ids]
    taken = [env.scene[name].data.root_pos_w.torch[ids, :2] - origins[:, :2] for name in among]
    for i, (name, (_, height)) in enumerate(SHAPES.items()):
        squared = uniform(env, (radius[0] ** 2, radius[1] ** 2), n, TRIES)
        places = from_polar(uniform(env, angle, n, TRIES), squared.sqrt(), centre)
        gap = torch.cdist(places, torch.stack(taken, 1)).amin(-1)
        # Equal scores give the first: any place that is free, or else the one that is nearly so.
        first = torch.where(gap > separation, 1.0, 1e-3 * gap).argmax(1)
        place = places[torch.arange(n, device=device), first]
        waiting = torch.tensor(_waiting(i, ahead, height), device=device).expand(n, 3)
        laid = torch.cat([place, waiting[:, 2:]], -1)
        position = torch.where((rank[:, i] < used)[:, None], laid, waiting)
        half = 0.5 * uniform(env, (-math.pi, math.pi), n)
        zero = torch.zeros_like(half)
        write_object(env, name, ids, position, torch.stack([zero, zero, half.sin(), half.cos()], -1))
        taken.append(position[:, :2])
