"""Laws of several cameras: each has its name and its picture, none need be in step, and each is judged by itself."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argos_sim.deploy.cameras import CameraSet, camera_places
from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.robots import Frame
from argos_sim.deploy.senses import FrameCheck, SenseSettings
from tests.argos_sim.deploy.pilots import StandIn, flying, until
from tests.argos_sim.deploy.tiny import CAMERAS, SIZE

STILL, MOVED = np.zeros(3), np.array([0.0, 0.2, 0.0])


class Camera:
    """As lerobot's: the newest picture, again and again until there is another, ``hz`` times a second."""

    def __init__(self, hz: float, seed: int) -> None:
        self.hz, self._rng = hz, np.random.default_rng(seed)
        self._number, self._picture = -1, np.zeros(0)
        self.bent: Callable[[np.ndarray], np.ndarray] = lambda picture: picture

    def read_latest(self) -> np.ndarray:
        number = int(time.monotonic() * self.hz)
        if number != self._number:
            self._number, self._picture = number, self._rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        return self.bent(self._picture)

    def disconnect(self) -> None:
        """Nothing is open."""


class TwoEyes(StandIn):
    """A stand-in for an arm with two cameras that are not in step."""

    def __init__(self) -> None:
        super().__init__()
        self.cameras = {"front": Camera(17.0, 1), "wrist": Camera(11.0, 2)}
        self._set = CameraSet(list(self.cameras.values()))

    def frame(self) -> Frame | None:
        return self._set.frame()


class Given:
    """A camera that shows what it is given."""

    def __init__(self) -> None:
        self.picture: np.ndarray | None = None

    def show(self) -> np.ndarray:
        self.picture = np.random.default_rng().integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return self.picture

    def read_latest(self) -> np.ndarray:
        if self.picture is None:
            raise RuntimeError("has not captured any frames yet")
        return self.picture


def test_a_frame_is_new_once_every_camera_has_another_picture_and_as_old_as_the_oldest_of_them() -> None:
    front, wrist = Given(), Given()
    cameras = CameraSet([front, wrist])
    front.show()
    assert cameras.frame() is None, "the wrist has none yet"
    seen_at = time.monotonic()
    time.sleep(0.02)
    wrist.show()
    first = cameras.frame()
    assert first is not None and first.time <= seen_at, "the front's is the older one"
    assert first.pictures[0] is front.picture and first.pictures[1] is wrist.picture
    for _ in range(3):
        front.show()
        assert cameras.frame() is first, "the wrist's is still the same"
    wrist.show()
    second = cameras.frame()
    assert second is not None and second.time > first.time
    assert second.pictures[0] is front.picture and second.pictures[1] is wrist.picture


def test_a_picture_is_as_old_as_the_camera_is_slow() -> None:
    eye = Given()
    eye.show()
    before = time.monotonic()
    late, prompt = CameraSet([eye], 0.08).frame(), CameraSet([eye]).frame()
    after = time.monotonic()
    assert late is not None and prompt is not None
    assert before <= late.time + 0.08 <= after and before <= prompt.time <= after


@pytest.mark.parametrize("delay", ["-0.01", "0.35", "nan"])
def test_a_delay_for_which_the_arm_would_be_held_is_one_sentence(policy: Path, tmp_path: Path, delay: str) -> None:
    command = [sys.executable, "scripts/run_robot.py", "--policy", str(policy), "--robot", "so100"]
    command += ["--calibration", str(tmp_path / "none.json"), f"--camera-delay={delay}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = f"error: A camera's delay is 0 s or more and less than 0.35, and not {float(delay):g}.\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_camera_that_fails_makes_the_frame_old_and_comes_back() -> None:
    front, wrist = Given(), Given()
    cameras = CameraSet([front, wrist])
    front.show()
    wrist.show()
    first, picture = cameras.frame(), wrist.picture
    wrist.picture = None
    front.show()
    assert cameras.frame() is first
    wrist.picture = picture
    assert cameras.frame() is first, "the same picture as before it failed"
    wrist.show()
    assert cameras.frame() is not first


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_camera_of_two_is_noticed_once_the_arm_moves_and_named(frozen: int) -> None:
    check = FrameCheck(SenseSettings(), CAMERAS)
    for i in range(5):
        pictures = [noise(2 * i), noise(2 * i + 1)]
        pictures[frozen] = noise(99)
        assert check.refuses(Frame(tuple(pictures), 0.1 * i), STILL, 1.0) == "", "the arm rests"
    pictures = [noise(50), noise(51)]
    pictures[frozen] = noise(99)
    why = check.refuses(Frame(tuple(pictures), 0.6), MOVED, 1.0)
    assert why == f"a picture of {CAMERAS[frozen]} is the same though the arm moved"
    pictures[frozen] = noise(52)
    assert check.refuses(Frame(tuple(pictures), 0.7), MOVED, 1.0) == "", "it is well again"


def test_each_camera_is_measured_from_where_its_own_picture_was_new() -> None:
    """Two that repeat a picture in turn while the arm creeps: neither is frozen for long enough."""
    check, creep = FrameCheck(SenseSettings(), CAMERAS), np.array([0.03, 0.0, 0.0])
    front, wrist = noise(0), noise(1)
    for i in range(10):
        front, wrist = (noise(2 * i), wrist) if i % 2 else (front, noise(2 * i + 1))
        assert check.refuses(Frame((front, wrist), 0.1 * i), i * creep, 9.0) == ""
    assert "front is the same" in check.refuses(Frame((front, noise(77)), 2.0), 11 * creep, 9.0)


def test_a_camera_that_shows_nothing_is_named_and_all_of_them_must_be_there() -> None:
    check = FrameCheck(SenseSettings(), CAMERAS)
    dark = Frame((noise(0), np.zeros((8, 8, 3), np.uint8)), 0.0)
    assert check.refuses(dark, STILL, 1.0) == "a picture of wrist shows nothing"
    assert check.refuses(Frame((noise(0),), 0.0), STILL, 1.0) == "1 pictures came from 2 cameras"
    assert FrameCheck(SenseSettings()).refuses(replace(dark, pictures=dark.pictures[1:]), STILL, 1.0) == (
        "a picture shows nothing"
    )


def fails(_: np.ndarray) -> Any:
    raise TimeoutError("no frame within 500 ms")


FAULTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "frozen": (lambda _: noise(0).repeat(4, 0).repeat(4, 1), "a picture of wrist is the same though the arm moved"),
    "stuck": ((lambda kept: lambda picture: kept.setdefault(0, picture))({}), ""),
    "gone": (fails, ""),
    "dark": (np.zeros_like, "a picture of wrist shows nothing"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_policy_with_two_cameras_goes_on_only_with_both(two_cameras: Path, name: str) -> None:
    robot = TwoEyes()
    with flying(two_cameras, robot=robot) as (pilot, _):
        until(lambda: pilot.counts["targets"] >= 1 and pilot.fallback.mode == Mode.RUN, "moving")
        assert pilot.counts["refused"] == 0, pilot.refused_because
        begin = time.monotonic()
        robot.bent_joints = lambda r: replace(r, position=r.position + 0.3 * np.sin(time.monotonic() - begin))
        robot.cameras["wrist"].bent, because = FAULTS[name]
        until(lambda: pilot.fallback.mode >= Mode.HOLD and "no camera" in pilot.fallback.reason, "no camera")
        assert because == "" or pilot.refused_because == because
        robot.cameras["wrist"].bent = lambda picture: picture
        targets = pilot.counts["targets"]

        def moving() -> bool:
            if pilot.fallback.mode == Mode.STOP:  # on a busy machine
                pilot.resume()
            return pilot.counts["targets"] > targets and pilot.fallback.mode == Mode.RUN

        until(moving, "moving again")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["so100", "--calibration", "arm.json"],
            "front, wrist: name each once, as in --camera front=0 wrist=1, and not 0",
        ),
        (["sim"], "front, wrist, and the simulated robot has one"),
    ],
)
def test_the_script_says_which_cameras_it_wants(two_cameras: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "scripts/run_robot.py", "--policy", str(two_cameras), "--robot", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr == f"error: The policy has the cameras {message}.\n"


def test_cameras_are_named_or_there_is_but_one() -> None:
    assert camera_places(["0"], ["front"]) == {"front": "0"}
    assert camera_places(["/dev/a=b"], ["front"]) == {"front": "/dev/a=b"}
    assert camera_places(["front=/dev/video2"], ["front"]) == {"front": "/dev/video2"}
    assert camera_places(["wrist=/dev/video2", "front=0"], CAMERAS) == {"wrist": "/dev/video2", "front": "0"}


@pytest.mark.parametrize(
    "named",
    [
        "0",
        "0 1",
        "front=0",
        "front=0 front=1",
        "front=0 top=1",
        "front=0 wrist=0",
        "front=0 wrist=",
        "front=0 wrist=1 a=2",
    ],
)
def test_cameras_that_are_not_named_each_once_are_one_sentence(named: str) -> None:
    with pytest.raises(DeployError, match=r"has the cameras front, wrist: .* --camera front=0 wrist=1, and not "):
        camera_places(named.split(), CAMERAS)
