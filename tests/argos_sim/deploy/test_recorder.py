"""Laws of the recording: every step is there, a torn-off file is read, and a bad disk stops nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from argos_sim.deploy.live import Watched
from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.recorder import BLOCK, STEPS, Recorder, read_steps, require_new
from tests.argos_sim.deploy.pilots import StandIn


def filled(folder: Path, count: int) -> Recorder:
    recorder = Recorder(folder, 3, {"policy": "mine"})
    for i in range(count):
        recorder.add(time=float(i), mode=i % 4, position=np.full(3, i), plan=i)
    return recorder


@pytest.mark.parametrize("count", [0, 1, BLOCK, 3 * BLOCK + 7])
def test_every_step_is_read_again(tmp_path: Path, count: int) -> None:
    filled(tmp_path, count).close()
    steps = read_steps(tmp_path)
    assert steps["time"].tolist() == list(range(count)) and steps["plan"].tolist() == list(range(count))
    assert np.array_equal(steps["position"], np.arange(count)[:, None].repeat(3, 1))
    assert not steps["sent"].any(), "what was left out is zero"


def test_a_record_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    filled(tmp_path, 10).close()
    path = tmp_path / STEPS
    path.write_bytes(path.read_bytes()[:-5])
    assert len(read_steps(tmp_path)) == 9


def test_a_disk_that_takes_nothing_is_told_and_stops_nobody(tmp_path: Path) -> None:
    recorder = filled(tmp_path, 0)

    class Full:
        def write(self, block: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            """Nothing is open."""

    recorder._file.close()
    recorder._file = Full()  # pyright: ignore[reportAttributeAccessIssue]
    for i in range(4 * BLOCK):
        recorder.add(time=float(i))
    recorder.close()
    assert recorder.problem is not None and "No space left" in recorder.problem


def test_a_recording_is_not_written_over(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 3, {})
    recorder.add(time=1.0)
    recorder.close()
    with pytest.raises(ValueError, match="There is a recording in .* already"):
        Recorder(tmp_path, 3, {})
    assert len(read_steps(tmp_path)) == 1


def test_a_folder_that_cannot_be_made_is_refused_before_a_robot_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
        with pytest.raises(ValueError, match="file is no folder that may be written to"):
            require_new(folder)
    require_new(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_no_recording_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no recording in"):
        read_steps(tmp_path)


def test_a_recording_that_nobody_moved_for_leaves_nothing_but_what_is_others(tmp_path: Path) -> None:
    Recorder(tmp_path / "new", 3, {}).discard()
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine.txt").write_text("mine")
    Recorder(tmp_path / "old", 3, {}).discard()
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["mine.txt"]


def test_a_session_whose_pilot_cannot_be_made_leaves_no_recording(policy: Path, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise DeployError("The leader cannot be reached.")

    robot = StandIn()
    watched = Watched(policy, lambda _: robot, log=tmp_path / "log", make_pilot=refuse)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DeployError, match="The leader cannot be reached"):
        watched.__enter__()
    assert robot.closed and not (tmp_path / "log").exists()
