"""Laws of every control loop: whatever clock, senses and operators do, all that is sent went through the guard."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from argos_sim.deploy import control
from argos_sim.deploy.follower import Follower, FollowerSettings
from argos_sim.deploy.manifest import read_manifest
from argos_sim.deploy.robots import JointReading
from argos_sim.deploy.safety import SafetySettings
from tests.argos_sim.deploy.pilots import StandIn
from tests.argos_sim.deploy.test_follower import Told

RATE, SHARE, STEPS = 20.0, 0.6, 4000
ODD = (np.nan, np.inf, -np.inf, 1e30, -1e30)


class Clock:
    """Time that jumps between and within control steps."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.now, self._rng = 100.0, rng

    def monotonic(self) -> float:
        if self._rng.random() < 0.02:
            self.now += self._rng.choice([0.01, 0.08, 0.5])
        return self.now


class Sick(StandIn):
    """Joints that are read late, early, wrong or not; a driver that fails now and then."""

    def __init__(self, rng: np.random.Generator, clock: Clock) -> None:
        super().__init__()
        self._draws, self._clock, self.heard = rng, clock, list[tuple[float, np.ndarray]]()

    def joints(self) -> JointReading | None:
        rng = self._draws
        if rng.random() < 0.1:
            return None
        self.position = np.clip(self.position + rng.normal(0, 0.01, 3), -1, 1)
        values = [self.position.copy(), rng.normal(0, 0.3, 3), np.full(3, rng.uniform(20, 70))]
        if rng.random() < 0.05:
            values[rng.integers(3)][rng.integers(3)] = rng.choice(ODD)
        age = rng.choice([0.0, 0.005, 0.05, 0.3, -1.0], p=[0.7, 0.2, 0.06, 0.02, 0.02])
        return JointReading(values[0], values[1], self._clock.now - age, values[2] if rng.random() < 0.5 else None)

    def send(self, torque: np.ndarray) -> None:
        if self._draws.random() < 0.005:
            raise OSError("the bus failed")
        self.heard.append((self._clock.now, np.array(torque)))


@pytest.mark.parametrize("seed", range(3))
def test_all_that_is_sent_is_within_limits_and_rate_whatever_happens(
    policy: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, manifest = np.random.default_rng(seed), read_manifest(policy)
    clock = Clock(rng)
    robot, source = Sick(rng, clock), Told(np.zeros(3))
    monkeypatch.setattr(control, "time", SimpleNamespace(monotonic=clock.monotonic))
    settings = FollowerSettings(safety=SafetySettings(torque_rate=RATE, torque_share=SHARE), stiffness=60.0)
    follower = Follower(manifest, robot, source, settings)
    ended = SimpleNamespace(wait=lambda _: True, is_set=lambda: len(robot.heard) >= STEPS, set=lambda: None)
    monkeypatch.setattr(follower, "_ended", ended)

    def waited(_: float) -> None:
        clock.now += rng.choice([0.02, 0.0, 0.04, 0.15, 0.4, 6.0], p=[0.93, 0.02, 0.02, 0.01, 0.01, 0.01])
        source.position = rng.uniform(-1, 1, 3) if rng.random() < 0.95 else None
        follower._seen_at = clock.now
        if rng.random() < 0.02 or follower.fallback.mode == control.Mode.STOP:
            happens = (follower.resume, lambda: follower.begin("x"), lambda: follower.stop("said"))
            happens[rng.integers(3)]()

    monkeypatch.setattr(control, "_wait_until", waited)
    follower._drive()
    limit, growth = SHARE * np.array(manifest.torque_limits), RATE / manifest.rates["control_hz"] + 1e-9
    led = 0
    for (then, last), (now, sent) in zip(robot.heard, robot.heard[1:], strict=False):
        if now - then > settings.fallback.loop.hold + 0.6:  # whatever passed within the step: the motors were let go
            last = np.zeros_like(sent)
        assert np.isfinite(sent).all() and (np.abs(sent) <= limit).all()
        assert (sent <= np.maximum(last, 0) + growth).all() and (sent >= np.minimum(last, 0) - growth).all()
        led += bool(sent.any())
    assert led > STEPS / 10, "or nothing was sent"


def test_torque_grows_from_zero_where_the_motors_were_let_go_since(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(control, "time", SimpleNamespace(monotonic=lambda: clock.now))
    robot = StandIn()
    robot.bent_joints = lambda reading: JointReading(reading.position, reading.velocity, clock.now)
    settings = FollowerSettings(safety=SafetySettings(torque_rate=RATE))
    follower = Follower(read_manifest(policy), robot, Told(np.array([0.9, -0.2, 0.3])), settings)

    def step(passed: float) -> float:
        clock.now += passed
        follower.watchdog.in_time_at = follower._seen_at = clock.now
        follower._step(clock.now, 0.0)
        return float(np.abs(robot.sent[-1]).max())

    follower.begin("x")
    growth = RATE * follower.control_dt + 1e-9
    assert max(step(0.02) for _ in range(20)) > 3 * growth and step(0.09) > 3 * growth
    assert step(0.2) <= growth
