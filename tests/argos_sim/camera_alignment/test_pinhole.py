"""Laws of the camera model: rays and pixels are each other's inverse, and it bends as training's lens does."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch

from argos_sim.camera_alignment.found import trained_camera
from argos_sim.camera_alignment.pinhole import Pinhole, matrix, turn_of, turned
from argos_sim.mujoco_c import scene
from argos_sim.mujoco_c.camera import RayCamera
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.lens import Lens


def camera(distortion: float) -> Pinhole:
    rotation = turned(np.array([2.0, 0.3, -0.4]))
    return Pinhole(np.array([0.1, -0.6, 0.5]), rotation, 90.0, 48, 64, distortion, (2.0, -1.0))


@pytest.mark.parametrize("distortion", [0.0, 0.1, -0.03])
def test_a_ray_leads_to_the_pixel_that_it_is_of(distortion: float) -> None:
    pinhole = camera(distortion)
    points = pinhole.position + 0.7 * pinhole.rays()
    np.testing.assert_allclose(pinhole.project(points), pinhole.pixels(), atol=0.02)


def test_rotation_vectors_and_quaternions_are_matrices(world: World) -> None:
    for vector in np.random.default_rng(0).normal(size=(20, 3)):
        np.testing.assert_allclose(turn_of(turned(vector)), vector, atol=1e-9)
    np.testing.assert_allclose(turned(np.zeros(3)), np.eye(3))
    np.testing.assert_allclose(matrix((0.0, 0.0, np.sin(0.2), np.cos(0.2))), turned(np.array([0, 0, 0.4])))
    forward = matrix(world.camera.quaternion)[:, 2]
    np.testing.assert_allclose(forward, [0, np.cos(world.camera.pitch), -np.sin(world.camera.pitch)], atol=1e-9)


def test_the_lens_is_that_of_the_randomization(world: World) -> None:
    """A picture drawn through a bent lens is the straight picture, warped as training warps it."""
    model = scene.build(world)
    data = mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]
    for name, angle in zip(world.joint_names, world.ready, strict=True):
        data.joint(name).qpos = angle
    mujoco.mj_forward(model, data)  # pyright: ignore[reportAttributeAccessIssue]
    size, k1, scale = 288, -0.06, 1.1
    straight, bent = (
        RayCamera(model, size, world.camera, world.aperture, {"base": 1}, *lens).render(data)[0].astype(float)
        for lens in ((), (scale, k1))
    )
    one = torch.ones(1)
    lens = Lens(scale * one, k1 * one, 0 * one, 0 * one, 0 * one, one)
    warped = lens.warp(torch.from_numpy(straight)[None].to(torch.uint8))[0].numpy().astype(float)
    assert np.abs(warped - bent).mean() < 0.3 * np.abs(straight - bent).mean()


def test_a_wide_pictures_central_square_is_the_square_picture(world: World) -> None:
    model = scene.build(world)
    data = mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]
    mujoco.mj_forward(model, data)  # pyright: ignore[reportAttributeAccessIssue]
    square, wide = (
        RayCamera(model, size, world.camera, world.aperture, {"base": 1}).render(data)[0] for size in (48, (48, 64))
    )
    np.testing.assert_array_equal(wide[:, :, 8:56], square)
    trained = trained_camera(world, 48, 64)
    turned_camera = replace(trained, distortion=0.0)
    rays = RayCamera(model, (48, 64), world.camera, world.aperture, {"base": 1}).render_from(data, turned_camera)[0]
    np.testing.assert_array_equal(rays, wide)
