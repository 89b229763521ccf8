"""The ray-cast camera sees what MuJoCo's single rays hit, and what training's renderer draws."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from PIL import Image

import tasks  # noqa: F401
from argos_sim.mujoco_c import scene
from argos_sim.mujoco_c.arms import Arms
from argos_sim.mujoco_c.camera import SHOWN, RayCamera, cast, posed, unseen_light
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.backgrounds import CANONICAL_COLOUR
from argos_sim.randomization.lens import Lens
from argos_sim.randomization.ranges import get_ranges

GOLDEN = Path(__file__).parents[1] / "envs" / "golden_scene.png"


@pytest.fixture(scope="module")
def arms() -> Arms:
    arms = Arms(World.of(environment_cfg(Settings(), 1)), 1)
    arms.reset(get_ranges("nominal"), np.random.default_rng(3))
    return arms


@pytest.fixture(scope="module")
def camera(arms: Arms) -> RayCamera:
    world = arms.world
    classes = {"base": 1} | {name: 2 + i for i, name in enumerate(world.objects)}
    return RayCamera(arms.nominal, 64, world.camera, world.aperture, classes)


def test_every_ray_hits_what_a_single_ray_hits(arms: Arms, camera: RayCamera) -> None:
    rays = np.random.default_rng(0).normal(size=(2000, 3)) * (0.3, 0.1, 0.1) + (0.0, 0.67, -0.74)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    eye, geom = np.array(arms.world.camera.position), np.zeros(1, dtype=np.int32)
    found, distance, _ = cast(camera.model, arms.data[0], eye, rays)
    for ray, which, far in zip(rays, found, distance, strict=True):
        single = mujoco.mj_ray(arms.nominal, arms.data[0], eye, ray, SHOWN, 1, -1, geom)
        assert (which, far) == (geom[0], pytest.approx(single))
    assert len(set(found.tolist())) > 10, "the rays see many parts"


def test_the_nominal_scene_looks_as_in_training(arms: Arms, camera: RayCamera) -> None:
    data = mujoco.MjData(arms.nominal)
    for name, angle in zip(arms.world.joint_names, arms.world.ready, strict=True):
        data.joint(name).qpos = angle
    for name, x in (("red", -0.1), ("green", 0.0), ("blue", 0.1)):
        data.joint(name).qpos = (x, -0.25, 0.015, 1, 0, 0, 0)
    mujoco.mj_forward(arms.nominal, data)
    picture, classes = camera.render(data)
    shown = np.where(classes > 0, picture, np.array(CANONICAL_COLOUR)[:, None, None]).transpose(1, 2, 0)
    golden = np.asarray(Image.open(GOLDEN)).astype(int)
    assert (np.abs(shown - golden).max(-1) > 8).mean() < 0.01


def test_another_lamp_changes_colours_and_no_shape(arms: Arms, camera: RayCamera) -> None:
    plain, classes = camera.render(arms.data[0])
    for seed in range(3):
        lit, same = camera.render(arms.data[0], unseen_light(np.random.default_rng(seed)))
        assert np.array_equal(classes, same)
        assert np.abs(lit.astype(int) - plain)[:, classes > 0].mean() > 5


def test_a_camera_moved_to_the_right_sees_all_further_left(arms: Arms, camera: RayCamera) -> None:
    _, before = camera.render(arms.data[0])
    _, after = camera.render(arms.data[0], shift=np.array([0.05, 0.0, 0.0]))
    for cube in (2, 3, 4):
        assert np.nonzero(after == cube)[1].mean() < np.nonzero(before == cube)[1].mean() - 1


def test_the_camera_looks_as_its_pose_says(arms: Arms) -> None:
    pose = arms.world.camera
    forward = posed(pose, arms.world.aperture, 48, 64).rotation[:, 2]
    np.testing.assert_allclose(forward, [0, np.cos(pose.pitch), -np.sin(pose.pitch)], atol=1e-9)


def test_the_lens_is_that_of_the_randomization(arms: Arms) -> None:
    """A picture drawn through a bent lens is the straight picture, warped as training warps it."""
    model, world = scene.build(arms.world), arms.world
    data = mujoco.MjData(model)
    for name, angle in zip(world.joint_names, world.ready, strict=True):
        data.joint(name).qpos = angle
    mujoco.mj_forward(model, data)
    size, k1, scale = 288, -0.06, 1.1
    straight, bent = (
        RayCamera(model, size, world.camera, world.aperture, {"base": 1}, focal, bend).render(data)[0].astype(float)
        for focal, bend in ((1.0, 0.0), (scale, k1))
    )
    one = torch.ones(1)
    lens = Lens(scale * one, k1 * one, 0 * one, 0 * one, 0 * one, one)
    warped = lens.warp(torch.from_numpy(straight)[None].to(torch.uint8))[0].numpy().astype(float)
    assert np.abs(warped - bent).mean() < 0.3 * np.abs(straight - bent).mean()


def test_a_wide_pictures_central_square_is_the_square_picture(arms: Arms) -> None:
    model, world = scene.build(arms.world), arms.world
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    square, wide = (
        RayCamera(model, size, world.camera, world.aperture, {"base": 1}).render(data)[0] for size in (48, (48, 64))
    )
    np.testing.assert_array_equal(wide[:, :, 8:56], square)
    trained = posed(world.camera, world.aperture, 48, 64)
    rays = RayCamera(model, (48, 64), world.camera, world.aperture, {"base": 1}).render_from(data, trained)[0]
    np.testing.assert_array_equal(rays, wide)
