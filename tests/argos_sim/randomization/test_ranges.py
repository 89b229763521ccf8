"""Laws of the randomization ranges."""

from __future__ import annotations

import dataclasses
import math

import pytest

from argos_sim.randomization.ranges import GROUPS, PRESETS, RandomizationRanges, get_ranges, range_names


def test_families_of_train_and_unseen_are_disjoint() -> None:
    families = [set(get_ranges(name).background_families) for name in ("nominal", "train", "unseen")]
    assert not families[0] & families[1] and not families[1] & families[2] and not families[0] & families[2]


def test_unseen_goes_beyond_train_on_every_axis() -> None:
    train, unseen = get_ranges("train"), get_ranges("unseen")
    assert unseen.contains(train) and train.contains(get_ranges("nominal"))
    nominal = get_ranges("nominal")
    for name in range_names():
        if getattr(train, name) != getattr(nominal, name):
            assert getattr(unseen, name) != getattr(train, name), name


def test_complete_has_every_axis_and_holds_unseen() -> None:
    nominal, complete = get_ranges("nominal"), get_ranges("complete")
    assert complete.contains(get_ranges("unseen"))
    assert [name for name in range_names() if getattr(complete, name) == getattr(nominal, name)] == []


def test_every_field_is_in_exactly_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(f.name for f in dataclasses.fields(RandomizationRanges))


def test_every_range_is_ordered() -> None:
    for name, ranges in PRESETS.items():
        for axis in range_names():
            low, high = getattr(ranges, axis)
            assert low <= high, f"{name}.{axis}"


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'wild'.*nominal, train, unseen, complete"):
        get_ranges("wild")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mass_scale", (1.2, 0.8)),
        ("motor_strength", (-0.1, 1.0)),
        ("frame_loss", (0.0, 1.1)),
        ("tilt", (0.0, 2.0)),
        ("light_direction", (-0.1, 0.1)),
        ("light_direction", (0.0, 2.0)),
        ("shade", (0.0, 1.0)),
    ],
)
def test_a_range_that_makes_no_sense_is_refused_by_name(name: str, value: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=rf"{name} = \({value[0]}, {value[1]}\) makes no sense"):
        RandomizationRanges(**{name: value})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "bounds", [(math.nan, 0.0), (0.0, math.nan), (0.0, math.inf), (-math.inf, 0.0)], ids=lambda bounds: str(bounds)
)
def test_a_range_of_no_finite_numbers_is_refused_by_name(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="brightness = .* makes no sense"):
        RandomizationRanges(brightness=bounds)


def test_ranges_that_came_later_decide_nothing_where_they_are_nominal() -> None:
    train, complete = get_ranges("train").identity(), get_ranges("complete").identity()
    assert set(complete) - set(train) == {"light_direction", "shade", "object_size"}
    assert train["tilt"] == (0.0, 0.0) and complete["shade"] == get_ranges("complete").shade
