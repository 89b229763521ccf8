"""Laws of the measurements that decide whether an encoder is fit to plan in."""

from __future__ import annotations

import torch
from torch import Tensor

from argos_wm.data.views import EncoderViews
from argos_wm.encoders.measure import GroundingConfig, invariance, linear_probe, probe_grounding, randomized

TRAJECTORIES, FRAMES = 12, 4


def scenes() -> EncoderViews:
    """Flat scenes of 8×8 pixels: the robot's column is as bright as its first joint, each block is one pixel pair."""
    generator = torch.Generator().manual_seed(0)
    count = TRAJECTORIES * FRAMES
    joints = torch.rand(count, 6, generator=generator)
    blocks = torch.rand(TRAJECTORIES, 1, 3, 3, generator=generator).expand(-1, FRAMES, -1, -1).flatten(0, 1)
    image = torch.zeros(count, 3, 8, 8, dtype=torch.uint8)
    image[:, :, :, 0] = (joints[:, :1, None] * 255).to(torch.uint8)
    mask = torch.zeros(count, 8, 8, dtype=torch.uint8)
    mask[:, :, 0] = 1
    classes = torch.arange(8).div(2, rounding_mode="floor").add(1).repeat(count, 8, 1).to(torch.uint8)
    index = torch.arange(count).view(TRAJECTORIES, FRAMES)
    pairs = torch.stack([index[:, :-1], index[:, 1:]], -1).flatten(0, 1)
    trajectory = index // FRAMES
    return EncoderViews(image, image, mask, mask, image, classes, joints, blocks, pairs, trajectory.flatten())


def fill(images: Tensor, masks: Tensor) -> Tensor:
    """A plain random background."""
    colour = torch.randint(0, 256, (len(images), 3, 1, 1), dtype=torch.uint8)
    return torch.where(masks.unsqueeze(1), images, colour)


def test_an_encoder_blind_to_the_background_is_perfectly_invariant() -> None:
    figures = invariance(lambda x: x[:, :, :, 0].float(), scenes(), fill)
    assert figures["ratio"] == 0 and figures["camera"] == 0 and figures["motion"] > 0


def test_an_encoder_blind_to_the_robot_sees_no_motion() -> None:
    figures = invariance(lambda x: x[:, :, :, 5].float(), scenes(), fill)
    assert figures["motion"] == 0 and figures["background"] > 0


def test_measuring_leaves_the_random_state_alone_and_is_repeatable() -> None:
    views = scenes()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = randomized(fill, views.image_a, views.mask_a, seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, randomized(fill, views.image_a, views.mask_a, seed=1))


def test_one_seed_shows_different_states_before_the_same_background() -> None:
    views = scenes()
    later = randomized(fill, views.image_a.roll(1, 0), views.mask_a, seed=1)
    assert torch.equal(later[..., 4], randomized(fill, views.image_a, views.mask_a, seed=1)[..., 4])


def test_the_linear_probe_reads_what_is_linear() -> None:
    features = torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    targets = features @ torch.randn(10, 2) + 1.0
    errors = linear_probe((features[:150], targets[:150]), (features[150:], targets[150:]), ridge=1e-6)
    assert errors.abs().max() < 1e-3


def test_the_grounding_probe_tells_a_latent_with_the_blocks_from_one_without() -> None:
    views = scenes()
    cfg = GroundingConfig(steps=200, batch_size=64)
    latents = views.blocks[..., :2].flatten(1).unsqueeze(1)
    told = probe_grounding(latents, views, {"same": latents}, views, cfg)
    assert told["same_right_m"] < 0.25 * told["same_wrong_m"]
    nothing = torch.zeros_like(latents)
    untold = probe_grounding(nothing, views, {"same": nothing}, views, cfg)
    assert untold["same_right_m"] > 2 * told["same_right_m"]
