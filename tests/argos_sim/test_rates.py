"""The clocks divide each other, or are refused."""

from __future__ import annotations

import pytest

from argos_sim.rates import Rates


def test_derived_counts_multiply_up() -> None:
    rates = Rates()
    assert rates.decimation * rates.control_hz == rates.physics_hz
    assert rates.control_per_frame * rates.camera_hz == rates.control_hz
    assert rates.control_per_plan == round(rates.planner_period_s * rates.control_hz)


@pytest.mark.parametrize(
    "change", [{"control_hz": 60}, {"camera_hz": 20}, {"planner_period_s": 0.85}, {"planner_period_s": 0.0}]
)
def test_clocks_that_do_not_divide_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        Rates(**change)
