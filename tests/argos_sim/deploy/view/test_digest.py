"""Laws of what people are told: it is what the steps say, and what happened is told once."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.pilot import Target
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.deploy.safety import RULES
from argos_sim.deploy.telemetry import COUNTS, LONGEST_REASON, SIDE, Telemetry, reduced, words
from argos_sim.deploy.view.digest import QUIET_S, Digest
from argos_sim.deploy.view.terminal import cut, line, view

MANIFEST = PolicyManifest(
    spec={},
    joint_names=("pan", "lift", "grip"),
    joint_limits=((-1.0, 1.0),) * 3,
    torque_limits=(2.0,) * 3,
    velocity_limits=(4.0,) * 3,
    rates={"physics_hz": 200, "control_hz": 50, "camera_hz": 10, "planner_period_s": 0.8},
    history=0,
    action_scale=(2.0,) * 3,
)
AGES = {"joints": 0.01, "camera": 0.08, "plan": -0.3}
TARGET = Target(np.zeros(0), np.zeros(0), np.array([0.4, 0.0, -0.4]), due=100.5, number=7)
TORQUES = np.array([0.5, 0.0, -3.0]), np.array([0.5, 0.0, -2.0])


class Loop:
    """A control loop of which somebody is told."""

    def __init__(self, manifest: PolicyManifest = MANIFEST) -> None:
        self.telemetry = Telemetry(manifest)
        self.digest = Digest(self.telemetry, manifest)
        self.now = 100.0
        self.pilot = SimpleNamespace(
            encoded=SimpleNamespace(newest=0.003),
            planned=SimpleNamespace(newest=0.04),
            fallback=SimpleNamespace(mode=Mode.RUN, reason=""),
            guard=SimpleNamespace(acted=np.zeros((len(RULES), 3), bool)),
            text="touch the red block",
            refused_because="",
            counts=dict.fromkeys(COUNTS, 0),
        )

    def step(self, count: int = 1, took: float = 0.001, reading: Any = (0.1, 0.0, -0.1), target: Any = TARGET) -> None:
        for _ in range(count):
            felt = None if reading is None else JointReading(np.array(reading), np.full(3, 0.5), self.now)
            pilot: Any = self.pilot
            self.telemetry.step(pilot, self.now, (0.0001, took), AGES, felt, TORQUES, target)
            self.now += 0.02

    def state(self) -> dict[str, Any]:
        self.digest.update()
        state = self.digest.state()
        assert state is not None
        json.dumps(state, allow_nan=False)
        return state

    def told(self) -> list[str]:
        return [event["text"] for event in self.state()["events"]]


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_before_the_first_step_there_is_nothing_to_tell(loop: Loop) -> None:
    loop.digest.update()
    assert loop.digest.state() is None


def test_what_is_told_is_what_the_steps_were(loop: Loop) -> None:
    for i in range(40):
        loop.pilot.counts |= {"frames": i // 5, "targets": i // 40}
        loop.step(took=0.001 * (1 + i % 2))
    state = loop.state()
    joints = state["joints"]
    assert joints["position"] == pytest.approx([0.1, 0.0, -0.1]) and joints["target"] == pytest.approx([0.4, 0.0, -0.4])
    assert joints["wanted"] == [0.5, 0.0, -3.0] and joints["sent"] == [0.5, 0.0, -2.0]
    assert (state["mode"], state["text"], state["plan"], state["steps"]) == ("RUN", "touch the red block", 7, 40)
    assert state["ages"] == pytest.approx(AGES) and state["time_to_go"] == pytest.approx(100.5 - loop.now + 0.02)
    assert state["rates"]["control"] == pytest.approx([50, 50]) and state["rates"]["planner"][1] == pytest.approx(1.25)
    assert state["rates"]["camera"] == pytest.approx([7 / 0.78, 10])
    assert state["latencies"]["step"] == pytest.approx([1.5, 2.0]) and state["latencies"]["late"][0] < 0.11
    assert state["latencies"]["encode"] == pytest.approx([3.0, 3.0]) and state["latencies"]["plan"] == [None, None]
    assert state["time"] == pytest.approx(39 * 0.02)


def test_the_past_of_the_joints_is_kept_ten_times_a_second_for_twenty_seconds(loop: Loop) -> None:
    for i in range(300):
        loop.step(5, reading=(i / 1000, 0.0, 0.0))
        loop.digest.update()
    past = [each["position"][0] for each in loop.digest.past]
    assert past == pytest.approx([i / 1000 for i in range(100, 300)], abs=1e-5)
    assert loop.digest.past[-1]["target"] == pytest.approx([0.4, 0.0, -0.4])


def test_steps_that_were_overwritten_before_anybody_looked_are_missed_by_nobody(loop: Loop) -> None:
    loop.step()
    loop.state()
    loop.step(500)
    state = loop.state()
    assert state["steps"] == 501 and state["rates"]["control"][0] == pytest.approx(50)


def test_what_is_not_known_is_none(loop: Loop) -> None:
    loop.step(reading=None, target=None)
    state = loop.state()
    assert state["joints"]["position"] == [None] * 3 and state["joints"]["target"] == [None] * 3
    assert state["time_to_go"] is None and state["plan"] == 0 and state["rates"]["control"][0] is None
    assert "-" in view(state)[-6] and "RUN" in line(state)


def test_a_mode_that_changes_is_told_once_with_its_reason(loop: Loop) -> None:
    loop.step(10)
    for age in (0.36, 0.38):
        loop.pilot.fallback.mode, loop.pilot.fallback.reason = Mode.HOLD, f"no camera for {age} s"
        loop.step(5)
    loop.pilot.fallback.mode, loop.pilot.fallback.reason = Mode.RUN, ""
    loop.step(5)
    assert loop.told() == ["asked: touch the red block", "HOLD: no camera for 0.36 s", "RUN"]
    assert loop.state()["events"][1]["at"] == pytest.approx(0.2)


def test_what_goes_on_is_one_event_and_counted(loop: Loop) -> None:
    loop.step()
    for _ in range(3):
        loop.pilot.counts["missed"] += 2
        loop.step()
    loop.pilot.counts["refused"], loop.pilot.refused_because = 1, "a joint jumped"
    loop.step()
    assert loop.told()[1:] == ["a deadline was missed", "refused: a joint jumped"]
    assert loop.state()["events"][1]["times"] == 6
    loop.step(round(QUIET_S / 0.02) + 1)
    loop.pilot.counts["missed"] += 1
    loop.step()
    assert loop.told()[1:] == ["a deadline was missed", "refused: a joint jumped", "a deadline was missed"]


def test_the_guards_interventions_are_counted_by_joint_and_rule_and_told_when_they_begin(loop: Loop) -> None:
    loop.step()
    loop.pilot.guard.acted[RULES.index("range"), 1] = True
    loop.step(30)
    loop.pilot.guard.acted[:] = False
    loop.step(round(QUIET_S / 0.02) + 1)
    loop.pilot.guard.acted[RULES.index("range"), 1:] = True
    loop.step(2)
    steps = np.array(loop.state()["guard"]["steps"])
    assert steps.sum() == 34 and steps[RULES.index("range")].tolist() == [0, 32, 2]
    assert loop.told()[1:] == ["guard, range: lift", "guard, range: lift, grip"]


def test_texts_cross_whole_or_cut_off_and_obey_nobody(loop: Loop) -> None:
    loop.pilot.fallback.reason = "ä" * LONGEST_REASON
    loop.pilot.text = "red\x1b[2J block"
    loop.step()
    state = loop.state()
    assert state["reason"] == "ä" * (LONGEST_REASON // 2) and state["text"] == "red [2J block"
    assert words("gerötet".encode()[:4]) == "ger"
    assert not any("\x1b" in each.replace("\x1b[0m", "").replace("\x1b[1;32m", "") for each in view(state))


def test_the_terminals_view_names_modes_joints_errors_and_the_last_events(loop: Loop) -> None:
    loop.pilot.guard.acted[RULES.index("speed"), 2] = True
    loop.step(3)
    lines = view(loop.state())
    assert "RUN" in lines[0] and "touch the red block" in lines[0]
    grip = next(each for each in lines if each.startswith("grip"))
    assert grip.split()[1:4] == ["-0.10", "-0.40", "-0.30"] and grip.endswith("speed 3")
    assert lines[-5:-3] == ["     0.0 s  asked: touch the red block", "     0.0 s  guard, speed: grip"]
    assert len(lines) == len(view(with_many_events()))


def with_many_events() -> dict[str, Any]:
    loop = Loop()
    for i in range(9):
        loop.pilot.text = f"touch {i}"
        loop.step()
    return loop.state()


def test_a_line_is_cut_where_it_is_seen_to_end() -> None:
    assert cut("\x1b[1;32mRUN\x1b[0m and more", 5) == "\x1b[1;32mRUN\x1b[0m a\x1b[0m"
    assert cut("short", 80) == "short" and cut("x" * 90, 80) == "x" * 80


@pytest.mark.parametrize(("shape", "side"), [((480, 640), 240), ((64, 64), 64), ((97, 61), 61), ((1080, 1920), 216)])
def test_pictures_for_people_are_the_central_square_and_small(shape: tuple[int, int], side: int) -> None:
    picture = np.arange(shape[0] * shape[1] * 3, dtype=np.uint32).reshape(*shape, 3).astype(np.uint8)
    small = reduced(picture)
    assert small.shape == (side, side, 3) and side <= SIDE
    top, left = (shape[0] - min(shape)) // 2, (shape[1] - min(shape)) // 2
    assert np.array_equal(small[0, 0], picture[top, left])


def test_pictures_that_cannot_be_shown_are_left_out_and_the_others_shown() -> None:
    manifest = replace(MANIFEST, spec={"cameras": ["front", "wrist"]})
    telemetry, good = Telemetry(manifest, pictures=True), np.full((32, 48, 3), 7, np.uint8)
    assert telemetry.pictures is not None
    for bad in (good[..., 0], good.astype(float), good[:0]):
        telemetry.saw(Frame((bad, good), 1.0))
        _, value = telemetry.pictures.read() or (0, {})
        assert value["sizes"].tolist() == [[0, 0], [32, 32]] and (value["pictures"][1, :32, :32] == 7).all()
    Telemetry(manifest).saw(Frame((good, good), 1.0))
