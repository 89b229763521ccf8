"""Laws of a policy that adapted to a moved camera: its homography leaves the simulator with it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from argos_sim.controller.alignment import homography, warp
from argos_sim.deploy import rectification
from argos_sim.deploy.encoders import EncoderRuntime
from argos_sim.deploy.manifest import CONTROLLER, SENSES, VISION, DeployError, read_manifest
from argos_sim.deploy.network import Network
from argos_sim.precision import write_lower
from argos_wm.encoders.state import StateEncoder
from argos_wm.world_model import WorldModel
from tests.argos_sim.deploy.tiny import CAMERAS, pictures, write

EYES = (0.02, -0.03, 0.1, 0.01, 0.02, -0.08, 0.01, -0.005)


@pytest.fixture(scope="module")
def moved(encoder: StateEncoder, model: WorldModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "moved"
    write(folder, encoder, model, (CONTROLLER, *SENSES), EYES)
    return folder


def test_a_robot_sees_through_it_what_the_simulators_did(moved: Path, policy: Path, encoder: StateEncoder) -> None:
    images = pictures(8)
    through = warp(images, homography(torch.tensor([EYES])).expand(8, -1, -1))
    wanted, bare = (encoder.encode_vision(x).numpy() for x in (through, images))
    eyes, plain = (EncoderRuntime(folder, read_manifest(folder)) for folder in (moved, policy))
    seen, other = (np.stack([runtime.see(x.permute(1, 2, 0).numpy()) for x in images]) for runtime in (eyes, plain))
    far = np.abs(bare - wanted).mean()
    assert np.abs(seen - wanted).mean() < 0.02 * far, "colours are rounded in the simulators alone"
    np.testing.assert_allclose(other, bare, atol=1e-4)
    assert read_manifest(moved).networks[VISION].difference < 1e-4


def test_it_is_stated_where_there_is_one(moved: Path, policy: Path) -> None:
    assert yaml.safe_load((moved / "policy.yaml").read_text())["homography"] == list(EYES)
    assert read_manifest(moved).homography == EYES
    assert "homography" not in (policy / "policy.yaml").read_text() and read_manifest(policy).homography == ()


def test_it_stays_in_half_the_bits(moved: Path, tmp_path: Path) -> None:
    manifest = read_manifest(moved)
    write_lower(moved / "vision.onnx", "fp16", tmp_path / "vision.onnx")
    digest = hashlib.sha256((tmp_path / "vision.onnx").read_bytes()).hexdigest()
    lower = replace(manifest, networks={VISION: replace(manifest.networks[VISION], sha256=digest)})
    given = {"images": pictures(8).numpy()}
    whole, half = Network(moved, manifest, VISION)(given)[0], Network(tmp_path, lower, VISION)(given)[0]
    assert np.sqrt(np.mean((whole - half) ** 2)) < 0.05


@pytest.mark.parametrize(
    ("numbers", "message"), [((0.1,), "eight finite numbers"), ((*EYES[:7], float("nan")), "eight finite numbers")]
)
def test_what_is_none_is_refused(policy: Path, numbers: tuple[float, ...], message: str) -> None:
    with pytest.raises(DeployError, match=message):
        replace(read_manifest(policy), homography=numbers).check("policy.yaml")


def test_several_cameras_have_none(policy: Path) -> None:
    manifest = read_manifest(policy)
    both = manifest.spec | {"cameras": CAMERAS}
    with pytest.raises(DeployError, match="homography is of one camera, and there are several"):
        replace(manifest, homography=EYES, spec=both).check("policy.yaml")


def test_a_camera_file_beside_it_is_refused(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rectification, "read_camera_file", lambda path: None)
    with pytest.raises(DeployError, match="would put pictures right twice: the policy at .* adapted to a moved camera"):
        rectification.read_rectification(Path("camera.yaml"), moved, read_manifest(moved))
