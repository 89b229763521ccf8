"""Laws of the bundle of encoders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from argos_wm.checkpoint import CheckpointError, load_json, load_tensors, save_json, save_tensors
from argos_wm.encoders.proprio import ProprioEncoder
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.vision import SmallViT, SmallViTConfig
from argos_wm.latents import LatentStats, SpecMismatch

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


def bundle(seed: int = 0, cameras: tuple[str, ...] = ("front",)) -> StateEncoder:
    torch.manual_seed(seed)
    vision = SmallViT(SmallViTConfig(image_size=32, stem=(8, 16), width=32, depth=1, channels=4)).eval()
    proprio = ProprioEncoder(6, 16)
    felt = proprio.encode(torch.randn(50, 12)).detach()
    stats = LatentStats.measure(torch.randn(50, 16 * len(cameras), 4), felt)
    return StateEncoder(vision, proprio, stats, JOINTS, precision="float32", cameras=cameras)


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.randn(5, 12, generator=generator), torch.arange(5.0)


def test_a_saved_bundle_makes_equal_latents_and_has_an_equal_spec(tmp_path: Path) -> None:
    encoder = bundle()
    encoder.save(tmp_path, figures={"invariance": 0.2})
    again = StateEncoder.load(tmp_path, precision="float32")
    assert again.spec == encoder.spec
    first, second = encoder.encode(*inputs()), again.encode(*inputs())
    assert torch.equal(first.vision, second.vision) and torch.equal(first.proprio, second.proprio)
    assert load_json(tmp_path / "encoder.json")["figures"] == {"invariance": 0.2}


def test_cameras_are_encoded_one_by_one(tmp_path: Path) -> None:
    encoder, (images, _, _) = bundle(cameras=("front", "wrist")), inputs()
    both = encoder.encode_vision(torch.stack([images, images.flip(0)], 1))
    assert both.shape == (5, 32, 4) and encoder.spec.patches == 32 and encoder.spec.cameras == ("front", "wrist")
    alone = encoder.first_camera()
    assert torch.equal(both[:, :16], alone.encode_vision(images)) and alone.spec.patches == 16
    swapped = encoder.encode_vision(torch.stack([images.flip(0), images], 1))
    assert torch.equal(swapped[:, :16], alone.encode_vision(images.flip(0)))
    encoder.save(tmp_path)
    assert StateEncoder.load(tmp_path, precision="float32").spec == encoder.spec
    with pytest.raises(ValueError, match=r"1 camera\(s\) were given and 2"):
        encoder.encode_vision(images)
    with pytest.raises(ValueError, match="statistics are of 16 patches"):
        StateEncoder(encoder.vision, encoder.proprio, bundle().stats, JOINTS, cameras=("front", "wrist"))


def test_the_hash_names_the_weights() -> None:
    assert bundle().spec == bundle().spec
    changed = bundle().vision
    assert isinstance(changed, SmallViT)
    with torch.no_grad():
        changed.positions[0, 0, 0] += 1e-3
    other = StateEncoder(changed, bundle().proprio, bundle().stats, JOINTS)
    assert other.spec.encoder_hash != bundle().spec.encoder_hash
    with pytest.raises(SpecMismatch, match="encoder_hash"):
        other.spec.require(bundle().spec, "one", "the other")


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    bundle().save(tmp_path)
    tensors = load_tensors(tmp_path / "proprio.safetensors")
    save_tensors(tmp_path / "proprio.safetensors", tensors | {"centre": tensors["centre"] + 0.1})
    with pytest.raises(SpecMismatch, match="encoder_hash"):
        StateEncoder.load(tmp_path)


def test_an_incomplete_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="encoder.json"):
        StateEncoder.load(tmp_path)
    bundle().save(tmp_path)
    description = load_json(tmp_path / "encoder.json")
    save_json(tmp_path / "encoder.json", {k: v for k, v in description.items() if k != "vision"})
    with pytest.raises(CheckpointError, match="lacks vision"):
        StateEncoder.load(tmp_path)


def test_wrong_number_of_joint_names_is_refused() -> None:
    with pytest.raises(ValueError, match="6 joints, but 5 are named"):
        StateEncoder(bundle().vision, bundle().proprio, bundle().stats, JOINTS[:5])


def test_latents_are_standardised_by_the_stats() -> None:
    encoder = bundle()
    images, raw, time = inputs()
    state = encoder.encode(images, raw, time)
    stats = encoder.stats
    assert torch.allclose(state.vision * stats.vision_std + stats.vision_mean, encoder.vision(images), atol=1e-5)
    assert torch.allclose(encoder.decode_proprio(state.proprio), raw, atol=1e-4)


def test_the_bundle_is_frozen() -> None:
    encoder = bundle().train()
    assert not encoder.training and not encoder.vision.training
    assert not any(p.requires_grad for p in encoder.parameters())


def test_bfloat16_changes_latents_little() -> None:
    exact, rough = bundle(), bundle()
    rough.autocast = True
    images = inputs()[0]
    difference = (exact.encode_vision(images) - rough.encode_vision(images)).square().mean().sqrt()
    assert difference < 0.03 * exact.encode_vision(images).std()


def test_statistics_of_each_position_or_of_each_channel() -> None:
    place = torch.arange(16.0)[:, None] + torch.tensor([0.0, 100.0])
    vision = place + torch.randn(400, 16, 2, generator=torch.Generator().manual_seed(0))
    proprio = torch.randn(400, 3)
    by_position = LatentStats.measure(vision, proprio)
    assert torch.allclose(by_position.vision_mean, place, atol=0.3)
    assert torch.allclose(by_position.vision_std, torch.ones(16, 2), atol=0.2)
    by_channel = LatentStats.measure(vision, proprio, per_position=False)
    assert by_channel.vision_mean.shape == (16, 2) and torch.equal(by_channel.vision_mean[0], by_channel.vision_mean[9])
    assert torch.allclose(by_channel.vision_mean[0], torch.tensor([7.5, 107.5]), atol=0.1)
    assert torch.allclose(by_channel.vision_std[0], place.std(0, correction=0).square().add(1).sqrt(), atol=0.1)
