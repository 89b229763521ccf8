"""Laws of the camera model: rays and pixels are each other's inverse, and it bends as OpenCV's does."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rotations import turned


def camera(distortion: float, distortion_2: float) -> Pinhole:
    rotation = turned(np.array([2.0, 0.3, -0.4]))
    return Pinhole(np.array([0.1, -0.6, 0.5]), rotation, 90.0, 48, 64, distortion, (2.0, -1.0), distortion_2)


@pytest.mark.parametrize("bent", [(0.0, 0.0), (0.1, 0.0), (-0.03, 0.0), (-0.02, 0.01), (-0.2, 0.042), (0.5, 0.0)])
def test_a_ray_leads_to_the_pixel_that_it_is_of(bent: tuple[float, float]) -> None:
    pinhole = camera(*bent)
    points = pinhole.position + 0.7 * pinhole.rays()
    np.testing.assert_allclose(pinhole.project(points), pinhole.pixels(), atol=0.02)


def test_it_bends_as_opencvs() -> None:
    pinhole = camera(0.0, 0.0).with_opencv_distortion(-0.2, 0.05)
    np.testing.assert_allclose(pinhole.opencv_distortion, (-0.2, 0.05))
    (x, y), turn = pinhole.middle, pinhole.rotation.T
    lens = np.array([[pinhole.focal, 0, x], [0, pinhole.focal, y], [0, 0, 1]])
    points = pinhole.position + 0.7 * replace(pinhole, distortion=0.0, distortion_2=0.0).rays()
    seen, _ = cv2.projectPoints(
        points, cv2.Rodrigues(turn)[0], -turn @ pinhole.position, lens, np.array([-0.2, 0.05, 0.0, 0.0])
    )
    np.testing.assert_allclose(pinhole.project(points), seen[:, 0], atol=1e-6)


@pytest.mark.parametrize(("distortion", "folds"), [((-0.04, 0.0), False), ((-0.06, 0.0), True), ((-0.06, 0.01), False)])
def test_a_lens_folds_where_radii_are_seen_twice(distortion: tuple[float, float], folds: bool) -> None:
    """Up to the corners of a picture of 4 : 3."""
    pinhole = replace(camera(*distortion), offset=(0.0, 0.0))
    along = np.linspace(0.0, 2.5, 5001)  # ideal radii, toward a corner
    points = np.stack([0.8 * along, 0.6 * along, np.full_like(along, pinhole.focal / pinhole.half)], -1)
    seen = np.linalg.norm(pinhole.project(pinhole.position + points @ pinhole.rotation.T) - pinhole.middle, axis=-1)
    outside = int(np.argmax(seen > 0.5 * np.hypot(pinhole.width, pinhole.height)))
    assert (outside == 0 or bool((np.diff(seen[: outside + 1]) <= 0).any())) == folds == pinhole.folds


def test_a_picture_is_folded_where_its_farthest_corner_is() -> None:
    """Of a principal point that is aside, which has one corner nearer and the opposite one farther away."""
    centred = replace(camera(-0.04, 0.0), offset=(0.0, 0.0))
    assert not centred.folds
    for offset in ((12.0, 0.0), (-12.0, 0.0), (0.0, 12.0), (0.0, -12.0)):
        assert replace(centred, offset=offset).folds, offset


def test_any_lens_that_does_not_fold_is_inverted() -> None:
    """Newton's steps alone go round in circles for one of ten, most with k₁ above and k₂ below zero."""
    rng, found = np.random.default_rng(0), 0
    corners = np.array([[x, y] for x in np.linspace(0, 63, 9) for y in np.linspace(0, 47, 7)])
    while found < 3000:
        bent, offset = rng.uniform((-0.5, -0.3), (0.8, 0.4)), rng.uniform(-8, 8, 2)
        pinhole = Pinhole(np.zeros(3), np.eye(3), rng.uniform(20, 120), 48, 64, bent[0], tuple(offset), bent[1])
        if not pinhole.folds:
            found += 1
            np.testing.assert_allclose(pinhole.project(pinhole.directions(corners)), corners, atol=1e-6)
