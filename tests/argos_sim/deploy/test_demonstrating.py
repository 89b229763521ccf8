"""Laws of who leads a robot: a leader is reached last, and let go where nothing comes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tasks  # noqa: F401
from argos_sim.deploy import demonstrating
from argos_sim.deploy.demonstrating import LEADER, Source, next_session
from argos_sim.deploy.live import Watched
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.robot_demos import record_dataset
from argos_wm.data.files import DatasetError
from tests.argos_sim.deploy.pilots import StandIn
from tests.argos_sim.deploy.test_motion import Hand, manifest
from tests.argos_sim.replay.made import policy_folder, record


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "leader.json").write_text("{}")
    return Source(LEADER, "/dev/nowhere", tmp_path / "leader.json")


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[Hand]:
    """The leaders that were reached."""
    met: list[Hand] = []

    def connected(*_: object) -> Hand:
        met.append(Hand())
        return met[-1]

    monkeypatch.setattr(demonstrating, "connected_leader", connected)
    return met


def test_no_leader_is_reached_for_a_session_that_is_refused(
    source: Source, reached: list[Hand], tmp_path: Path
) -> None:
    world = World.of(environment_cfg(Settings(), 1))
    folder, known = policy_folder(tmp_path / "policy", world)
    shutil.copytree(record(tmp_path / "made", world, steps=62), next_session(tmp_path / "robot.recordings"))

    def robot(_: PolicyManifest) -> StandIn:
        raise DeployError("The arm cannot be reached.")

    def session(log: Path, camera_file: Path | None = None) -> Watched:
        return Watched(folder, robot, log=log, make_pilot=source.pilot(known), camera_file=camera_file)

    with pytest.raises(DatasetError, match="was recorded without --camera-file"):
        record_dataset(tmp_path / "robot", lambda log: session(log, tmp_path / "camera.yaml"), 5, 32)
    with pytest.raises(DeployError, match="The arm cannot be reached"):
        record_dataset(tmp_path / "robot", session, 5, 32)
    assert not reached


def test_a_leader_is_let_go_where_it_or_the_robot_does_not_fit(source: Source, reached: list[Hand]) -> None:
    make = source.pilot(manifest())
    assert make is not None and not reached
    with pytest.raises(DeployError, match="The robot's joints are"):
        make(manifest(), StandIn(), None)
    other = source.pilot(manifest(("tail",), ((-1.0, 1.0),)))
    assert other is not None
    with pytest.raises(DeployError, match="The leader has no joint 'tail'"):
        other(manifest(), StandIn(), None)
    assert [hand.disconnected for hand in reached] == [True, True]


def test_a_leader_that_is_not_named_is_told_before_anything_is_reached(source: Source, tmp_path: Path) -> None:
    for wrong, message in (
        (Source(LEADER), "Say with --leader-calibration"),
        (Source(LEADER, "", tmp_path / "none.json"), "The leader's calibration .*none.json is missing"),
        (Source(LEADER, "", source.leader_calibration, ["tail"]), "There is no joint 'tail'"),
    ):
        with pytest.raises(DeployError, match=message):
            wrong.pilot(manifest())
