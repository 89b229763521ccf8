"""Laws of a servo's units: angles by a calibration and by what the policy states, and duties."""

from __future__ import annotations

import math

import pytest

from argos_sim.deploy.servo_units import encoded_duty, units_of
from tasks.so100.robot import JOINT_LIMITS, JOINT_NAMES
from tests.argos_sim.deploy.test_lerobot_arm import MANIFEST, MIDDLES, STATED, calibration


def test_a_duty_has_its_sign_in_bit_10_and_is_never_more_than_the_whole() -> None:
    assert [encoded_duty(x) for x in (0.0, 0.25, 1.0, 7.0)] == [0, 250, 1000, 1000]
    assert [encoded_duty(x) for x in (-0.25, -1.0, -7.0)] == [250 | 1024, 1000 | 1024, 1000 | 1024]
    assert [encoded_duty(x) for x in (math.nan, math.inf, -math.inf)] == [0, 0, 0]


def test_the_middle_of_a_calibrated_range_is_that_of_the_limits() -> None:
    signs = {"elbow_flex": -1}
    units = units_of(calibration(), MANIFEST, signs)
    for name, (low, high) in JOINT_LIMITS.items():
        known = calibration()[name]
        assert units[name].angle(0.5 * (known["range_min"] + known["range_max"])) == pytest.approx(0.5 * (low + high))
        turn = units[name].angle(2048 + 1024) - units[name].angle(2048)
        assert turn == pytest.approx(math.pi / 2 * (-1 if name in signs else 1))


def test_units_are_those_that_the_policy_states() -> None:
    units = units_of(calibration(), STATED, {"wrist_roll": -1, "gripper": -1})
    counted = {"shoulder_lift": -1, "gripper": -1}  # the wrist's roll counts otherwise than stated: up again
    for name, middle in zip(JOINT_NAMES, MIDDLES, strict=True):
        known = calibration()[name]
        assert units[name].angle(0.5 * (known["range_min"] + known["range_max"])) == pytest.approx(middle)
        assert units[name].angle(2049) - units[name].angle(2048) == pytest.approx(
            counted.get(name, 1) * 2 * math.pi / 4096
        )
