"""Laws of the board: it is printed to scale, its corners are found, and touches and pictures place the camera."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from argos_sim.camera_alignment.board import DOTS_MM, Board
from argos_sim.camera_alignment.board_pose import board_camera, measured_placing, touched_placing
from argos_sim.camera_alignment.found import KnownLens, apart, trained_camera
from argos_sim.camera_alignment.recording import Recording
from argos_sim.camera_alignment.trials import WEBCAM, TrialSettings, board_recording
from argos_sim.deploy.body import Chain
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.mujoco_c.world import World

EXACT = TrialSettings(pixel_noise=2.0, joint_noise=0.0, touch_noise=0.0, **WEBCAM)


@pytest.fixture(scope="module")
def laid(world: World, manifest: PolicyManifest) -> tuple[Recording, Pinhole]:
    return board_recording(world, manifest, EXACT, 0, Board())


def test_a_print_is_to_scale_and_is_found(tmp_path: Path) -> None:
    Board().write(tmp_path / "board.png")
    with Image.open(tmp_path / "board.png") as page:
        assert page.info["dpi"][0] == pytest.approx(25.4 * DOTS_MM, abs=0.1)
        picture = np.asarray(page.convert("RGB"))
    places, pixels = Board().find(picture)
    assert len(places) == 15
    across = pixels[places[:, 1].argsort(kind="stable")][:5, 0]
    np.testing.assert_allclose(np.diff(across), 42 * DOTS_MM, atol=0.5)
    Board().write(tmp_path / "board.pdf")
    box = re.search(rb"/MediaBox \[ 0 0 (\S+)", (tmp_path / "board.pdf").read_bytes())
    assert box is not None and float(box[1]) == pytest.approx(297 / 25.4 * 72, abs=0.1)
    with pytest.raises(ValueError, match=r"to a .pdf or a .png, not to board.jpg"):
        Board().write(tmp_path / "board.jpg")


def test_a_hidden_camera_and_its_lens_are_found(
    laid: tuple[Recording, Pinhole], world: World, manifest: PolicyManifest
) -> None:
    recording, hidden = laid
    assert manifest.body is not None
    placing = touched_placing(recording.touches, Board(), Chain(manifest.body))
    found = board_camera(recording, placing, Board(), trained_camera(world, 480, 640))
    far, angle = apart(found.camera, hidden)
    assert far < 0.004 and np.degrees(angle) < 0.4
    assert abs(found.camera.focal / hidden.focal - 1) < 0.01
    np.testing.assert_allclose(found.camera.opencv_distortion, hidden.opencv_distortion, atol=0.08)
    assert np.abs(hidden.offset).max() > 6
    np.testing.assert_allclose(found.camera.offset, hidden.offset, atol=5)
    np.testing.assert_array_less(np.abs(np.subtract(found.camera.offset, hidden.offset)), 2 * found.middle_interval)
    assert found.error["reprojection_px"] < 0.3 and found.used["touches"] == len(recording.touches)


def test_one_picture_does_where_the_focal_length_is_known(
    laid: tuple[Recording, Pinhole], world: World, manifest: PolicyManifest
) -> None:
    recording, hidden = laid
    assert manifest.body is not None and recording.placed is not None
    one = replace(recording, files=recording.files[-1:], pictures=recording.pictures[-1:], joints=recording.joints[-1:])
    placing = touched_placing(recording.touches, Board(), Chain(manifest.body))
    trained = KnownLens.within(hidden, 0.0, 0.0, 0.0).of(trained_camera(world, 480, 640))
    far, angle = apart(board_camera(one, placing, Board(), trained, hidden.focal).camera, hidden)
    assert far < 0.005 and np.degrees(angle) < 0.5
    known = KnownLens.within(hidden, 1e-3, 0.2, (2e-3, 8e-3))
    again = board_camera(one, placing, Board(), trained_camera(world, 480, 640), known=known)
    np.testing.assert_allclose(again.distortion_interval, (2e-3, 8e-3), err_msg="k₂ is known no better than before")
    guessed = board_camera(one, placing, Board(), trained)
    assert guessed.position_interval.max() > 0.01, "a focal length that nobody knows makes the place uncertain"


def test_touches_tell_the_place_and_a_wrong_corner_is_named(
    laid: tuple[Recording, Pinhole], manifest: PolicyManifest
) -> None:
    assert manifest.body is not None
    chain, touches = Chain(manifest.body), laid[0].touches
    placing = touched_placing(touches, Board(), chain)
    for name, q in touches.items():
        tip = chain.tip_and_jacobian(q)[0]
        np.testing.assert_allclose(placing.points(Board().corners[name]), tip, atol=2e-3)
    names = list(touches)
    swapped = {names[0]: touches[names[1]], names[1]: touches[names[0]]} | {n: touches[n] for n in names[2:]}
    with pytest.raises(ValueError, match="The touch of corner"):
        touched_placing(swapped, Board(), chain)
    with pytest.raises(ValueError, match="1 corners were touched"):
        touched_placing({"A": touches[names[0]]}, Board(), chain)
    with pytest.raises(ValueError, match="no corner 'E'"):
        touched_placing(touches | {"E": touches[names[0]]}, Board(), chain)


def test_no_board_is_a_sentence(laid: tuple[Recording, Pinhole], world: World) -> None:
    blank = replace(laid[0], pictures=np.full_like(laid[0].pictures, 128))
    with pytest.raises(ValueError, match=r"No board is seen in 08\.png"):
        board_camera(blank, measured_placing(-0.1, -0.15, 0.0), Board(), trained_camera(world, 480, 640))
