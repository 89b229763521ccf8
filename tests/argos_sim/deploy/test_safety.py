"""Laws of the guard: nothing leads out of the limits, and no joint is let run out of its range or too fast."""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from argos_sim.deploy.body import Chain
from argos_sim.deploy.fuzz import fuzz, fuzz_steps
from argos_sim.deploy.manifest import SPEC_FIELDS, DeployError, PolicyManifest, read_manifest
from argos_sim.deploy.safety import RULES, SafetyGuard, SafetySettings
from argos_sim.experts import Arm
from argos_sim.pipeline.export import body_of
from tasks.so100.robot import JOINT_LIMITS, JOINT_NAMES, MJCF_PATH, READY_POSE, so100_arm

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


def test_inside_the_range_torque_never_grows_or_turns_around() -> None:
    for cfg in (FREE, SafetySettings(), SafetySettings(torque_rate=25.0), SafetySettings(torque_share=0.3)):
        rng, guard = np.random.default_rng(0), SafetyGuard(MANIFEST, cfg)
        for _ in range(500):
            torque, velocity = rng.normal(0, 3, 2), rng.normal(0, 4, 2)
            position = rng.uniform([-0.95, 0.05], [0.95, 1.95])
            given = guard.apply(torque, position, velocity)
            assert (np.abs(given) <= np.minimum(np.abs(torque), cfg.torque_share * np.array([2.0, 1.0]))).all()
            assert (given * torque >= 0).all()


@pytest.mark.parametrize(("position", "sign"), [([1.0, 2.0], 1.0), ([-1.0, 0.0], -1.0), ([1.3, 2.3], 1.0)])
def test_at_the_end_of_the_range_only_torque_inward_is_left(position: list[float], sign: float) -> None:
    guard, torque = SafetyGuard(MANIFEST, FREE), sign * np.array([1.0, 0.5])
    assert (sign * guard.apply(torque, np.array(position), STILL) <= 0).all()
    assert (sign * guard.apply(-torque, np.array(position), STILL) <= -np.abs(torque) + 1e-9).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_is_pushed_past_the_end_is_pushed_back_harder_the_farther_it_is(sign: float) -> None:
    guard, end = SafetyGuard(MANIFEST, FREE), np.array([1.0, 2.0]) if sign > 0 else np.array([-1.0, 0.0])
    depths = np.array([-0.06, -0.03, 0.0, 0.02, 0.04, 0.5])
    given = np.array([guard.apply(STILL, end + sign * d, STILL) for d in depths]) * -sign
    assert not given[:2].any(), "not before the zone of the stop"
    wanted = np.minimum(FREE.stop_stiffness * (depths[2:, None] + FREE.stop_zone), [2.0, 1.0])
    np.testing.assert_allclose(given[2:], wanted)
    leaving = guard.apply(STILL, end + sign * 0.04, np.full(2, -sign * 3.0))
    np.testing.assert_allclose(leaving, 0.0, atol=1e-9, err_msg="what comes back by itself is let come")


def test_torque_fades_toward_the_end_of_the_range() -> None:
    positions = np.linspace(0.8, 0.97, 18)
    given = [SafetyGuard(MANIFEST, FREE).apply(np.ones(2), np.array([p, 1.0]), STILL)[0] for p in positions]
    assert given[0] == 1.0 and (np.diff(given) <= 0).all()
    assert given[10] == pytest.approx(0.1 / FREE.soft_zone) and positions[10] == pytest.approx(0.9)


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


@pytest.mark.parametrize("bad", [np.array([np.nan, 0.0]), np.array([0.0, np.inf]), np.zeros(3), None, "torque"])
def test_what_cannot_be_trusted_gives_no_torque_and_is_named(bad: Any) -> None:
    guard = SafetyGuard(MANIFEST, SafetySettings(torque_rate=10.0))
    fine: dict[str, Any] = {"torque": np.ones(2), "joint_pos": MIDDLE, "joint_vel": STILL}
    fine["temperature"] = np.full(2, 30.0)
    for name in fine:
        if name == "temperature" and bad is None:
            continue  # a temperature that is not known is none that is too high
        for _ in range(3):
            guard.apply(**fine)
        given = dict(fine, **{name: bad})
        assert not guard.apply(**given).any() and guard.refused.startswith(name)
        assert (guard.apply(**fine) <= 0.2 + 1e-9).all() and guard.refused == "", "from rest again"


def test_hot_motors_get_less_torque_and_too_hot_ones_none() -> None:
    guard = SafetyGuard(MANIFEST, FREE)
    for temperature, share in ((-20.0, 1.0), (55.0, 1.0), (60.0, 0.5), (65.0, 0.0), (90.0, 0.0)):
        given = guard.apply(np.array([9.0, -9.0]), MIDDLE, STILL, np.full(2, temperature))
        np.testing.assert_allclose(given, share * np.array([2.0, -1.0]))


def test_all_motors_together_do_no_more_work_than_they_may() -> None:
    guard = SafetyGuard(MANIFEST, SafetySettings(power=3.0, torque_rate=None))
    velocity = np.array([2.0, -2.0])
    given = guard.apply(np.array([2.0, -1.0]), MIDDLE, velocity)
    assert given @ velocity == pytest.approx(3.0) and given[0] == pytest.approx(-2 * given[1])
    braking = guard.apply(np.array([-2.0, -1.0]), MIDDLE, velocity)
    assert braking.tolist() == pytest.approx([-2.0, -1.0]), "what brakes does none, and 2 W are allowed"


ACTS: dict[str, tuple[SafetySettings, list[float], list[float], list[float]]] = {
    "limit": (FREE, [3.0, 0.1], [0.0, 1.0], [0.0, 0.0]),
    "range": (FREE, [1.0, 0.1], [0.95, 1.0], [0.0, 0.0]),
    "speed": (FREE, [1.0, 0.1], [0.0, 1.0], [3.8, 0.0]),
    "spring": (FREE, [0.0, 0.1], [1.0, 1.0], [0.0, 0.0]),
    "power": (replace(FREE, power=1.0), [1.0, 0.0], [0.0, 1.0], [3.0, 0.0]),
    "rate": (SafetySettings(torque_rate=25.0), [1.0, 0.1], [0.0, 1.0], [0.0, 0.0]),
}
"""What makes a rule act on the first joint and on nothing else: settings, torque, position, speed."""


@pytest.mark.parametrize("rule", ACTS)
def test_the_guard_tells_which_rule_acted_on_which_joint(rule: str) -> None:
    cfg, torque, position, velocity = ACTS[rule]
    guard = SafetyGuard(MANIFEST, cfg)
    guard.apply(np.array(torque), np.array(position), np.array(velocity))
    assert [(RULES[r], int(joint)) for r, joint in np.argwhere(guard.acted)] == [(rule, 0)]
    guard.apply(STILL, MIDDLE, STILL)
    assert not guard.acted.any(), "in the last step, none did"
    guard.apply(np.array(torque), np.array(position), np.array(velocity))
    guard.unseen(STILL)
    assert not guard.acted.any(), "where the joints are not known none can act"


def test_where_the_joints_are_not_known_limits_and_rate_are_held_all_the_same() -> None:
    guard, growth = SafetyGuard(MANIFEST, SafetySettings(torque_rate=10.0)), 10.0 / MANIFEST.rates["control_hz"]
    limit, rng = np.array(MANIFEST.torque_limits), np.random.default_rng(0)
    sent = np.zeros_like(limit)
    for wanted in [*rng.normal(0, 5, (200, len(limit))), np.full(len(limit), np.inf), np.full(len(limit), np.nan)]:
        before, sent = sent, guard.unseen(wanted)
        assert (np.abs(sent) <= limit).all()
        assert (sent <= np.maximum(before, 0) + growth + 1e-9).all()
        assert (sent >= np.minimum(before, 0) - growth - 1e-9).all()
    assert not sent.any(), "what is no number is no torque"
    for bad in (np.array([np.nan, 1.0]), np.array([np.inf, 1.0]), np.ones(3), "torque", None):
        guard.unseen(np.ones(2))
        assert not guard.unseen(bad).any() and guard.refused.startswith("torque")  # pyright: ignore[reportArgumentType]


# -- with a body -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arm() -> Arm:
    return so100_arm("cpu")


@pytest.fixture(scope="module")
def so100(arm: Arm) -> PolicyManifest:
    limits = tuple(JOINT_LIMITS.values())
    return replace(
        MANIFEST, joint_names=JOINT_NAMES, joint_limits=limits, torque_limits=(2.94,) * 6, velocity_limits=(4.9,) * 6,
        action_scale=(2.94,) * 6, body=body_of(arm),
    )  # fmt: skip


def postures(count: int, seed: int = 0) -> np.ndarray:
    low, high = np.array(list(JOINT_LIMITS.values())).T
    return np.random.default_rng(seed).uniform(low, high, (count, 6))


def test_the_fingertip_is_where_the_experts_chain_says(arm: Arm, so100: PolicyManifest) -> None:
    assert so100.body is not None
    q = postures(50)
    tip, jacobian = Chain(so100.body).tip_and_jacobian(q)
    wanted = arm.chain.tip_and_jacobian(torch.from_numpy(q).float())
    np.testing.assert_allclose(tip, wanted[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(jacobian, wanted[1].numpy(), atol=1e-5)
    one, _ = Chain(so100.body).tip_and_jacobian(q[7])
    np.testing.assert_allclose(one, tip[7])


def test_a_body_outlives_its_file_and_a_broken_one_is_named(so100: PolicyManifest, tmp_path: Path) -> None:
    spec = {name: 1 for name in SPEC_FIELDS} | {"joint_names": list(JOINT_NAMES)}
    (tmp_path / "policy.yaml").write_text(replace(so100, spec=spec).to_yaml())
    assert read_manifest(tmp_path).body == so100.body
    assert so100.body is not None
    for bad, message in (
        ({"gravity": (0.1,) * 5}, "body.gravity has not one entry a joint"),
        ({"inertia": ((0.0, 0.1),) * 6}, "not a finite number"),
        ({"parents": (0, 0, 1, 2, 3, 4)}, "parents must come before"),
        ({"tip_link": 6}, "tip_link is no link"),
        ({"axes": ((0.0, 0.0, 0.0),) * 6}, "without length"),
        ({"tip": (0.0, math.nan, 0.0)}, "not a finite number"),
    ):
        broken = replace(so100, spec=spec, body=replace(so100.body, **bad))
        with pytest.raises(DeployError, match=message):
            broken.check("here")


def test_walls_and_braking_are_told_apart(so100: PolicyManifest) -> None:
    guard, q = SafetyGuard(so100, SafetySettings(lowest=1.0)), np.array(list(READY_POSE.values()))
    guard.apply(np.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.0]), q, np.zeros(6))
    assert {RULES[rule] for rule in np.flatnonzero(guard.acted.any(1))} == {"wall"}, "it is below a table so high"
    guard, fast = SafetyGuard(so100, SafetySettings(lowest=None)), np.array([4.0, 0, 0, 0, 0, 0])
    guard.apply(np.zeros(6), q + np.array([JOINT_LIMITS["shoulder_pan"][1] - q[0] - 0.3, 0, 0, 0, 0, 0]), fast)
    assert [(RULES[r], int(joint)) for r, joint in np.argwhere(guard.acted)] == [("brake", 0)]


@pytest.mark.parametrize("box", [None, ((-0.2, 0.2), (-0.35, -0.1), (0.0, 0.3))])
def test_no_torque_pushes_the_fingertip_further_out(so100: PolicyManifest, box: Any) -> None:
    cfg = SafetySettings(box=box, lowest=0.05 if box is None else None)
    guard, chain = SafetyGuard(so100, cfg), Chain(so100.body)  # pyright: ignore[reportArgumentType]
    rng, q = np.random.default_rng(1), 0.9 * postures(4000)
    torque, still = rng.uniform(-2.94, 2.94, q.shape), np.zeros_like(q)
    given = guard.limited(torque, q, still, still)
    tip, jacobian = chain.tip_and_jacobian(q)
    outside = 0
    planes = (
        [(2, 1.0, 0.05)]
        if box is None
        else [(i, s, s * box[i][0 if s > 0 else 1]) for i in range(3) for s in (1.0, -1.0)]
    )
    for axis, sign, offset in planes:
        out = sign * tip[:, axis] < offset
        alone = out & (np.sum([s * tip[:, i] < o + cfg.wall for i, s, o in planes], 0) == 1)
        inside = (np.abs(given) < 2.94).all(1) & _far_from_ends(q)
        pushed = sign * (jacobian[:, axis] * given).sum(1)
        assert (pushed[alone & inside] >= -1e-6).all()
        before = sign * (jacobian[:, axis] * torque).sum(1)
        outside += int((alone & inside & (before < -1e-3)).sum())
    assert outside > 50, "or nothing was tested"


def test_the_way_out_of_a_wall_makes_no_joint_too_fast(so100: PolicyManifest) -> None:
    guard, rng, q = SafetyGuard(so100, SafetySettings(lowest=0.05)), np.random.default_rng(2), 0.9 * postures(4000)
    velocity = rng.choice([-6.0, 0.0, 6.0], q.shape)
    given = guard.limited(rng.uniform(-2.94, 2.94, q.shape), q, velocity, np.zeros_like(q))
    faster = (given * velocity > 1e-9) & _far_from_ends(q)[:, None]
    assert not faster.any()


@pytest.mark.parametrize(
    "bad",
    [{"lowest": math.nan}, {"stop_zone": math.nan}, {"stop_zone": -1.0}, {"stop_damping": -5.0}, {"wall": 0.0},
     {"power": math.inf}, {"temperature": (60.0, 50.0)}, {"torque_share": 0.0}, {"torque_share": 1.1},
     {"torque_share": math.nan}, {"box": ((0.1, -0.1),) * 3}, {"speed_fade": 1.0}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be finite numbers|must lie"):
        SafetySettings(**bad)


def _far_from_ends(q: np.ndarray) -> np.ndarray:
    low, high = np.array(list(JOINT_LIMITS.values())).T
    zone = np.minimum(SafetySettings().soft_zone, 0.1 * (high - low))
    return ((q > low + zone) & (q < high - zone)).all(1)


EDGES = [0.0, -0.0, 1e-300, -1e-300, 1e9, -1e9, 1e300, -1e300, 2.94, -2.94, 3.14159]
ANYTHING = st.lists(
    st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(EDGES)), min_size=6, max_size=6
).map(np.array)


@given(ANYTHING, ANYTHING, ANYTHING, st.one_of(st.none(), ANYTHING), st.sampled_from([None, 30.0]))
@settings(max_examples=300, deadline=None)
def test_no_input_whatever_leads_out_of_the_limits(torque, position, velocity, temperature, rate) -> None:
    guard = SafetyGuard(KEPT["so100"], SafetySettings(torque_rate=rate, box=((-0.2, 0.2), (-0.4, 0.0), (0.0, 0.4))))
    last = np.zeros(6)
    for asked in (torque, np.full(6, 2.94), torque):
        given = guard.apply(asked, position, velocity, temperature)
        assert np.isfinite(given).all() and (np.abs(given) <= 2.94).all()
        if rate is not None:
            grown = np.abs(given) - np.where(np.sign(given) == np.sign(last), np.abs(last), 0.0)
            assert (grown <= rate / 50 + 1e-12).all()
        last = given


KEPT: dict[str, PolicyManifest] = {}


@pytest.fixture(autouse=True, scope="module")
def keep(so100: PolicyManifest) -> None:
    """For tests by hypothesis, which take no fixtures."""
    KEPT["so100"] = so100


@pytest.mark.parametrize(("delay", "past"), [(0, 0.12), (2, 0.3)])
def test_an_arm_that_is_thrown_about_stays_near_its_range(so100: PolicyManifest, delay: int, past: float) -> None:
    """Full torque, now this way, now that, on MuJoCo without stops or contacts, commands ``delay`` steps late."""
    spec = mujoco.MjSpec.from_file(str(MJCF_PATH))
    spec.option.timestep = 0.0025
    for joint in spec.joints:
        joint.limited = 0
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 0
    model = spec.compile()
    model.dof_armature[:], model.dof_frictionloss[:] = 0.028, 0.03
    low, high = np.array(so100.joint_limits).T

    def farthest(seed: int, guarded: bool) -> float:
        data, rng, guard = mujoco.MjData(model), np.random.default_rng(seed), SafetyGuard(so100)
        data.qpos[:] = list(READY_POSE.values())
        torque, sent, worst = np.zeros(6), [np.zeros(6)] * (delay + 1), 0.0
        for step in range(200):
            if step % rng.integers(5, 60) == 0:
                torque = rng.choice([-2.94, 2.94], 6)
            q, v = data.qpos.copy(), data.qvel.copy()
            sent = [*sent[1:], guard.apply(torque, q, v) if guarded else torque]
            for _ in range(8):
                data.qfrc_applied[:] = np.clip(sent[0] - 0.6 * data.qvel, -2.94, 2.94)
                mujoco.mj_step(model, data)
            worst = max(worst, float(np.maximum(data.qpos - high, low - data.qpos).max()))
        return worst

    assert max(farthest(seed, True) for seed in range(6)) < past
    assert min(farthest(seed, False) for seed in range(2)) > 1.0


@pytest.mark.parametrize(("rate", "share"), [(None, 1.0), (30.0, 0.4)])
def test_the_fuzzer_finds_nothing_outside_and_would_find_what_is(
    so100: PolicyManifest, rate: float | None, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fuzz(so100, SafetySettings(torque_rate=rate, torque_share=share), 100_000)
    assert found["tried"] >= 100_000 and found["outside"] == 0
    assert found["largest"] == 1.0, "the limit itself is reached, or too little was tried"
    whole = SafetyGuard.limited
    monkeypatch.setattr(SafetyGuard, "limited", lambda *inputs: 1.001 * whole(*inputs))
    assert fuzz(so100, SafetySettings(torque_rate=rate, torque_share=share), 20_000)["outside"] > 100


@pytest.mark.parametrize("rate", [None, 30.0])
def test_a_guard_that_is_asked_step_after_step_stays_within_and_the_fuzzer_would_see_it_not(
    so100: PolicyManifest, rate: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = SafetySettings(torque_rate=rate, torque_share=0.5, box=((-0.2, 0.2), (-0.4, 0.0), (0.0, 0.4)))
    found = fuzz_steps(so100, cfg, 4000)
    assert found == {"tried": 4000, "outside": 0, "largest": 1.0}
    with monkeypatch.context() as patch:
        patch.setattr(SafetyGuard, "unseen", lambda _, torque: np.nan_to_num(np.resize(torque, 6)))
        assert fuzz_steps(so100, cfg, 1000)["outside"] > 20
    whole = SafetyGuard._trusted
    patched = lambda self, **given: whole(self, **given) or {name: np.ones(6) for name in given}  # noqa: E731
    monkeypatch.setattr(SafetyGuard, "_trusted", patched)
    assert fuzz_steps(so100, cfg, 1000)["outside"] > 20
