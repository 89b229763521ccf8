"""A simulated arm's other cameras are those that their settings describe, and a camera file takes them away."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

import tasks  # noqa: F401
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rectification import Rectification
from argos_sim.deploy.rotations import turned
from argos_sim.deploy.simulated import SimulatedRobotSettings
from argos_sim.deploy.simulated_bus import SimulatedBus
from argos_sim.deploy.simulated_cameras import CAMERAS
from argos_sim.mujoco_c import live
from argos_sim.mujoco_c.camera import posed
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import get_ranges

SIZE = 64


@pytest.fixture(scope="module")
def world() -> World:
    return World.of(environment_cfg(Settings(), 1))


def arm_seen_by(world: World, settings: SimulatedRobotSettings, monkeypatch: pytest.MonkeyPatch) -> live.LiveArm:
    monkeypatch.setattr(live, "BACKGROUNDS", len(get_ranges("train").background_families))
    bus = SimulatedBus(multiprocessing.get_context("spawn"), len(world.joint_names), settings.picture_shape)
    return live.LiveArm(world, settings, bus.command, bus.read_out, bus.frame)


def described(world: World, settings: SimulatedRobotSettings) -> Pinhole:
    """The camera of these settings, in place."""
    of = posed(world.camera, world.aperture, *settings.picture_shape[:2])
    right, down = settings.camera_offset
    return replace(
        of,
        rotation=turned(np.array(settings.camera_turn)) @ of.rotation,
        focal=settings.camera_focal_scale * of.focal,
        distortion=settings.camera_distortion,
        distortion_2=settings.camera_distortion_2,
        offset=(of.half * right, of.half * down),
    )


BENT = {"camera_distortion": -0.1}, {"camera_distortion": 0.0, "camera_distortion_2": 0.3}


@pytest.mark.parametrize(("name", "lens"), [("off", {}), ("webcam", {}), ("webcam", BENT[0]), ("webcam", BENT[1])])
def test_pictures_of_a_camera_in_its_place_become_those_of_trainings(
    world: World, name: str, lens: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SimulatedRobotSettings(**CAMERAS[name]), camera_shift=(0.0, 0.0, 0.0), **lens)
    arm = arm_seen_by(world, settings, monkeypatch)
    data, of = arm.arms.data[0], posed(world.camera, world.aperture, *settings.picture_shape[:2])
    picture = arm.camera.render(data, live.TRAINED, *arm._camera_moved)[0].transpose(1, 2, 0)
    wanted, _ = arm.camera.render_from(data, of)
    side = of.height
    square = wanted.transpose(1, 2, 0)[:, (of.width - side) // 2 :][:, :side].astype(float)
    rectify = Rectification(described(world, settings), of, SIZE)
    got = rectify(picture).astype(float)
    every = side // len(got)
    square = square.reshape(len(got), every, len(got), every, 3).mean((1, 3))
    as_it_is = picture[:, (of.width - side) // 2 :][:, :side].astype(float)
    as_it_is = as_it_is.reshape(len(got), every, len(got), every, 3).mean((1, 3))
    off = np.abs(got - square)[4:-4, 4:-4].mean()
    assert off < 2.0 and off < 0.15 * np.abs(as_it_is - square).mean()
