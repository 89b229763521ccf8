"""Laws of the whole policy in numpy and onnxruntime: it sees, feels, reads and plans as torch does."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from argos_sim.deploy.decoder import DecoderRuntime
from argos_sim.deploy.encoders import EncoderRuntime, squared
from argos_sim.deploy.manifest import (
    CONTROLLER,
    DECODER,
    PLANNER,
    SENSES,
    SIGHT,
    DeployError,
    PolicyManifest,
    read_manifest,
)
from argos_sim.deploy.planner import PlannerRuntime
from argos_sim.deploy.text import HashedText, load_text
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.sampler import SamplerConfig
from argos_wm.world_model import WorldModel
from tests.argos_sim.deploy.tiny import CAMERAS, SIZE, TEXTS, make_decoder, make_encoder, moments, pictures


def test_the_policy_is_its_networks_and_what_is_stored_is_what_was_given(policy: Path) -> None:
    manifest = read_manifest(policy)
    assert set(manifest.networks) == {CONTROLLER, *SENSES, *PLANNER, DECODER, SIGHT}
    assert {f.name for f in policy.iterdir()} == {"policy.yaml", *(f"{name}.onnx" for name in manifest.networks)}
    for network in manifest.networks.values():
        assert network.precision == "fp32" and network.compared == 6 and not network.error
        assert network.rms is not None and network.rms <= network.difference < 1e-4
    assert manifest.planner is not None and manifest.planner.shift == 1.7 and manifest.planner.history == (-0.8, 0.0)


def test_it_sees_and_feels_as_the_encoder_does(policy: Path, encoder: StateEncoder) -> None:
    runtime, images = EncoderRuntime(policy, read_manifest(policy)), pictures(3)
    wanted = encoder.encode_vision(images).numpy()
    for image, latents in zip(images, wanted, strict=True):
        np.testing.assert_allclose(runtime.see(image.permute(1, 2, 0).numpy()), latents, atol=1e-4)
    raw = torch.randn(4, 6)
    for joints, latent in zip(raw.numpy(), encoder.encode_proprio(raw).numpy(), strict=True):
        np.testing.assert_allclose(runtime.feel(joints), latent, atol=1e-5)
        decoded = encoder.decode_proprio(torch.from_numpy(latent)).numpy()
        np.testing.assert_allclose(runtime.joints(latent), decoded, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (97, 61), (20, 24), (32, 32)])
def test_the_central_square_is_resampled_as_torch_does(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    square = torch.from_numpy(picture[top : top + side, left : left + side]).permute(2, 0, 1)[None].float()
    wanted = torch.nn.functional.interpolate(square, (SIZE, SIZE), mode="bilinear", antialias=True)[0]
    found = squared(picture, SIZE).astype(np.float32)
    assert np.abs(found - wanted.permute(1, 2, 0).numpy()).max() <= 0.51, "rounded to whole numbers"


def test_what_is_no_picture_is_refused(policy: Path) -> None:
    runtime = EncoderRuntime(policy, read_manifest(policy))
    for bad in (np.zeros((32, 32, 3)), np.zeros((32, 32), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"A picture is uint8 \(H, W, 3\)"):
            runtime.see(bad)
    with pytest.raises(ValueError, match=r"2 picture\(s\) were given, and the policy has 1"):
        runtime.see(*np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="joints holds 1 values that are NaN"):
        runtime.feel(np.array([0, 0, 0, 0, 0, np.nan]))


def test_latents_are_drawn_as_by_the_decoder_each_cameras_by_themselves(policy: Path, two_cameras: Path) -> None:
    one, both = DecoderRuntime(policy, read_manifest(policy)), DecoderRuntime(two_cameras, read_manifest(two_cameras))
    vision = torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(5))
    wanted = (255 * make_decoder()(vision)).permute(0, 2, 3, 1).detach().numpy()
    assert np.abs(one.draw(vision[0].numpy()).astype(float) - wanted[:1]).max() <= 0.51, "rounded to whole numbers"
    assert np.abs(both.draw(vision.flatten(0, 1).numpy()).astype(float) - wanted).max() <= 0.51
    assert wanted.std() > 1
    assert one.draw(np.full((16, 4), np.nan)).dtype == np.uint8, "what is no number is drawn, too"


def test_an_export_without_decoder_is_whole_but_for_the_drawing(policy: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(policy, tmp_path / "policy"))
    manifest = read_manifest(copy)
    networks = {name: file for name, file in manifest.networks.items() if name != "decoder"}
    (copy / "policy.yaml").write_text(replace(manifest, networks=networks).to_yaml())
    (copy / "decoder.onnx").unlink()
    EncoderRuntime(copy, read_manifest(copy))
    PlannerRuntime(copy, read_manifest(copy))
    with pytest.raises(DeployError, match="was exported without its decoder"):
        DecoderRuntime(copy, read_manifest(copy))


@given(st.text(max_size=120))
@settings(max_examples=100, deadline=None)
def test_words_are_the_same_numbers(text: str) -> None:
    tokens, there = HashedText(64, 16)(text)
    wanted = HashedNGramEncoder()([text])
    np.testing.assert_allclose(tokens, wanted.tokens[0].numpy(), atol=1e-5)
    assert np.array_equal(there, wanted.mask[0].numpy())


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"solver": "euler", "steps": 3},
        {"guidance_scale": 2.5},
        {"guidance_scale": 0.3, "guidance_interval": (0.2, 0.6), "temperature": 1.0},
    ],
)
@pytest.mark.parametrize("text", TEXTS[:2])
def test_it_plans_as_the_world_model_does(
    policy: Path, encoder: StateEncoder, model: WorldModel, asked: dict, text: str
) -> None:
    sampler = replace(SamplerConfig(), **asked)
    manifest = read_manifest(policy)
    assert manifest.planner is not None
    runtime = PlannerRuntime(policy, replace(manifest, planner=replace(manifest.planner, **asked)))
    history, known = moments(encoder, 2)
    for row in range(2):
        rng = np.random.default_rng(7)
        shapes = ((1, encoder.spec.patches, 4), (1, 8))
        noise = tuple(torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)) for shape in shapes)
        wanted = model.sample(
            history[row : row + 1], known[row : row + 1], HashedNGramEncoder()([text]), torch.tensor([0.6]),
            noise=(noise[0], noise[1]), **sampler.arguments(),
        )  # fmt: skip
        vision, proprio = runtime.next_state(
            history.vision[row].numpy(), history.proprio[row].numpy(), known[row].numpy(), text, 0.6,
            np.random.default_rng(7),
        )  # fmt: skip
        np.testing.assert_allclose(vision, wanted.vision[0].numpy(), atol=1e-3)
        np.testing.assert_allclose(proprio, wanted.proprio[0].numpy(), atol=1e-3)


def test_an_unknown_text_encoder_and_missing_parts_are_refused_by_name(policy: Path, tmp_path: Path) -> None:
    manifest = read_manifest(policy)
    assert manifest.planner is not None
    planner = manifest.planner

    def asking(text: dict) -> PolicyManifest:
        return replace(manifest, planner=replace(planner, text=text))

    with pytest.raises(DeployError, match="text encoder .*'clip'.* is not known here"):
        load_text(policy, asking({"kind": "clip"}))
    with pytest.raises(DeployError, match="text encoder .*'tokenized'.* is not known here"):
        load_text(policy, asking({"kind": "tokenized", "dim": 64}))
    copy = Path(shutil.copytree(policy, tmp_path / "policy"))
    networks = {k: v for k, v in manifest.networks.items() if k == "controller"}
    with pytest.raises(DeployError, match="was exported without its vision"):
        EncoderRuntime(copy, replace(manifest, networks=networks))
    with pytest.raises(DeployError, match="was exported without its planner_context"):
        PlannerRuntime(copy, replace(manifest, networks=networks))
    (copy / "planner_flow.onnx").unlink()
    with pytest.raises(DeployError, match="planner_flow.onnx is missing"):
        PlannerRuntime(copy, manifest)


def test_each_camera_has_its_own_picture(two_cameras: Path) -> None:
    both = make_encoder(CAMERAS)
    runtime, images = EncoderRuntime(two_cameras, read_manifest(two_cameras)), pictures(1, 2)
    front, wrist = (image.permute(1, 2, 0).numpy() for image in images[0])
    np.testing.assert_allclose(runtime.see(front, wrist), both.encode_vision(images)[0].numpy(), atol=1e-4)
