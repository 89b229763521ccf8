"""Laws of the camera file: pictures become those of training's camera, and a file that does not fit is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from argos_sim.deploy.camera_file import INTERVALS, TRAINED, plain, read_camera_file
from argos_sim.deploy.follower import Follower
from argos_sim.deploy.live import Watched
from argos_sim.deploy.manifest import MANIFEST_FILE, DeployError, read_manifest
from argos_sim.deploy.pictures import read_frames
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rectification import Rectification, read_rectification, recorded_rectification
from argos_sim.deploy.robots import Frame
from argos_sim.deploy.rotations import turned
from argos_sim.deploy.simulated import WORLD_FILE
from tests.argos_sim.deploy.pilots import StandIn, flying, until
from tests.argos_sim.deploy.tiny import SIZE

PITCH = 0.8
LOOKING = turned(np.array([-np.pi / 2 - PITCH, 0.0, 0.0]))
"""Along +y and down."""


def trained(height: int = 240, width: int = 320) -> Pinhole:
    return Pinhole(np.array([0.0, -0.6, 0.5]), LOOKING, 1.5 * min(height, width), height, width)


def found(of: Pinhole, turn: tuple[float, float, float] = (0.05, -0.04, 0.06)) -> Pinhole:
    """Elsewhere, turned, off centre, bent, and wide enough to see all that ``of`` does."""
    lens = replace(of, focal=0.7 * of.focal, offset=(0.03 * of.width, -0.02 * of.width))
    moved = replace(lens, position=of.position + 0.02, rotation=turned(np.array(turn)) @ of.rotation)
    return moved.with_opencv_distortion(-0.2, 0.05)


def seen(camera: Pinhole, where: np.ndarray | None = None) -> np.ndarray:
    """What a smooth world infinitely far away looks like (H, W, 3), or at pixels (…, 2)."""
    pixels = camera.pixels().reshape(camera.height, camera.width, 2) if where is None else where
    rays = camera.directions(pixels) @ camera.rotation.T
    return (127 + 100 * np.sin(np.array([9.0, 7.0, 8.0]) * rays)).astype(np.uint8)


@pytest.mark.parametrize("size", [240, 64, 32])
def test_a_picture_becomes_that_of_trainings_camera(size: int) -> None:
    of = trained()
    rectify = Rectification(found(of), of, size)
    got = rectify(seen(found(of)))
    every = 240 // len(got)
    place = (np.arange(len(got)) + 0.5) * every - 0.5
    wanted = seen(of, np.stack(np.meshgrid(40 + place, place), -1))
    assert np.abs(got.astype(float) - wanted).max() < 6 and len(got) >= min(240, 2 * size)
    assert rectify.lost == 0 and not rectify.lost_at and "all of its view is seen" in rectify.told()


def test_what_the_pictures_do_not_show_is_told() -> None:
    of = trained(240, 240)
    right = replace(of, rotation=of.rotation @ turned(np.array([0.0, 0.1, 0.0])))
    rectify = Rectification(right, of, 64)
    assert "left" in rectify.lost_at and "right" not in rectify.lost_at
    assert rectify.lost == pytest.approx(1.5 * np.tan(0.1), abs=0.03), "of the width, at a focal length of 1.5"
    assert f"{100 * rectify.lost:.1f} % of its view is not seen (left" in rectify.told()
    assert Rectification(of, of, 64).lost == 0
    assert (
        Rectification(of, of, 64, "Its lens ended on a bound.").told().endswith("is seen. Its lens ended on a bound.")
    )


def test_a_straight_camera_changes_nothing() -> None:
    of = trained()
    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Rectification(of, of, 240)(picture), picture[:, 40:280])
    with pytest.raises(ValueError, match=r"of pictures \(240, 320, 3\), and this one is \(120, 160, 3\)"):
        Rectification(of, of, 240)(picture[::2, ::2])


def write(path: Path, of: Pinhole, camera: Pinhole, **changes: Any) -> Path:
    data = plain(camera) | {INTERVALS: {}, TRAINED: plain(of)} | changes
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture
def placed(policy: Path, tmp_path: Path) -> Path:
    """A policy that says where its camera stood."""
    folder = tmp_path / "policy"
    shutil.copytree(policy, folder)
    pose = {"position": [0.0, -0.6, 0.5], "pitch": PITCH, "focal_length": 30.0}
    (folder / WORLD_FILE).write_text(json.dumps({"camera": pose, "aperture": 20.0}))
    return folder


def test_a_file_holds_both_cameras(tmp_path: Path) -> None:
    of = trained()
    again = read_camera_file(write(tmp_path / "camera.yaml", of, found(of)))
    for camera, own in ((again.found, found(of)), (again.trained, of)):
        np.testing.assert_allclose(camera.project(np.zeros(3)), own.project(np.zeros(3)), atol=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("focal_length_px"), "no camera.yaml .*'focal_length_px' is missing"),
        (lambda data: data.update(rotation=[[1, 0], [0, 1]]), "describe no camera"),
        (lambda data: data.update(rotation=(2 * np.eye(3)).tolist()), "its rotation is none"),
        (lambda data: data.update(focal_length_px=float("nan")), "describe no camera"),
        (lambda data: data[TRAINED].update(picture=[48, 64]), "not of one size"),
        (lambda data: data[TRAINED].update(position_m=[0.0, -0.5, 0.5]), "of another policy"),
        (lambda data: data[TRAINED].update(focal_length_px=400.0), "of another policy"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(placed: Path, tmp_path: Path, change: Callable, message: str) -> None:
    path, of = tmp_path / "camera.yaml", trained()
    data = yaml.safe_load(write(path, of, found(of)).read_text())
    read_rectification(path, placed, read_manifest(placed))
    change(data)
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(DeployError, match=message):
        read_rectification(path, placed, read_manifest(placed))


def test_nothing_is_believed_of_a_policy_without_a_place_or_with_two_cameras(
    policy: Path, two_cameras: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "camera.yaml", trained(), trained())
    with pytest.raises(DeployError, match="no world.json that says where its camera stood"):
        read_rectification(path, policy, read_manifest(policy))
    with pytest.raises(DeployError, match="of one camera, and the policy has front, wrist"):
        read_rectification(path, two_cameras, read_manifest(two_cameras))


def test_a_file_in_doubt_is_told_so(placed: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "camera.yaml", trained(), found(trained()))
    data = yaml.safe_load(path.read_text())
    assert read_rectification(path, placed, read_manifest(placed)).told().endswith("seen.")
    path.write_text(yaml.safe_dump(data | {"doubt": "Its k2 ended on a bound."}))
    assert read_rectification(path, placed, read_manifest(placed)).told().endswith("seen. Its k2 ended on a bound.")


def test_nothing_is_turned_for_a_policy_that_states_no_picture_size(placed: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "camera.yaml", trained(), trained())
    data = yaml.safe_load((placed / MANIFEST_FILE).read_text())
    assert data.pop("image_size") == SIZE
    (placed / MANIFEST_FILE).write_text(yaml.safe_dump(data))
    with pytest.raises(DeployError, match="was exported without its vision. Export the whole policy"):
        read_rectification(path, placed, read_manifest(placed))


def test_a_recording_names_the_camera_file_and_keeps_pictures_as_they_came(placed: Path, tmp_path: Path) -> None:
    of, robot, log = trained(2 * SIZE, 2 * SIZE), StandIn(), tmp_path / "log"
    path, picture = write(tmp_path / "camera.yaml", of, found(of)), seen(found(of))
    robot.bent_frame = lambda frame: Frame((picture,), frame.time)
    with Watched(placed, lambda _: robot, log=log, camera_file=path) as watched:
        assert watched.pilot is not None and watched.rectification is not None
        pilot = watched.pilot
        pilot.begin("touch the red block")
        pilot.start()
        until(lambda: pilot.counts["frames"] > 2, "pictures")
    header = json.loads((log / "steps.json").read_text())["camera_file"]
    assert header["file"] == str(path) and header["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    again = recorded_rectification(header, SIZE)
    assert np.abs(again(picture).astype(int) - watched.rectification(picture)).max() <= 1
    assert np.array_equal(next(read_frames(log / "frames.bin")).pictures[0], picture)


def test_pictures_of_another_size_are_refused_before_anything_is_recorded_whoever_leads(
    placed: Path, tmp_path: Path
) -> None:
    path, robot = write(tmp_path / "camera.yaml", trained(), trained()), StandIn()

    def follower(*_: object) -> Follower:
        raise AssertionError("the robot was led")

    log = tmp_path / "log"
    with (
        pytest.raises(DeployError, match="and the camera gives 32 × 32"),
        Watched(placed, lambda _: robot, log=log, make_pilot=follower, camera_file=path),
    ):
        pass
    assert robot.closed and not log.exists()


def test_the_policy_sees_what_trainings_camera_would_have_seen(placed: Path, tmp_path: Path) -> None:
    of = trained(2 * SIZE, 2 * SIZE)
    path, picture = write(tmp_path / "camera.yaml", of, found(of)), seen(found(of))
    robot = StandIn()
    robot.bent_frame = lambda frame: Frame((picture,), frame.time)
    with flying(placed, robot=robot, camera_file=path) as (pilot, _):
        until(lambda: pilot._seen is not None, "a picture")
        assert pilot._seen is not None
        as_trained, as_it_is = pilot.encoders.see(seen(of)), pilot.encoders.see(picture)
        off = np.abs(pilot._seen.vision - as_trained).max()
        assert off < 0.2 * np.abs(as_it_is - as_trained).max()
    robot.bent_frame = lambda frame: frame
    with (
        pytest.raises(DeployError, match="of pictures of 64 × 64 pixels, and the camera gives 32 × 32"),
        flying(placed, robot=robot, camera_file=path),
    ):
        pass
