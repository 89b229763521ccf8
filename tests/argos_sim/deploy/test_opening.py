"""Laws of opening a real arm: what was opened is closed again where the rest fails, or somebody ends it."""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tasks  # noqa: F401
from argos_sim.camera_alignment import capture
from argos_sim.deploy import lerobot_bus, lerobot_cameras, opening
from argos_sim.deploy.manifest import DeployError
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from tests.argos_sim.deploy.pilots import StandIn
from tests.argos_sim.deploy.servos import Servos
from tests.argos_sim.deploy.test_cameras import CAMERAS
from tests.argos_sim.deploy.test_lerobot_arm import MANIFEST, StandInCamera, calibration, written
from tests.argos_sim.replay.made import policy_folder


@pytest.fixture
def servos() -> Iterator[Servos]:
    servos = Servos()
    written(servos, calibration())
    yield servos
    servos.close()


def options(port: str, folder: Path, known: dict[str, Any]) -> argparse.Namespace:
    (folder / "arm.json").write_text(json.dumps(known))
    return argparse.Namespace(port=port, calibration=folder / "arm.json", inverted=[], camera=["0"], camera_delay=0.0)


@pytest.mark.parametrize("fails", ["no port", "another calibration", "silent motors"])
def test_cameras_are_closed_where_the_arm_cannot_be_opened(servos: Servos, tmp_path: Path, fails: str) -> None:
    eye, known, port = StandInCamera(), calibration(), "/dev/nowhere" if fails == "no port" else servos.port
    servos.silent = fails == "silent motors"
    if fails == "another calibration":
        known["gripper"]["range_max"] = 2999
    asked = options(port, tmp_path, known)
    with pytest.raises(DeployError):
        opening.so100(asked, MANIFEST, lambda: {"front": eye})
    assert eye.disconnected


def test_the_bus_is_closed_where_motors_fall_silent_after_they_answered(
    servos: Servos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[Any] = []
    shake = lerobot_bus.shake_hands

    def shaken(bus: Any) -> None:
        shake(bus)
        met.append(bus)
        servos.silent = True

    monkeypatch.setattr(lerobot_bus, "shake_hands", shaken)
    eye = StandInCamera()
    with pytest.raises(DeployError, match="cannot be reached"):
        opening.so100(options(servos.port, tmp_path, calibration()), MANIFEST, lambda: {"front": eye})
    assert eye.disconnected and not met[0].is_connected


def test_the_first_camera_is_closed_where_somebody_ends_the_opening_of_the_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    eye = StandInCamera()

    def opened(place: str, _: float) -> StandInCamera:
        if place == "1":
            raise KeyboardInterrupt
        return eye

    monkeypatch.setattr(lerobot_cameras, "opened_camera", opened)
    both = replace(MANIFEST, spec={"cameras": list(CAMERAS)}, rates={"camera_hz": 10})
    with pytest.raises(KeyboardInterrupt):
        lerobot_cameras.opened_cameras(["front=0", "wrist=1"], both)
    assert eye.disconnected


def test_ctrl_c_while_a_limp_arm_is_moved_by_hand_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = policy_folder(tmp_path / "policy", World.of(environment_cfg(Settings(), 1)))
    robot = StandIn()

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(capture, "by_hand", ended)
    monkeypatch.setattr(opening, "so100", lambda *_: robot)
    arguments = ["align_camera.py", "--policy", str(folder), "--robot", "so100", "--limp", "--out", str(tmp_path / "o")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        runpy.run_path("scripts/align_camera.py", run_name="__main__")
    assert end.value.code == 2 and robot.closed and not (tmp_path / "o").exists()
    assert capsys.readouterr().err == "error: Stopped by hand; nothing was written.\n"


def test_a_calibration_that_is_not_there_is_told_before_a_camera_is_opened(tmp_path: Path) -> None:
    asked = options("/dev/nowhere", tmp_path, {})
    asked.calibration.unlink()
    with pytest.raises(DeployError, match=r"There is no file .*arm.json, which --calibration names"):
        opening.so100(asked, MANIFEST, lambda: pytest.fail("a camera was opened"))


@pytest.mark.parametrize("text", ["-1", "1.5", "many"])
def test_a_seed_that_is_none_is_refused_as_the_options_are_read(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=opening.seed)
    assert parser.parse_args(["--seed", "7"]).seed == 7
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--seed", text])
    assert end.value.code == 2 and "--seed" in capsys.readouterr().err
