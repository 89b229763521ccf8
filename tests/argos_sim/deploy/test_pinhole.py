"""Laws of the camera model: rays and pixels are each other's inverse."""

from __future__ import annotations

import numpy as np
import pytest

from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rotations import turned


def camera(distortion: float) -> Pinhole:
    rotation = turned(np.array([2.0, 0.3, -0.4]))
    return Pinhole(np.array([0.1, -0.6, 0.5]), rotation, 90.0, 48, 64, distortion, (2.0, -1.0))


@pytest.mark.parametrize("distortion", [0.0, 0.1, -0.03])
def test_a_ray_leads_to_the_pixel_that_it_is_of(distortion: float) -> None:
    pinhole = camera(distortion)
    points = pinhole.position + 0.7 * pinhole.rays()
    np.testing.assert_allclose(pinhole.project(points), pinhole.pixels(), atol=0.02)
