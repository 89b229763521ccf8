"""Laws of the randomization ranges."""

from __future__ import annotations

import pytest

from argos_sim.randomization.ranges import PRESETS, get_ranges, range_names


def test_families_of_train_and_unseen_are_disjoint() -> None:
    families = [set(get_ranges(name).background_families) for name in ("nominal", "train", "unseen")]
    assert not families[0] & families[1] and not families[1] & families[2] and not families[0] & families[2]


def test_unseen_goes_beyond_train_on_every_axis() -> None:
    train, unseen = get_ranges("train"), get_ranges("unseen")
    assert unseen.contains(train) and train.contains(get_ranges("nominal"))
    for name in range_names():
        assert getattr(unseen, name) != getattr(train, name), name


def test_every_range_is_ordered() -> None:
    for name, ranges in PRESETS.items():
        for axis in range_names():
            low, high = getattr(ranges, axis)
            assert low <= high, f"{name}.{axis}"


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'wild'.*nominal, train, unseen"):
        get_ranges("wild")
