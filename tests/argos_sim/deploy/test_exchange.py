"""Laws of the exchange between processes: what is read was written whole, and is new."""

from __future__ import annotations

import multiprocessing
import time

import numpy as np
import pytest

from argos_sim.deploy.exchange import SLOTS, Latest

CONTEXT = multiprocessing.get_context("spawn")
FIELDS = {"numbers": ("f8", (500,)), "time": ("f8", ()), "word": ("S8", ())}


def written(latest: Latest, number: float) -> None:
    latest.write(numbers=np.full(500, number), time=number, word=b"red")


def test_a_reader_gets_the_newest_value_and_how_many_there_were() -> None:
    latest = Latest(CONTEXT, FIELDS)
    assert latest.read() is None and latest.count == 0
    for number in range(1, 3 * SLOTS):
        written(latest, number)
        count, value = latest.read() or (0, {})
        assert count == latest.count == number and value["time"] == number and value["word"] == b"red"
        assert np.array_equal(value["numbers"], np.full(500, number))


def test_only_what_is_newer_is_read_and_nothing_else_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    latest = Latest(CONTEXT, FIELDS)
    assert latest.read(0) is None
    for number in (1, 2):
        written(latest, number)
    assert (latest.read(1) or (0, {}))[0] == 2
    monkeypatch.setattr(latest, "_whole", lambda number: pytest.fail(f"the value {number} was copied"))
    assert latest.read(2) is None and latest.read(3) is None


def test_values_since_a_number_are_read_in_turn_as_far_as_they_are_still_there() -> None:
    latest = Latest(CONTEXT, FIELDS, slots=8)
    assert latest.since(0) == []
    for number in range(1, 6):
        written(latest, number)
    assert [(i, value["time"]) for i, value in latest.since(2)] == [(3, 3.0), (4, 4.0), (5, 5.0)]
    assert latest.since(5) == []
    for number in range(6, 21):
        written(latest, number)
    assert [i for i, _ in latest.since(5)] == list(range(13, 21)), "the last eight are kept"
    latest._slots[15 % 8]["value"]["time"] = 0.5  # as if it were being written
    assert [i for i, _ in latest.since(5)] == [13, 14, 16, 17, 18, 19, 20]


def test_what_is_read_stays_as_it_was() -> None:
    latest = Latest(CONTEXT, FIELDS)
    written(latest, 1)
    _, value = latest.read() or (0, {})
    for number in range(2, 12):
        written(latest, number)
    assert np.array_equal(value["numbers"], np.full(500, 1.0))


@pytest.mark.parametrize("changes", [{"time": 0.0, "word": b""}, {"colour": 1}, {"numbers": np.zeros(3)}])
def test_another_value_is_refused_and_changes_nothing(changes: dict) -> None:
    latest = Latest(CONTEXT, FIELDS)
    written(latest, 1)
    value = {"numbers": np.zeros(500), "time": 0.0, "word": b""} | changes
    if "colour" not in changes and "numbers" not in changes:
        del value["numbers"]
    with pytest.raises(ValueError):
        latest.write(**value)
    assert latest.count == 1


def test_half_of_a_value_is_never_read() -> None:
    latest = Latest(CONTEXT, FIELDS)
    written(latest, 1)
    slot = latest._slots[1 % SLOTS : 1 % SLOTS + 1]
    slot["value"]["numbers"][0, :250] = 7.0
    assert latest.read() is None, "its checksum is that of another value"
    written(latest, 2)
    slot = latest._slots[2 % SLOTS : 2 % SLOTS + 1]
    slot["first"] = 2 + SLOTS
    assert latest.read() is None, "a writer has come around"
    written(latest, 3)
    assert (latest.read() or (0, {}))[0] == 3


def hammer(latest: Latest, seconds: float) -> None:
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        written(latest, number)


def test_a_writer_that_never_rests_hands_over_whole_values_in_their_order() -> None:
    latest = Latest(CONTEXT, FIELDS)
    process = CONTEXT.Process(target=hammer, args=(latest, 1.0))
    process.start()
    last = reads = 0
    while process.is_alive():
        newest = latest.read()
        if newest is None:
            continue
        number, value = newest
        assert number >= last and np.array_equal(value["numbers"], np.full(500, value["time"]))
        assert value["time"] == number
        last, reads = number, reads + 1
    process.join()
    assert last > 100 and reads > 10
