"""Laws of sight: pictures are doubted where they do not show the arm as it is read, and believed again once they do."""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argos_sim.deploy import opening
from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.manifest import DeployError, read_manifest
from argos_sim.deploy.senses import SenseSettings
from argos_sim.deploy.sight import MOST, PICTURES, SightCheck
from tests.argos_sim.deploy.pilots import StandIn, flying, until
from tests.argos_sim.deploy.test_cameras import TwoEyes
from tests.argos_sim.deploy.tiny import CAMERAS, Told, make_encoder, make_model, pictures, write

NOTHING = np.zeros((16, 4), np.float32)
WRONG = "the pictures do not show the arm where its joints are read"


class Seen:
    """In the place of the network: what it says next."""

    def __init__(self) -> None:
        self.angles: np.ndarray = np.zeros(3)

    def __call__(self, _: Any) -> list[np.ndarray]:
        return [self.angles[None]]


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def check(policy: Path, seen: Seen) -> SightCheck:
    check = SightCheck(policy, read_manifest(policy), 1.0)
    check._network = seen  # pyright: ignore[reportAttributeAccessIssue]
    return check


def test_only_pictures_that_are_wrong_for_long_are_doubted_and_not_for_ever(check: SightCheck, seen: Seen) -> None:
    here = np.array([0.5, -0.5, 0.0])
    seen.angles = here
    assert [check.refuses(NOTHING, here) for _ in range(PICTURES)] == [""] * PICTURES
    seen.angles = here + np.array([1.5, 1.5, 0.0])
    told = [check.refuses(NOTHING, here) for _ in range(PICTURES)]
    first = told.index(WRONG)
    assert first == 4, "their mean square of 2.25 is above 1 once five of ten have it"
    assert set(told[first:]) == {WRONG}
    seen.angles = here
    told = [check.refuses(NOTHING, here) for _ in range(PICTURES)]
    assert told[0] == WRONG and told[-1] == ""


def test_one_picture_alone_decides_nothing(check: SightCheck, seen: Seen) -> None:
    for _ in range(PICTURES - 1):
        assert check.refuses(NOTHING, np.zeros(3)) == ""
    seen.angles = np.full(3, 100.0)
    assert MOST / PICTURES < 1 and check.refuses(NOTHING, np.zeros(3)) == ""
    assert check.refuses(NOTHING, np.zeros(3)) == WRONG


def test_a_joint_that_is_not_known_and_a_posture_that_was_not_learned_are_not_judged(
    check: SightCheck, seen: Seen
) -> None:
    seen.angles = np.array([0.0, 0.0, 2.9])
    assert not any(check.refuses(NOTHING, np.zeros(3)) for _ in range(2 * PICTURES)), "the last joint is not known"
    seen.angles = np.array([-2.9, -2.9, 0.0])
    far = np.array([3.1, 0.0, 0.0])
    assert not any(check.refuses(NOTHING, far) for _ in range(2 * PICTURES)), "no angle like this was learned"
    assert any(check.refuses(NOTHING, far - np.array([0.2, 0.0, 0.0])) for _ in range(PICTURES))


def test_a_beginning_forgets_what_was_seen(check: SightCheck, seen: Seen) -> None:
    seen.angles = np.full(3, 2.0)
    assert any(check.refuses(NOTHING, np.zeros(3)) for _ in range(PICTURES))
    check.reset()
    assert check.refuses(NOTHING, np.zeros(3)) == ""


def test_pictures_are_believed_where_nobody_wants_to_doubt_them(policy: Path) -> None:
    robot = StandIn()
    robot.bent_frame = lambda frame: replace(frame, pictures=tuple(p // 8 for p in frame.pictures))
    with flying(policy, robot=robot, senses=SenseSettings(sight=None)) as (pilot, _):
        until(lambda: pilot.counts["frames"] > PICTURES + 5, "so many pictures")
        assert WRONG not in pilot.refused_because
    with flying(policy, robot=robot) as (pilot, _):
        until(lambda: pilot.refused_because == WRONG, "doubt")


def test_a_policy_that_does_not_say_what_its_sight_knows_is_refused(policy: Path) -> None:
    manifest = replace(read_manifest(policy), sight=None)
    with pytest.raises(DeployError, match="does not say what its sight knows"):
        SightCheck(policy, manifest, 1.0)


def test_cameras_that_were_swapped_stop_the_arm(tmp_path: Path) -> None:
    """A bright front and a dark wrist were learned."""
    encoder, shown = make_encoder(CAMERAS), pictures(300, 2)
    shown[:, 1] //= 4
    write(tmp_path / "policy", encoder, make_model(encoder), sight=Told(encoder, shown, shown.flip(1)))
    robot = TwoEyes()
    robot.cameras["wrist"].bent = lambda picture: picture // 4
    with flying(tmp_path / "policy", robot=robot) as (pilot, _):
        until(lambda: pilot.counts["frames"] > PICTURES + 5 and pilot.counts["targets"] >= 1, "moving")
        assert WRONG not in pilot.refused_because
        robot.cameras["front"].bent, robot.cameras["wrist"].bent = robot.cameras["wrist"].bent, lambda picture: picture
        until(lambda: pilot.fallback.mode == Mode.STOP, "a stop")
        assert "no camera" in pilot.fallback.reason and pilot.refused_because == WRONG


@pytest.mark.parametrize("script", ["run_robot.py", "record.py"])
@pytest.mark.parametrize("limit", ["0", "-1", "nan", "much"])
def test_a_limit_that_is_none_is_refused(script: str, limit: str) -> None:
    more = [] if script == "run_robot.py" else ["made", "--source", "policy"]
    command = [sys.executable, f"scripts/{script}", *more, f"--sight-limit={limit}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--sight-limit" in done.stderr and "Traceback" not in done.stderr


def test_the_scripts_limit_is_what_a_pilot_doubts_by() -> None:
    parser = argparse.ArgumentParser()
    opening.add_sight(parser)
    for given, meant in (([], 1.0), (["--sight-limit", "2.5"], 2.5), (["--sight-limit", "inf"], None)):
        assert opening.sense_settings(parser.parse_args(given)) == SenseSettings(sight=meant)
