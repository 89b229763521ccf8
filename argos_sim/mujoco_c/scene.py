"""The scene as a MuJoCo model: the robot's own MJCF, a table, free cubes; and how one differs from another."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from argos_sim.mujoco_c.world import World
from argos_sim.randomization.ranges import RandomizationRanges

TABLE, TABLE_FRICTION = "table", 0.5
"""Isaac Lab's tables have this Coulomb coefficient, too."""
HIDDEN = 4
"""Group of geoms that are not to be seen; the table is behind everything, where backgrounds are put."""


def build(world: World) -> Any:
    """The nominal model."""
    spec = mujoco.MjSpec.from_file(str(world.mjcf))
    spec.option.timestep = world.rates.physics_dt / world.substeps
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    spec.option.impratio = 5.0  # as on Newton; with 1, held blocks slip out of the jaws
    surface = (TABLE_FRICTION, 0.005, 1e-4)
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(name=TABLE, type=plane, size=(0.6, 0.6, 0.1), group=HIDDEN, friction=surface)
    touching = [TABLE]
    for i, geom in enumerate(spec.geoms):
        if geom.name != TABLE and (geom.contype or geom.conaffinity):
            geom.name = geom.name or f"robot{i}"
            touching.append(geom.name)
    edge = 2 * world.half_size
    for name, colour in world.objects.items():
        body = spec.worldbody.add_body(name=name, pos=(0.0, -0.25, world.half_size))
        body.mass, body.inertia = world.object_mass, [world.object_mass * edge**2 / 6] * 3
        body.ipos, body.explicitinertial = (0.0, 0.0, 0.0), True  # left alone, MuJoCo 3.12 takes the body's own place
        body.add_freejoint(name=name)
        cube, rgba = [world.half_size] * 3, (*colour, 1)
        body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=cube, rgba=rgba, friction=(0.8, 0.005, 1e-4))
        # By itself MuJoCo takes the greater coefficient of two, so that nothing would be slipperier than the cube.
        for other in touching:
            spec.add_pair(geomname1=other, geomname2=name)
        touching.append(name)
    return spec.compile()


def robot_bodies(model: Any, world: World) -> np.ndarray:
    """Ids of the robot's bodies, its foot first."""
    others = {mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name) for name in world.objects}
    return np.array([body for body in range(1, model.nbody) if body not in others])


RANGES = (
    "mass_scale",
    "com_offset",
    "joint_friction",
    "joint_armature",
    "contact_friction",
    "object_mass_scale",
    "object_friction",
)
"""What ``vary`` draws."""


def vary(model: Any, nominal: Any, world: World, ranges: RandomizationRanges, rng: np.random.Generator) -> None:
    """Draw bodies, joints and surfaces of ``model`` anew, about ``nominal``'s."""
    robot, dofs = robot_bodies(model, world), [model.joint(name).dofadr[0] for name in world.joint_names]
    objects = [model.body(name).id for name in world.objects]
    scale = np.ones(model.nbody)
    scale[robot] = rng.uniform(*ranges.mass_scale, len(robot))
    scale[objects] = rng.uniform(*ranges.object_mass_scale, len(objects))
    model.body_mass[:] = nominal.body_mass * scale
    model.body_inertia[:] = nominal.body_inertia * scale[:, None]
    model.body_ipos[robot] = nominal.body_ipos[robot] + rng.uniform(*ranges.com_offset, 3)
    model.dof_frictionloss[dofs] = rng.uniform(*ranges.joint_friction, len(dofs))
    model.dof_armature[dofs] = rng.uniform(*ranges.joint_armature, len(dofs))
    for bodies, limits in ((robot, ranges.contact_friction), (objects, ranges.object_friction)):
        for body in bodies:
            model.geom_friction[model.geom_bodyid == body, 0] = rng.uniform(*limits)
    # The mean of the two, as PhysX has it.
    both = model.geom_friction[model.pair_geom1, 0] + model.geom_friction[model.pair_geom2, 0]
    model.pair_friction[:, :2] = both[:, None] / 2
    mujoco.mj_setConst(model, mujoco.MjData(model))
