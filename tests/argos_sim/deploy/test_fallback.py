"""Laws of what is done where something is late: in its order, each in its time, and back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from argos_sim.deploy.fallback import MISSING, Fallback, FallbackSettings, Mode, Patience

SETTINGS = FallbackSettings()
FINE = {"joints": 0.01, "camera": 0.05, "plan": -0.4, "loop": 0.0}
SOURCES = ("joints", "camera", "plan", "loop")


def made() -> Fallback:
    return Fallback(SETTINGS, 50.0)


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_is_waited_for_as_long_as_its_patience_says(source: str) -> None:
    patience: Patience = getattr(SETTINGS, source)
    for age, mode in (
        (0.99 * patience.hold, Mode.RUN), (1.01 * patience.hold, Mode.HOLD), (1.01 * patience.damp, Mode.DAMP),
        (1.01 * patience.stop, Mode.STOP), (math.inf, Mode.STOP), (math.nan, Mode.STOP),
    ):  # fmt: skip
        fallback = made()
        assert fallback.decide(**FINE | {source: age}) == mode, age
        assert (MISSING[source] in fallback.reason) == (mode > Mode.RUN)


@pytest.mark.parametrize("source", SOURCES)
def test_what_comes_back_in_time_lets_the_policy_go_on_and_what_does_not_needs_somebody(source: str) -> None:
    fallback, patience = made(), getattr(SETTINGS, source)
    for late in (patience.hold, patience.damp):
        assert fallback.decide(**FINE | {source: 1.01 * late}) > Mode.RUN
        assert fallback.decide(**FINE) == Mode.RUN and fallback.reason == ""
    fallback.decide(**FINE | {source: 1.01 * patience.stop})
    assert fallback.decide(**FINE) == Mode.STOP
    fallback.resume()
    assert fallback.decide(**FINE) == Mode.RUN


def test_the_worst_source_decides() -> None:
    assert made().decide(joints=0.1, camera=3.0, plan=0.0, loop=0.0) == Mode.DAMP
    assert made().decide(joints=2.0, camera=3.0, plan=0.3, loop=0.0) == Mode.STOP


def test_the_arm_is_held_where_it_was_by_what_it_lately_needed() -> None:
    fallback = made()
    for _ in range(100):
        fallback.moved(np.array([1.0, -2.0]))
    fallback.decide(**FINE | {"camera": 1.0})
    start, still = np.array([0.3, 0.4]), np.zeros(2)
    assert fallback.torque(start, still, 2).tolist() == pytest.approx([1.0, -2.0])
    sunk = fallback.torque(start + np.array([0.1, 0.0]), still, 2)
    assert sunk.tolist() == pytest.approx([1.0 - 0.1 * SETTINGS.stiffness, -2.0]), "back to where it was first held"
    moving = fallback.torque(start, np.array([0.0, 1.0]), 2)
    assert moving.tolist() == pytest.approx([1.0, -2.0 - SETTINGS.damping])
    assert fallback.torque(None, None, 2).tolist() == pytest.approx([1.0, -2.0]), "blind, by gravity's torque alone"
    fallback.moved(np.array([1.0, -2.0]))
    assert fallback.torque(start + 1.0, still, 2).tolist() == pytest.approx([1.0, -2.0]), "held at another place"


def test_after_damping_the_arm_is_held_where_it_is_by_then() -> None:
    fallback, start, still = made(), np.array([0.3, 0.4]), np.zeros(2)
    torque = np.ones(2)
    for age, place in ((1.0, start), (3.0, start - 0.3), (1.0, start - 0.6)):
        fallback.decide(**FINE | {"camera": age})
        torque = fallback.torque(place, still, 2)
    assert torque.tolist() == pytest.approx([0.0, 0.0]), "no spring to where it was once"
    fallback.moved(np.ones(2))
    fallback.forget()
    fallback.decide(**FINE | {"camera": 1.0})
    assert fallback.torque(start, still, 2).tolist() == [0.0, 0.0]


def test_a_stop_is_not_lost_while_something_is_being_decided() -> None:
    fallback = made()

    class Stopping(float):
        def __le__(self, other: float) -> bool:
            fallback.stop("by hand")
            return float(self) <= other

    assert fallback.decide(joints=Stopping(0.01), camera=0.0, plan=0.0, loop=0.0) == Mode.STOP
    assert fallback.mode == Mode.STOP and fallback.reason == "by hand"
    assert fallback.decide(**FINE) == Mode.STOP


def test_damping_only_takes_speed_and_a_stop_commands_nothing() -> None:
    fallback, speed = made(), np.array([1.0, -0.5])
    fallback.moved(np.ones(2))
    fallback.decide(**FINE | {"plan": 3.0})
    assert fallback.torque(np.ones(2), speed, 2).tolist() == pytest.approx((-SETTINGS.damping * speed).tolist())
    assert fallback.torque(None, None, 2).tolist() == [0.0, 0.0]
    fallback.stop("by hand")
    assert fallback.decide(**FINE) == Mode.STOP and fallback.reason == "by hand"
    assert fallback.torque(np.ones(2), speed, 2).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bad", [(0.0, 1.0, 2.0), (1.0, 0.5, 2.0), (1.0, 2.0, 2.0), (math.nan, 1.0, 2.0)])
def test_patience_must_rise(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        Patience(*bad)
