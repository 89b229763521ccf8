"""Pictures of an arm that moves by itself: the simulated one, or a real one once somebody says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from argos_sim.camera_alignment.driving import driven
from argos_sim.camera_alignment.found import trained_camera
from argos_sim.camera_alignment.postures import chosen_postures
from argos_sim.camera_alignment.recording import Recording
from argos_sim.camera_alignment.route import route
from argos_sim.camera_alignment.silhouette import ArmModel
from argos_sim.deploy.keys import stop_on_key
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.robots import Robot
from argos_sim.deploy.simulated import SimulatedRobot, SimulatedRobotSettings
from argos_sim.motion.clock import Clock, MonotonicClock
from argos_sim.motion.driving import Driver
from argos_sim.motion.model import RobotModel
from argos_sim.motion.ways import Ways
from argos_sim.mujoco_c.world import World

SIMULATED = SimulatedRobotSettings(
    image_size=(240, 320),
    camera_shift=(0.02, -0.03, 0.015),
    camera_turn=(0.03, 0.02, -0.03),
    camera_focal_scale=1.03,
)
"""An arm whose camera stands a little off."""
ASK = (
    "The arm will move by itself through {} postures above the table, and back to where it lies. Clear its "
    "surroundings, and have the power switch at hand. Enter begins, q and Enter ends: "
)


def simulated_session(
    policy: Path,
    manifest: PolicyManifest,
    world: World,
    settings: SimulatedRobotSettings,
    count: int,
    stopped: list[str],
) -> Recording:
    """Pictures of ``count`` postures of the simulated arm; ``stopped`` is filled by whoever ends it."""
    trained, ready, clock = trained_camera(world, *settings.picture_shape[:2]), np.array(world.ready), MonotonicClock()
    postures = chosen_postures(ArmModel(world), trained, count, settings.seed)
    model = RobotModel(world.mjcf, world.joint_names)
    # Before it begins to fall: it is limp until it is driven.
    legs = route(Ways(model, manifest), ready, ready, postures)
    robot = SimulatedRobot(policy, manifest, settings)
    try:
        return driven(robot, Driver(robot, manifest, model.gravity, stopped, clock), legs, print, clock)
    finally:
        robot.close()


def moved_session(
    robot: Robot,
    manifest: PolicyManifest,
    world: World,
    count: int,
    seed: int,
    ask: Callable[[str], str],
    stopped: list[str],
    clock: Clock | None = None,
) -> Recording:
    """Pictures of a robot that is moved through ``count`` postures from where it rests, and back.

    Raises:
        DeployError: somebody does not want it, or stops it, no guard knows the table, or no way from where it rests is
            clear.
    """
    if manifest.body is None:
        raise DeployError("The policy does not know its arm's body, so no guard keeps it off the table: use --limp.")
    postures = chosen_postures(ArmModel(world), trained_camera(world, 480, 640), count, seed)
    if ask(ASK.format(count)).strip().lower() == "q":
        raise DeployError("Nothing was moved.")
    model, clock = RobotModel(world.mjcf, world.joint_names), clock or MonotonicClock()
    driver, ways = Driver(robot, manifest, model.gravity, stopped, clock), Ways(model, manifest)
    legs = driver.planned(lambda begin: route(ways, begin, np.array(world.ready), postures))
    with stop_on_key(stopped.append) as keys:
        print("Any key stops the arm." if keys else "Ctrl-C stops the arm.", flush=True)
        return driven(robot, driver, legs, print, clock)
