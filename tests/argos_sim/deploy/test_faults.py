"""Every fault of the list in docs/deployment.md ends in the state that the list says, within its time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import queue
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argos_sim.deploy.fallback import Mode, Patience
from argos_sim.deploy.manifest import FORMAT_VERSION, DeployError
from argos_sim.deploy.pilot import Pilot
from argos_sim.deploy.recorder import Recorder
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.paths import ROOT
from tests.argos_sim.deploy.pilots import FALLBACK, StandIn, first, flying, until
from tests.argos_sim.deploy.tiny import SIZE

SLACK_S = 3.0
"""Beyond a fault's time, on a machine that does other things, too."""
OFTEN = 1.0
"""How long a fault that stops nobody is borne [s]."""


@dataclass(frozen=True)
class Fault:
    """What breaks while the policy moves the arm, and what comes of it."""

    act: Callable[[Pilot, StandIn], object]
    ends: Mode = Mode.STOP
    waits_for: str = ""
    """What is missing then, one of ``FallbackSettings``' patiences; an empty text for at once."""
    because: str = ""
    """Part of the reason that is given."""
    mended: bool = True
    """Whether all can be well again, by ``StandIn.mend`` and ``mend``."""
    mend: Callable[[Pilot], object] = lambda _: None


def joints(bend: Callable[[JointReading], JointReading | None]) -> Callable[[Pilot, StandIn], None]:
    return lambda _, robot: setattr(robot, "bent_joints", bend)


def frames(bend: Callable[[Frame], Frame | None]) -> Callable[[Pilot, StandIn], None]:
    return lambda _, robot: setattr(robot, "bent_frame", bend)


def painted(paint: Callable[[np.ndarray], np.ndarray]) -> Callable[[Pilot, StandIn], None]:
    return frames(lambda frame: replace(frame, pictures=tuple(paint(p) for p in frame.pictures)))


def now_and_then[T](bend: Callable[[T], T | None], every: int) -> Callable[[T], T | None]:
    count = [0]

    def bent(value: T) -> T | None:
        count[0] += 1
        return bend(value) if count[0] % every == 0 else value

    return bent


def fails(*_: object) -> Any:
    raise OSError(errno.EIO, "the bus does not answer")


def later(seconds: float) -> Callable[[Any], Any]:
    """Takes its time."""

    def bent(value: Any) -> Any:
        time.sleep(seconds)
        return value

    return bent


def frozen(_: Pilot, robot: StandIn) -> None:
    """The same picture with new times, while the arm turns."""
    pictures, begun = robot._newest.pictures, time.monotonic()
    robot.bent_frame = lambda frame: replace(frame, pictures=pictures)
    robot.bent_joints = lambda r: replace(r, position=r.position + 0.3 * np.sin(time.monotonic() - begun))


def away_and_back(_: Pilot, robot: StandIn) -> None:
    """Nothing was read for a while in which the arm sank as far as it could."""
    back = time.monotonic() + 0.4
    robot.bent_joints = lambda r: None if r.time < back else replace(r, position=r.position + 0.5)


def signalled(pilot: Pilot, kind: signal.Signals) -> None:
    os.kill(pilot.planning.pid or 0, kind)


def targeted(**changed: Any) -> Callable[[Pilot, StandIn], None]:
    """Every further target is changed so."""

    def act(pilot: Pilot, _: StandIn) -> None:
        target = pilot.planning.target

        def bent(after: int = 0) -> tuple[int, dict[str, Any]] | None:
            newest = target(after)
            return None if newest is None else (newest[0], {k: v + changed.get(k, 0) for k, v in newest[1].items()})

        pilot.planning.target = bent

    return act


def own_targets(pilot: Pilot) -> None:
    del pilot.planning.target


def refuse(*_: Any) -> np.ndarray:
    raise ValueError("the controller's torque is not finite")


def bus_that_takes_nothing(pilot: Pilot, robot: StandIn) -> None:
    robot.bent_torque = fails


def disk(pilot: Pilot, error: OSError | None) -> None:
    """The recording's disk fails, or never ends."""
    assert pilot.recorder is not None

    class Disk:
        def write(self, block: bytes) -> None:
            if error is None:
                time.sleep(60.0)
            else:
                raise error

        def close(self) -> None:
            """Nothing is open."""

    pilot.recorder._file.close()
    pilot.recorder._file = Disk()  # pyright: ignore[reportAttributeAccessIssue]


def policy_gone(pilot: Pilot, _: StandIn) -> None:
    shutil.rmtree(pilot.folder)


RUNNING = {
    "joints are silent": Fault(joints(lambda _: None), waits_for="joints", because="no joints"),
    "joints are stuck": Fault(joints(first()), waits_for="joints", because="no joints"),
    "joints are not numbers": Fault(joints(lambda r: replace(r, position=r.position * np.nan)), waits_for="joints"),
    "a joint is missing": Fault(joints(lambda r: replace(r, position=r.position[:2])), waits_for="joints"),
    "a joint jumps for good": Fault(
        joints(lambda r: replace(r, position=r.position + 0.6)), waits_for="joints", because="no joints"
    ),
    "a joint jumps now and then": Fault(
        joints(now_and_then(lambda r: replace(r, position=r.position + 0.6), 9)), Mode.RUN
    ),
    "a joint is read far outside its range": Fault(
        joints(lambda r: replace(r, position=r.position + 5.0)), waits_for="joints"
    ),
    "a joint's speed cannot be": Fault(joints(lambda r: replace(r, velocity=r.velocity - 100.0)), waits_for="joints"),
    "the robot's clock is ahead": Fault(joints(lambda r: replace(r, time=r.time + 60.0)), waits_for="joints"),
    "the robot's clock is behind": Fault(joints(lambda r: replace(r, time=r.time - 60.0)), waits_for="joints"),
    "joints are read too late": Fault(joints(lambda r: replace(r, time=r.time - 0.7)), Mode.HOLD, "joints"),
    "a read-out is missed now and then": Fault(joints(now_and_then(lambda _: None, 3)), Mode.RUN),
    "reading the bus fails": Fault(joints(fails), because="the bus does not answer"),
    "writing to the bus fails": Fault(bus_that_takes_nothing, because="the bus does not answer"),
    "the driver hangs": Fault(joints(later(4.0)), waits_for="loop", because="hung"),
    "the driver hangs when it is told": Fault(
        lambda _, robot: setattr(robot, "bent_torque", later(4.0)), waits_for="loop", because="hung"
    ),
    "joints come back elsewhere after a silence": Fault(away_and_back, Mode.RUN),
    "every control step is late": Fault(joints(later(0.15)), waits_for="loop", because="no step in time"),
    "a control step is late once": Fault(joints(now_and_then(later(0.15), 40)), Mode.RUN),
    "the camera is silent": Fault(frames(lambda _: None), waits_for="camera", because="no camera"),
    "the camera is stuck": Fault(frames(first()), waits_for="camera", because="no camera"),
    "the camera is frozen and says that it is not": Fault(frozen, waits_for="camera", because="no camera"),
    "the camera is black": Fault(painted(np.zeros_like), waits_for="camera", because="no camera"),
    "the camera has no signal": Fault(
        painted(lambda p: np.full_like(p, (0, 0, 255))), waits_for="camera", because="no camera"
    ),
    "the camera is blinded": Fault(painted(lambda p: np.full_like(p, 255)), waits_for="camera", because="no camera"),
    "pictures have another size": Fault(painted(lambda p: p[: SIZE // 2]), Mode.RUN),
    "pictures have no colours": Fault(painted(lambda p: p[..., 0]), waits_for="camera", because="no camera"),
    "pictures are not of bytes": Fault(painted(lambda p: p.astype(float)), waits_for="camera", because="no camera"),
    "pictures are of the future": Fault(frames(lambda f: replace(f, time=f.time + 60.0)), waits_for="camera"),
    "pictures are late, and plans with them": Fault(
        frames(lambda f: replace(f, time=f.time - 1.1)), waits_for="plan", because="no plan"
    ),
    "a camera has no picture now and then": Fault(frames(now_and_then(lambda _: None, 3)), Mode.RUN),
    "the camera shows another place": Fault(painted(lambda p: p // 8), waits_for="camera", because="no camera"),
    "reading the camera fails": Fault(frames(fails), waits_for="camera", because="no camera"),
    "the planner is killed": Fault(
        lambda pilot, _: signalled(pilot, signal.SIGKILL), waits_for="plan", because="no plan", mended=False
    ),
    "the planner hangs": Fault(
        lambda pilot, _: signalled(pilot, signal.SIGSTOP),
        waits_for="plan",
        because="no plan",
        mend=lambda pilot: signalled(pilot, signal.SIGCONT),
    ),
    "targets are not numbers": Fault(targeted(vision=np.nan), waits_for="plan", because="no plan", mend=own_targets),
    "targets are for another time": Fault(targeted(due=60.0), waits_for="plan", because="no plan", mend=own_targets),
    "targets come too late": Fault(targeted(due=-0.75), waits_for="plan", because="no plan", mend=own_targets),
    "the controller gives no torque": Fault(
        lambda pilot, _: setattr(pilot.controller, "step", refuse),
        waits_for="plan",
        because="no plan",
        mend=lambda pilot: delattr(pilot.controller, "step"),
    ),
    "the disk is full": Fault(
        lambda pilot, _: disk(pilot, OSError(errno.ENOSPC, "No space left")), Mode.RUN, mended=False
    ),
    "the disk hangs": Fault(lambda pilot, _: disk(pilot, None), Mode.RUN, mended=False),
    "the policy's files are deleted": Fault(policy_gone, Mode.RUN, mended=False),
    "somebody says stop": Fault(lambda pilot, _: pilot.stop("by hand"), because="by hand"),
    "the file for stops appears": Fault(
        lambda pilot, _: stop_file(pilot).touch(), because="is there", mend=lambda pilot: stop_file(pilot).unlink()
    ),
}


@contextmanager
def started(policy: Path, folder: Path) -> Iterator[tuple[Pilot, StandIn]]:
    copy = Path(shutil.copytree(policy, folder / "policy"))
    with flying(copy, recorder=Recorder(folder / "log", 3, {}), stop_file=folder / "stop") as pair:
        yield pair


@pytest.fixture(scope="module")
def one_for_all(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pilot, StandIn]]:
    with started(policy, tmp_path_factory.mktemp("flown")) as pair:
        yield pair


@pytest.mark.parametrize("name", [name for name, fault in RUNNING.items() if fault.mended])
def test_a_fault_while_the_policy_moves_the_arm(one_for_all: tuple[Pilot, StandIn], name: str) -> None:
    pilot, robot = one_for_all
    try:
        ends_as_listed(pilot, robot, name)
        robot.mend()
        RUNNING[name].mend(pilot)
        if RUNNING[name].ends == Mode.STOP:
            time.sleep(0.1)
            assert pilot.fallback.mode == Mode.STOP, "until somebody says so"
            if RUNNING[name].waits_for == "loop":  # it goes on by itself only once what hung came back
                until(lambda: time.monotonic() - pilot.watchdog.in_time_at < 0.1, "steps in time")
            move(pilot)
    finally:  # the next fault's turn, whatever became of this one
        robot.mend()
        pilot.resume()


@pytest.mark.parametrize("name", [name for name, fault in RUNNING.items() if not fault.mended])
def test_a_fault_that_nobody_mends(policy: Path, tmp_path: Path, name: str) -> None:
    with started(policy, tmp_path) as (pilot, robot):
        ends_as_listed(pilot, robot, name)
        check_that_nothing_was_lost(pilot, name)


def move(pilot: Pilot) -> None:
    """Resume, on a busy machine more than once, until the policy moves the arm."""
    targets = pilot.counts["targets"]

    def moving() -> bool:
        if pilot.fallback.mode == Mode.STOP:
            pilot.resume()
        return pilot.counts["targets"] > targets and pilot.fallback.mode == Mode.RUN

    until(moving, "moving")


def ends_as_listed(pilot: Pilot, robot: StandIn, name: str) -> None:
    fault = RUNNING[name]
    move(pilot)
    seen: list[Mode] = []

    def now() -> Mode:
        if not seen or seen[-1] != pilot.fallback.mode:
            seen.append(pilot.fallback.mode)
        return pilot.fallback.mode

    begin, count = time.monotonic(), len(robot.sent)
    fault.act(pilot, robot)
    if fault.ends == Mode.RUN:
        until(lambda: now() > Mode.HOLD or time.monotonic() > begin + OFTEN, "time")
        assert max(seen) <= Mode.HOLD, pilot.fallback.reason
        until(lambda: now() == Mode.RUN, "going on")
        return
    until(lambda: now() >= fault.ends, "the state that the list says")
    patience: Patience | None = getattr(FALLBACK, fault.waits_for) if fault.waits_for else None
    limit = 0.0 if patience is None else patience.hold if fault.ends == Mode.HOLD else patience.stop
    # A plan is waited for from when the last target was due, up to a planner period from now, and one of grace.
    grace = 2 * pilot.period if fault.waits_for == "plan" else 0.0
    assert time.monotonic() - begin < limit + grace + SLACK_S
    assert fault.because in pilot.fallback.reason
    if fault.ends == Mode.HOLD:
        until(lambda: now() > Mode.HOLD or time.monotonic() > begin + limit + OFTEN, "time")
        assert pilot.fallback.mode == Mode.HOLD
        return
    if fault.waits_for in ("joints", "camera", "plan"):
        assert [mode for mode in seen if mode > Mode.RUN] == [Mode.HOLD, Mode.DAMP, Mode.STOP]
    sent = robot.sent[count:]
    assert np.isfinite(sent).all() and (not sent or np.abs(sent).max() <= 2.0)
    if name != "writing to the bus fails":  # then nothing can be sent
        count = len(robot.sent)
        until(lambda: len(robot.sent) > count + 5, "more steps")
        assert not np.any(robot.sent[count + 1 :]), "a stopped arm gets no torque, and goes on being told so"


def stop_file(pilot: Pilot) -> Path:
    assert pilot.settings.stop_file is not None
    return pilot.settings.stop_file


def check_that_nothing_was_lost(pilot: Pilot, name: str) -> None:
    """Those faults that only spoil a recording are told."""
    recorder = pilot.recorder
    assert recorder is not None
    if name == "the disk is full":
        until(lambda: "No space left" in (recorder.problem or ""), "a word about it")
    if name == "the disk hangs":
        with contextlib.suppress(queue.Full):
            while True:  # as a run of minutes would
                recorder._blocks.put_nowait(b"")
        until(lambda: recorder.problem == "the disk is too slow", "a word about it")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def rewritten(old: str, new: str) -> Callable[[Path], object]:
    def act(folder: Path) -> None:
        path = folder / "policy.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return act


def other_world(folder: Path) -> None:
    (folder / "world.json").write_text('{"aperture": 20.0}')
    rewritten("world_sha256: null", f"world_sha256: {hashlib.sha256(b'{}').hexdigest()}")(folder)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a model file is cut off": (lambda folder: cut_off(folder / "planner_flow.onnx"), "planner_flow.onnx is not"),
    "a model file is another's": (
        lambda folder: shutil.copy(folder / "joints.onnx", folder / "controller.onnx"),
        "controller.onnx is not",
    ),
    "a model file is missing": (lambda folder: (folder / "vision.onnx").unlink(), "vision.onnx"),
    "policy.yaml is cut off": (lambda folder: cut_off(folder / "policy.yaml"), "policy.yaml"),
    "policy.yaml is of another format": (rewritten(f"format_version: {FORMAT_VERSION}", "format_version: 99"), "99"),
    "policy.yaml has a limit that is none": (rewritten("- [-1.0, 1.0]", "- [.nan, 1.0]"), "joint_limits"),
    "policy.yaml is missing": (lambda folder: (folder / "policy.yaml").unlink(), "policy.yaml"),
    "world.json is another's": (other_world, "world.json is not the world that policy.yaml describes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_damaged_policy_is_refused_before_anything_moves(policy: Path, tmp_path: Path, name: str) -> None:
    copy, robot = Path(shutil.copytree(policy, tmp_path / "policy")), StandIn()
    act, sentence = REFUSED[name]
    act(copy)
    with pytest.raises(DeployError, match=re.escape(sentence)):
        Pilot(copy, robot)
    assert robot.sent == []


def test_the_list_in_the_docs_is_the_list_that_is_tested() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    listed = dict(re.findall(r"^\| ([^|]+?) \| (goes on|holds|stops|refused)[^|]* \|", text, re.MULTILINE))
    words = {Mode.RUN: "goes on", Mode.HOLD: "holds", Mode.STOP: "stops"}
    tested = {name: words[fault.ends] for name, fault in RUNNING.items()} | dict.fromkeys(REFUSED, "refused")
    tested["cameras are swapped"] = words[Mode.STOP]  # in test_sight.py, which has two
    assert {name: listed.get(name) for name in tested} == tested
    assert len(tested) >= 25
