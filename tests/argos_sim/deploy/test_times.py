"""Times that were kept, and percentiles of the latest."""

import numpy as np

from argos_sim.deploy.times import Times


def test_the_latest_times_are_kept_and_told() -> None:
    times = Times(room=5)
    assert len(times) == 0 and times.latest().size == 0 and times.latest(3).size == 0
    for number in range(3):
        times.add(number)
    assert sorted(times.latest()) == [0, 1, 2] and sorted(times.latest(2)) == [1, 2]
    for number in range(3, 13):
        times.add(number)
    assert len(times) == 5 and sorted(times.latest(7)) == [8, 9, 10, 11, 12] and sorted(times.latest(3)) == [10, 11, 12]


def test_what_was_told_does_not_change() -> None:
    times = Times(room=2)
    times.add(1.0)
    told = times.latest()
    times.add(2.0)
    times.add(3.0)
    assert np.array_equal(told, [1.0])
