"""Laws of what is told: the instruction undoes the offset, the homography is exact, files last."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from argos_sim.camera_alignment.align import known_lens
from argos_sim.camera_alignment.found import FoundCamera, trained_camera
from argos_sim.camera_alignment.recording import FILE, Recording, keep_recording, read_recording, write_recording
from argos_sim.camera_alignment.report import compared, said, write_camera
from argos_sim.deploy.camera_file import read_camera_file
from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.pinhole import Pinhole
from argos_sim.deploy.rotations import turned
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.ranges import get_ranges

NAMES = ("pan", "lift")


def found(camera: Pinhole) -> FoundCamera:
    return FoundCamera(
        camera,
        np.full(3, 1e-4),
        np.full(3, 1e-4),
        1e-3,
        np.full(2, 0.5),
        (1e-3, 2e-3),
        {"outline_px": 0.2},
        {"way": "arm"},
    )


def test_the_instruction_says_what_undoes_the_offset(world: World) -> None:
    trained = trained_camera(world, 240, 320)
    own = trained.rotation @ turned(np.radians([2.0, 0, 0]))  # about the camera's own x: it looks up
    moved = replace(
        trained, position=trained.position + np.array([0.012, 0, -0.02]), rotation=own, focal=1.05 * trained.focal
    )
    text = compared(found(moved), trained, get_ranges("train")).instruction
    assert text.startswith("Move it -12 mm along x; move it +20 mm along z; tilt it down by 2.0 degrees;")
    assert "along y" not in text and "turn it" not in text and "+5 % larger" in text
    assert moved.rotation[2, 2] > trained.rotation[2, 2], "it does look higher"
    right = replace(trained, rotation=trained.rotation @ turned(np.radians([0, 3.0, 0])))
    assert right.rotation[:, 2] @ trained.rotation[:, 0] > 0, "it looks to its right"
    assert "urn it left by 3.0" in compared(found(right), trained, get_ranges("train")).instruction
    assert compared(found(trained), trained, get_ranges("train")).instruction == "Leave it where it is."


def test_what_training_drew_is_told_from_what_it_did_not(world: World) -> None:
    trained, ranges = trained_camera(world, 240, 320), get_ranges("train")
    near = replace(trained, position=trained.position + 0.009)
    assert all(compared(found(near), trained, ranges).inside.values())
    far = replace(trained, position=trained.position + np.array([0, 0.02, 0]), focal=1.2 * trained.focal)
    told = compared(found(far), trained, ranges)
    assert told.inside == {"position": False, "turn": True, "focal_length": False, "distortion": True}
    assert "outside in position, focal length" in said(found(far), told)


def test_a_principal_point_aside_counts_as_a_turn(world: World) -> None:
    """Turned by as much the other way, the camera's middle looks where training's does, and nothing is to be turned."""
    trained = trained_camera(world, 240, 320)
    aside = replace(trained, offset=(12.0, 0.0))
    told = compared(found(aside), trained, get_ranges("train"))
    angle = np.degrees(np.arctan(12.0 / trained.focal))
    assert np.degrees(np.linalg.norm(told.turn)) == pytest.approx(angle, abs=1e-6)
    assert f"urn it right by {angle:.1f}" in told.instruction, "its middle looks left of its axis"
    assert "12 px from the picture's middle" in said(found(aside), told)
    back = replace(aside, rotation=trained.rotation @ turned(np.radians([0, angle, 0])))
    np.testing.assert_allclose(back.aimed, trained.rotation, atol=1e-9)
    assert compared(found(back), trained, get_ranges("train")).instruction == "Leave it where it is."
    assert "middle" not in said(found(trained), told)


def test_the_file_holds_the_camera(world: World, tmp_path: Path) -> None:
    trained = trained_camera(world, 240, 320)
    camera = replace(
        trained, position=trained.position + 0.01, offset=(3.0, -4.0), distortion=0.01, distortion_2=-0.002
    )
    write_camera(
        tmp_path / "camera.yaml", found(camera), trained, compared(found(camera), trained, get_ranges("train"))
    )
    data = yaml.safe_load((tmp_path / "camera.yaml").read_text())
    lens = known_lens(tmp_path / "camera.yaml")
    for name in ("position", "rotation", "focal", "offset", "distortion", "distortion_2"):
        np.testing.assert_allclose(getattr(lens.camera, name), getattr(camera, name), atol=1e-4)
    assert lens.focal == pytest.approx(1e-3 / 1.96) and lens.middle == pytest.approx(0.5 / 1.96)
    assert lens.distortion == pytest.approx((1e-3 / 1.96, 2e-3 / 1.96)), "k₂ is known apart from k₁"
    assert data["from_training"]["position_mm"] == [10.0, 10.0, 10.0] and list(tmp_path.iterdir()) == [
        tmp_path / "camera.yaml"
    ]


def test_what_ended_on_a_bound_is_told_on_the_terminal_and_in_the_file(world: World, tmp_path: Path) -> None:
    trained, path = trained_camera(world, 240, 320), tmp_path / "camera.yaml"
    for bounded in ((), ("distortion",)):
        result = replace(found(trained), bounded=bounded)
        told = compared(result, trained, get_ranges("train"))
        write_camera(path, result, trained, told)
        doubt = yaml.safe_load(path.read_text()).get("doubt", "")
        assert ("Its distortion ended on the bound" in said(result, told)) == bool(bounded)
        assert ("its interval is not to be believed" in doubt) == bool(bounded)
        assert ("edges of rectified pictures are off, too" in doubt) == bool(bounded)
        assert read_camera_file(path).doubt == doubt
    with pytest.raises(DeployError, match=r"camera\.yaml has a lens that is in doubt: Its distortion ended"):
        known_lens(path)


def recording() -> Recording:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    joints = np.array([[0.1, 0.2], [np.nan, np.nan]])
    return Recording(NAMES, ("00.png", "01.png"), pictures, joints, {"A": np.array([0.3, 0.4])}, "01.png")


def test_a_recording_is_the_same_after_a_file(tmp_path: Path) -> None:
    write_recording(tmp_path, recording())
    again = read_recording(tmp_path, NAMES)
    np.testing.assert_array_equal(again.pictures, recording().pictures)
    np.testing.assert_array_equal(again.joints, recording().joints)
    assert again.placed == "01.png" and again.touches["A"].tolist() == [0.3, 0.4]


def test_a_session_is_kept_beside_those_of_before(tmp_path: Path) -> None:
    first = keep_recording(tmp_path, recording())
    (tmp_path / "recordings" / "session-004").mkdir()  # killed before anything was written
    second = keep_recording(tmp_path, replace(recording(), pictures=np.zeros_like(recording().pictures)))
    assert (first.name, second.name) == ("session-000", "session-005")
    np.testing.assert_array_equal(read_recording(first, NAMES).pictures, recording().pictures)
    assert not read_recording(second, NAMES).pictures.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pictures": []}, "lists no pictures"),
        ({"pictures": [{"file": "none.png"}]}, "none.png cannot be read"),
        ({"pictures": [{"file": "00.png", "joints": [1]}]}, "joints of 00.png should be 2 finite numbers"),
        ({"pictures": [{"file": "00.png"}, {"file": "large.png"}]}, "large.png has another size than 00.png"),
        ({"pictures": [{"file": "00.png"}, {"file": "text.png"}]}, "text.png cannot be read"),
        ({"pictures": ["00.png"]}, "names no file"),
        ({"joint_names": ["a", "b"]}, "is of the joints a, b, the policy's: pan, lift"),
        ({"placed": "07.png"}, "'07.png', which is no picture"),
    ],
)
def test_a_recording_that_cannot_be_is_a_sentence(tmp_path: Path, changes: dict, message: str) -> None:
    write_recording(tmp_path, recording())
    large = replace(recording(), files=("large.png", "x.png"), pictures=np.zeros((2, 9, 9, 3), np.uint8))
    write_recording(tmp_path / "other", large)
    (tmp_path / "other" / "large.png").rename(tmp_path / "large.png")
    (tmp_path / "text.png").write_text("no picture")
    data = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(data | {"placed": None} | changes))
    with pytest.raises(ValueError, match=message):
        read_recording(tmp_path, NAMES)


def test_the_script_prints_a_board_and_says_what_is_missing(tmp_path: Path) -> None:
    script = [sys.executable, "scripts/align_camera.py"]
    done = subprocess.run([*script, "--print", str(tmp_path / "b.pdf")], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (tmp_path / "b.pdf").read_bytes().startswith(b"%PDF")
    done = subprocess.run([*script, "--policy", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: There is no exported policy at")


def test_trials_write_nothing_and_need_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    options = ["--policy", str(tmp_path), "--out", str(tmp_path / "file" / "camera"), "--trials", "1"]
    monkeypatch.setattr(sys, "argv", ["align_camera.py", *options])
    with pytest.raises(SystemExit):
        runpy.run_path("scripts/align_camera.py", run_name="__main__")
    assert capsys.readouterr().err.startswith("error: There is no exported policy at")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pictures", "4"], "--pictures must be 5 at least, and --trials 1."),
        (["--trials", "0"], "--pictures must be 5 at least, and --trials 1."),
        (["--trials", "1", "--joint-bias", "nan"], "--joint-bias must be from 0 to 10 degrees."),
        (["--way", "board", "--focal-px", "-1"], "--focal-px -1 should be a number of pixels above zero."),
        (["--way", "board", "--board-at", "nan", "0", "0"], "--board-at should be three numbers"),
        (["--out", "{here}/file/camera"], "{here}/file/camera cannot be made: {here}/file is no folder"),
    ],
)
def test_absurd_numbers_and_places_are_refused_before_a_policy_is_read(
    tmp_path: Path,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    given = [text.format(here=tmp_path) for text in options]
    monkeypatch.setattr(sys, "argv", ["align_camera.py", "--policy", str(tmp_path), *given])
    with pytest.raises(SystemExit) as end:
        runpy.run_path("scripts/align_camera.py", run_name="__main__")
    assert end.value.code == 2 and capsys.readouterr().err.startswith(f"error: {message.format(here=tmp_path)}")
