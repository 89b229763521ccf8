"""Times that were kept."""

import math

from argos_sim.deploy.times import Times


def test_the_last_times_are_kept_and_told() -> None:
    times = Times(room=5)
    assert len(times) == 0 and times.kept().size == 0 and math.isnan(times.newest)
    for number in range(3):
        times.add(number)
    assert sorted(times.kept()) == [0, 1, 2] and times.newest == 2
    for number in range(3, 13):
        times.add(number)
        assert times.newest == number
    assert len(times) == 5 and sorted(times.kept()) == [8, 9, 10, 11, 12]


def test_what_was_told_does_not_change() -> None:
    times = Times(room=2)
    times.add(1.0)
    told = times.kept()
    times.add(2.0)
    times.add(3.0)
    assert list(told) == [1.0]
