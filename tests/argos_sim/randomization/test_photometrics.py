"""Laws of the photometric randomization."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from argos_sim.randomization.draws import Draws
from argos_sim.randomization.photometrics import PhotometricState, blur, colour_matrix, compress
from argos_sim.randomization.ranges import get_ranges


def pictures(count: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def sample(count: int, preset: str = "train") -> PhotometricState:
    return PhotometricState.sample(count, get_ranges(preset), torch.Generator().manual_seed(1))


def test_nominal_is_the_identity() -> None:
    images = pictures()
    assert torch.equal(PhotometricState.nominal(6).apply(images, torch.Generator().manual_seed(0)), images)
    assert torch.equal(sample(6, "nominal").apply(images), images)


def test_a_full_turn_of_hue_is_the_identity_and_a_third_is_not() -> None:
    ones, zeros = torch.ones(2), torch.zeros(2)
    matrix, _ = colour_matrix(torch.tensor([1.0, 1 / 3]), ones, ones, zeros)
    assert torch.allclose(matrix[0], torch.eye(3), atol=1e-5)
    assert not torch.allclose(matrix[1], torch.eye(3), atol=0.3)


def test_hue_and_saturation_keep_grey() -> None:
    matrix, offset = colour_matrix(torch.rand(5), torch.rand(5), torch.ones(5), torch.zeros(5))
    grey = torch.full((5, 3, 1), 0.4)
    assert torch.allclose(matrix @ grey + offset, grey, atol=1e-5)


def test_parameters_stay_fixed_within_an_episode_and_only_noise_is_new() -> None:
    state, images = sample(6), pictures()
    assert torch.equal(state.apply(images), state.apply(images))
    generator = torch.Generator().manual_seed(2)
    assert not torch.equal(state.apply(images, generator), state.apply(images, generator))


def test_resampling_some_leaves_the_others() -> None:
    state = sample(6)
    before = state[torch.arange(6)]
    state.resample(torch.tensor([1, 4]), Draws(get_ranges("train"), 6), torch.Generator().manual_seed(5))
    changed = state.hue != before.hue
    assert changed.tolist() == [False, True, False, False, True, False]


def test_a_subset_is_changed_as_within_the_whole() -> None:
    state, images, ids = sample(6), pictures(), torch.tensor([5, 2])
    assert torch.equal(state[ids].apply(images[ids]), state.apply(images)[ids])


def test_uint8_and_float_agree() -> None:
    state, images = sample(6), pictures()
    as_float = state.apply(images.float() / 255.0)
    assert (as_float * 255.0 - state.apply(images).float()).abs().max() <= 0.501


def test_blur_keeps_a_constant_and_the_mean_and_spreads_a_point() -> None:
    sigma = torch.tensor([0.0, 0.7])
    constant = torch.full((2, 3, 32, 32), 0.3)
    assert torch.allclose(blur(constant, sigma), constant, atol=1e-6)
    point = torch.zeros(2, 3, 32, 32)
    point[:, :, 16, 16] = 1.0
    result = blur(point, sigma)
    assert torch.allclose(result.sum((2, 3)), torch.ones(2, 3), atol=1e-5)
    assert result[0, 0, 16, 16] == 1.0 and result[1, 0, 16, 16] < 0.6


def test_a_motion_blurs_along_its_direction_and_keeps_the_light() -> None:
    image = torch.zeros(2, 3, 33, 33)
    image[:, :, 16, 16] = 1.0
    angle = torch.tensor([0.0, math.pi / 2])
    seen = blur(image, torch.zeros(2), torch.full((2,), 1.0), angle)[:, 0]
    assert seen.sum((1, 2)).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    along, across = seen[0].sum(0), seen[0].sum(1)
    place = torch.arange(33) - 16.0
    assert (along * place.square()).sum().sqrt() > 2 * (across * place.square()).sum().sqrt()
    assert torch.allclose(seen[1], seen[0].T, atol=1e-6)


def test_a_still_camera_blurs_alike_with_and_without_others_that_shake() -> None:
    images, sigma = torch.rand(2, 3, 32, 32), torch.tensor([0.8, 0.8])
    seen = blur(images, sigma, torch.tensor([0.0, 1.0]), torch.zeros(2))
    assert torch.allclose(seen[0], blur(images, sigma)[0], atol=1e-5)
    assert not torch.allclose(seen[1], blur(images, sigma)[1], atol=1e-2)


def test_compression_costs_what_jpeg_of_quality_50_costs() -> None:
    smooth = F.interpolate(torch.rand(4, 1, 6, 6), (64, 64), mode="bicubic").clamp(0, 1).expand(-1, 3, -1, -1)
    ours = compress(smooth, torch.ones(4))
    for image, seen in zip(smooth, ours, strict=True):
        buffer = io.BytesIO()
        pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG", quality=50, subsampling=0)
        jpeg = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1) / 255.0
        error, wanted = (seen - image).square().mean().sqrt(), (jpeg - image).square().mean().sqrt()
        assert float(error) == pytest.approx(float(wanted), rel=0.15)
    assert torch.equal(compress(smooth, torch.zeros(4)), smooth)


def test_exposure_clips_like_a_sensor_and_white_balance_leaves_green() -> None:
    state, images = PhotometricState.nominal(2), torch.full((2, 3, 8, 8), 0.6)
    state.exposure[0], state.white_balance[1] = 2.0, 0.1
    seen = state.apply(images)
    assert seen[0].unique().tolist() == [1.0]
    assert seen[1, :, 0, 0].tolist() == pytest.approx([0.66, 0.6, 0.54], abs=1e-5)


def test_what_is_burnt_out_stays_so_whatever_comes_after() -> None:
    state, images = PhotometricState.nominal(1), torch.tensor([0.6, 0.9]).view(1, 1, 1, 2).expand(1, 3, 8, 2)
    state.exposure[:], state.contrast[:] = 2.0, 0.5
    assert len(state.apply(images).unique()) == 1


@pytest.mark.parametrize(("sigma", "motion"), [(0.0, 1.2), (1.0, 1.2), (0.0, 2.0)])
def test_a_shake_is_as_wide_as_it_was_asked_to_be(sigma: float, motion: float) -> None:
    image = torch.zeros(1, 3, 33, 64)
    image[:, :, 16, 32] = 1.0
    seen = blur(image, torch.tensor([sigma]), torch.tensor([motion]), torch.zeros(1))[0, 0].sum(0)
    place = torch.arange(64) - 32.0
    assert float((seen * place.square()).sum().sqrt()) == pytest.approx(math.hypot(sigma, motion), rel=0.08)


def test_pictures_of_any_size_can_be_compressed() -> None:
    images = torch.rand(2, 3, 30, 21)
    assert compress(images, torch.ones(2)).shape == images.shape
    assert torch.equal(compress(images, torch.ones(2))[:, :, :8, :8], compress(images[:, :, :8, :8], torch.ones(2)))
