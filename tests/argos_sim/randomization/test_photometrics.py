"""Laws of the photometric randomization."""

from __future__ import annotations

import torch

from argos_sim.randomization.photometrics import PhotometricState, blur, colour_matrix
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
    state.resample(torch.tensor([1, 4]), get_ranges("train"), torch.Generator().manual_seed(5))
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
