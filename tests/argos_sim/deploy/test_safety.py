"""Laws of the guard: it only takes torque away, and never lets a joint be pushed out of its range or too fast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.safety import SafetyGuard, SafetySettings

MANIFEST = PolicyManifest(
    spec={},
    joint_names=("a", "b"),
    joint_limits=((-1.0, 1.0), (0.0, 2.0)),
    torque_limits=(2.0, 1.0),
    velocity_limits=(4.0, 4.0),
    rates={"physics_hz": 200, "control_hz": 50, "camera_hz": 10, "planner_period_s": 0.8},
    history=0,
    action_scale=(2.0, 1.0),
)
FREE = SafetySettings(torque_rate=1e6)
MIDDLE, STILL = np.array([0.0, 1.0]), np.zeros(2)


def test_a_harmless_torque_passes_unchanged() -> None:
    torque = np.array([1.5, -0.7], dtype=np.float32)
    np.testing.assert_array_equal(SafetyGuard(MANIFEST, FREE).apply(torque, MIDDLE, STILL), torque)


def test_torque_never_grows_or_turns_around_and_stays_within_the_motors() -> None:
    for settings in (FREE, SafetySettings(), SafetySettings(torque_rate=25.0)):
        rng, guard = np.random.default_rng(0), SafetyGuard(MANIFEST, settings)
        for _ in range(500):
            torque, position, velocity = rng.normal(0, 3, 2), rng.uniform(-2, 3, 2), rng.normal(0, 4, 2)
            given = guard.apply(torque, position, velocity)
            assert (np.abs(given) <= np.minimum(np.abs(torque), [2.0, 1.0]) + 1e-6).all()
            assert (given * torque >= 0).all()


@pytest.mark.parametrize(("position", "sign"), [([1.0, 2.0], 1.0), ([-1.0, 0.0], -1.0), ([1.3, 2.3], 1.0)])
def test_at_the_end_of_the_range_only_torque_inward_is_left(position: list[float], sign: float) -> None:
    guard, torque = SafetyGuard(MANIFEST, FREE), sign * np.array([1.0, 0.5])
    np.testing.assert_array_equal(guard.apply(torque, np.array(position), STILL), 0.0)
    np.testing.assert_allclose(guard.apply(-torque, np.array(position), STILL), -torque)


def test_torque_fades_toward_the_end_of_the_range() -> None:
    positions = np.linspace(0.8, 1.0, 9)
    given = [SafetyGuard(MANIFEST, FREE).apply(np.ones(2), np.array([p, 1.0]), STILL)[0] for p in positions]
    assert given[0] == 1.0 and given[-1] == 0.0 and (np.diff(given) <= 0).all()
    assert given[4] == pytest.approx(0.1 / FREE.soft_zone)


def test_beyond_the_velocity_limit_only_braking_is_left() -> None:
    guard, velocity = SafetyGuard(MANIFEST, FREE), np.array([4.1, -4.1])
    np.testing.assert_array_equal(guard.apply(np.array([1.0, -1.0]), MIDDLE, velocity), 0.0)
    np.testing.assert_allclose(guard.apply(np.array([-1.0, 1.0]), MIDDLE, velocity), [-1.0, 1.0])


def test_torque_grows_no_faster_than_its_rate_and_from_rest_after_a_reset() -> None:
    guard = SafetyGuard(MANIFEST, SafetySettings(torque_rate=10.0))
    given = [guard.apply(np.array([2.0, -1.0]), MIDDLE, STILL) for _ in range(12)]
    assert (np.abs(np.diff([STILL, *given], axis=0)) <= 0.2 + 1e-6).all()
    np.testing.assert_allclose(given[-1], [2.0, -1.0], atol=1e-6)
    # Turned around, it falls to zero at once and grows from there.
    np.testing.assert_allclose(guard.apply(np.array([-2.0, 1.0]), MIDDLE, STILL), [-0.2, 0.2], atol=1e-6)
    np.testing.assert_array_equal(guard.apply(STILL, MIDDLE, STILL), 0.0)
    guard.reset()
    np.testing.assert_allclose(guard.apply(np.array([2.0, -1.0]), MIDDLE, STILL), [0.2, -0.2], atol=1e-6)


@pytest.mark.parametrize("bad", [np.array([np.nan, 0.0]), np.array([0.0, np.inf]), np.zeros(3)])
def test_numbers_that_cannot_be_trusted_are_refused_by_name(bad: np.ndarray) -> None:
    guard = SafetyGuard(replace(MANIFEST), FREE)
    for name, arguments in {
        "torque": (bad, MIDDLE, STILL),
        "joint_pos": (STILL, bad, STILL),
        "joint_vel": (STILL, MIDDLE, bad),
    }.items():
        with pytest.raises(ValueError, match=f"^{name} .* finite numbers"):
            guard.apply(*arguments)
