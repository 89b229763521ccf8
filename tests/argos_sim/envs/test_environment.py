"""Laws of the reach environment with its senses, on OvPhysX; ``tests/tasks/test_robot.py`` has both engines."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import tasks  # noqa: F401
from argos_sim.demos import environment_state
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.evaluation import PerfectTracking, judge
from argos_sim.mdp.events import write_joints, write_object
from argos_sim.mdp.terminations import MAX_JOINT_SPEED, physics_broke
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline.environment import environment_cfg, make_environment, task_spec
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.plan_bank import BankTargets
from argos_sim.randomization.ranges import get_ranges
from argos_sim.targets import PlannerTargets
from argos_wm.latents import LatentState
from argos_wm.sampler import SamplerConfig

N = 8
GOLDEN = Path(__file__).parent / "golden_scene.png"


class StillTargets:
    """Targets equal to the present, for environments that only have to run."""

    def targets(self, env, ids, horizon) -> LatentState:
        state = env.perception.state()[ids]
        return LatentState(state.vision, state.proprio, horizon)

    def reseed(self, seed: int) -> None:
        """Nothing is drawn."""


@pytest.fixture(scope="module")
def env() -> Iterator[LatentTrackingEnv]:
    cfg = environment_cfg(Settings(), N, physics="ovphysx", encoder=str(Path("assets/pretrained/encoder")))
    with make_environment(cfg) as env:
        env.target.source = StillTargets()
        yield env


def rest(env: LatentTrackingEnv) -> torch.Tensor:
    return torch.zeros(env.num_envs, 6)


def test_picture_of_the_nominal_scene_is_the_golden_one(env: LatentTrackingEnv) -> None:
    env.set_ranges(get_ranges("nominal"))
    env.generator.manual_seed(0)
    env.reset()
    every = torch.arange(N)
    joints = env.scene["robot"].data.default_joint_pos.torch
    write_joints(env, every, joints, torch.zeros_like(joints))
    for name, x in (("red", -0.1), ("green", 0.0), ("blue", 0.1)):
        place = torch.tensor([[x, -0.25, 0.015]]).expand(N, 3)
        write_object(env, name, every, place, torch.tensor([[0.0, 0, 0, 1]]).expand(N, 4))
    env.scene.write_data_to_sim()
    env.sim.forward()
    env.perception.reset(every)
    env.perception.look(env.common_step_counter, env.episode_length_buf)
    picture = env.perception.images[0].permute(1, 2, 0).numpy()
    if os.environ.get("ARGOS_DRAW_GOLDEN"):
        Image.fromarray(picture).save(GOLDEN)
    golden = np.asarray(Image.open(GOLDEN)).astype(int)
    different = (np.abs(picture.astype(int) - golden).max(-1) > 8).mean()
    assert different < 0.01, f"{100 * different:.1f} % of the pixels changed; if intended, set ARGOS_DRAW_GOLDEN=1 once"
    env.set_ranges(get_ranges("train"))


def test_between_frames_the_picture_is_held_and_its_background_lasts_the_episode(env: LatentTrackingEnv) -> None:
    env.reset()
    perception = env.perception
    background, first = perception.background.clone(), perception.vision.clone()
    for step in range(1, env.cfg.rates.control_per_frame):
        env.step(rest(env))
        assert torch.equal(perception.vision, first), f"the latent changed at control step {step}"
    env.step(rest(env))
    assert not torch.equal(perception.vision, first)
    assert torch.equal(perception.background, background)


def test_what_is_done_is_rewarded_where_it_is_done_when_a_target_is_judged(env: LatentTrackingEnv) -> None:
    env.reset()
    instruction, term = env.instruction, env.reward_manager.active_terms.index("done")
    instruction.first_touched[:] = torch.where(torch.arange(N) % 2 == 0, instruction.named, (instruction.named + 1) % 3)
    weight, period = env.reward_manager.get_term_cfg("done").weight, env.cfg.rates.control_per_plan
    paid = []
    for _ in range(2 * period + 2):
        env.step(rest(env))
        paid.append(env.reward_manager._step_reward[:, term].clone())
    often = (torch.stack(paid) != 0).nonzero()
    assert often[:, 0].unique().tolist() == [period, 2 * period], "the step after a target was judged"
    assert paid[period].tolist() == pytest.approx([weight, 0.0] * (N // 2))


def test_only_the_critic_is_told_what_was_touched_first_and_what_is_done(
    env: LatentTrackingEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was touched decides what is paid for until the episode ends, and does not show in the present state."""
    env.reset()
    instruction = env.instruction

    def observed() -> dict[str, torch.Tensor]:
        return {k: v.clone() for k, v in env.observation_manager.compute().items()}  # pyright: ignore

    seen = {}
    for what, touched in (("nothing", -1), ("named", instruction.named), ("other", (instruction.named + 1) % 3)):
        instruction.first_touched[:] = touched
        seen[what] = observed()
    for one, other in combinations(seen.values(), 2):
        assert all(torch.equal(one[group], other[group]) for group in ("proprio", "vision", "target_vision"))
        assert (one["critic"] != other["critic"]).any(1).all()

    told = []
    for done in (False, True):
        every = torch.full((N,), done)
        monkeypatch.setattr(type(instruction), "success", property(lambda _, every=every: every))
        told.append(observed())
    assert all(torch.equal(told[0][group], told[1][group]) for group in ("proprio", "vision", "target_vision"))
    assert (told[1]["critic"] - told[0]["critic"]).abs().sum(1).tolist() == [1.0] * N


def test_broken_physics_end_one_episode_and_never_spread(env: LatentTrackingEnv) -> None:
    env.reset()
    for _ in range(7):
        env.step(rest(env))
    broken = torch.tensor([2])
    joints = env.scene["robot"].data.joint_pos.torch[broken].clone()
    write_joints(env, broken, joints, torch.full_like(joints, 2 * MAX_JOINT_SPEED))
    assert physics_broke(env).nonzero().flatten().tolist() == [2]
    write_joints(env, broken, joints * math.nan, torch.zeros_like(joints))
    for step in range(env.cfg.rates.control_per_plan):
        observations, reward, terminated, *_ = env.step(rest(env))
        assert terminated.nonzero().flatten().tolist() == ([2] if step == 0 else [])
        assert torch.isfinite(reward).all() and (step > 0 or reward[2] == 0)
        for group in observations.values():
            assert torch.isfinite(group).all()  # pyright: ignore[reportArgumentType]
    assert all(torch.isfinite(x).all() for x in (env.perception._proprio_ring, env.perception._vision_ring))


def test_what_broke_between_two_frames_is_seen_with_all_others_from_then_on(
    env: LatentTrackingEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.reset()
    period = env.cfg.rates.control_per_frame
    for _ in range(period + 2):
        env.step(rest(env))
    broken = torch.tensor([2])
    joints = env.scene["robot"].data.joint_pos.torch[broken].clone()
    write_joints(env, broken, joints * math.nan, torch.zeros_like(joints))
    rendered, render = [], env.perception.render
    monkeypatch.setattr(env.perception, "render", lambda: rendered.append(env.common_step_counter) or render())
    begin = env.common_step_counter
    for _ in range(4 * period):
        env.step(rest(env))
    first, *others = (step - begin for step in rendered)
    assert first == 1, "a new episode begins with a fresh picture"
    assert others == [period - 2 + period * i for i in range(4)]
    assert len((env.episode_length_buf % period).unique()) == 1


def seen_at(env: LatentTrackingEnv, **changed: tuple[float, float]) -> list[int]:
    """Control steps of two camera periods at which the latent of each environment is another."""
    env.set_ranges(replace(get_ranges("nominal"), **changed))
    env.reset()
    steps, before = [], env.perception.vision.clone()
    for step in range(1, 2 * env.cfg.rates.control_per_frame + 3):
        env.step(0.3 * torch.ones(N, 6))
        new = (env.perception.vision != before).flatten(1).any(1)
        assert new.all() or not new.any()
        if new.all():
            steps.append(step)
        before = env.perception.vision.clone()
    assert torch.equal(env.perception.history((0.0,))[0].vision[:, 0], before)
    assert torch.equal(env.perception._vision_ring[0], before), "the planner remembers what was seen last"
    env.set_ranges(get_ranges("train"))
    return steps


def test_a_late_frame_is_seen_when_it_arrives_and_a_lost_one_never(env: LatentTrackingEnv) -> None:
    period = env.cfg.rates.control_per_frame
    assert seen_at(env) == [period, 2 * period]
    assert seen_at(env, frame_delay=(2, 2)) == [period + 2, 2 * period + 2]
    assert seen_at(env, frame_loss=(1.0, 1.0)) == []
    for name, most, words in (
        ("frame_delay", period, f"no less than the camera's period of {period}"),
        ("observation_delay", 9, "more than the 8 of which joints are kept"),
        ("action_delay", 17, "more than the 16 that the motors keep"),
    ):
        with pytest.raises(ValueError, match=words):
            env.set_ranges(replace(get_ranges("nominal"), **{name: (0, most)}))
    assert env.cfg.ranges == env.draws.ranges == get_ranges("train"), "what is refused changes nothing"


def test_a_target_is_judged_by_the_picture_of_its_moment_however_late_that_arrives(env: LatentTrackingEnv) -> None:
    errors = []
    for changed in ({}, {"frame_delay": (3, 3)}, {"frame_loss": (1.0, 1.0)}):
        env.set_ranges(replace(get_ranges("nominal"), **changed))
        env.target.source = LiftedTargets()
        env.target.cfg.record = True
        env.generator.manual_seed(0)
        env.reset()
        env.target.records.clear()
        for _ in range(env.cfg.rates.control_per_plan):
            env.step(0.2 * torch.ones(N, 6))
        errors.append(env.target.records[0]["vision_error"])
    env.target.source = StillTargets()
    env.set_ranges(get_ranges("train"))
    assert errors[0].min() > 0.1
    assert torch.allclose(errors[1], errors[0], atol=0.05) and torch.allclose(errors[2], errors[0], atol=0.05)


def wakes() -> dict[str, int]:
    """How often each of this process's threads has waited and gone on."""
    counts = {}
    for task in Path("/proc/self/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        counts[task.name] = next(int(x.split()[1]) for x in lines if x.startswith("voluntary_ctxt_switches"))
    return counts


def test_no_thread_of_the_engine_runs_while_nobody_asks_it_to(env: LatentTrackingEnv) -> None:
    env.step(torch.zeros(N, 6))
    before = wakes()
    time.sleep(0.5)
    after = wakes()
    assert max(after[name] - before.get(name, 0) for name in after) < 500, "14,000 a second by default"


class Watched:
    """Eyes that see everything brighter, and what was asked of them."""

    def __init__(self, env: LatentTrackingEnv) -> None:
        self.env, self.calls = env, []

    def reset(self, ids: Tensor) -> None:
        self.calls.append((self.env.common_step_counter, "reset", len(ids)))

    def encode(self, pictures: Tensor, ids: Tensor, arrived: bool) -> Tensor:
        self.calls.append((self.env.common_step_counter, "arrived" if arrived else "judged", len(ids)))
        return self.env.perception.encode(pictures) + 100


def test_eyes_see_each_frame_once_when_it_arrives_and_know_when_episodes_begin(env: LatentTrackingEnv) -> None:
    env.set_ranges(replace(get_ranges("nominal"), frame_delay=(2, 2)))
    eyes = env.perception.eyes = Watched(env)
    env.target.cfg.record = True
    env.reset()
    begun, period = env.common_step_counter, env.cfg.rates.control_per_frame
    for _ in range(period + 2):
        env.step(torch.zeros(N, 6))
    frames = [(begun, "reset", N), (begun, "arrived", N), (begun + period + 2, "arrived", N)]
    assert [call for call in eyes.calls if call[1] != "judged"] == frames
    assert env.perception.vision.min() > 50
    env.perception.exposed_vision(torch.arange(N))
    assert eyes.calls[-1][1:] == ("judged", N), "a judge's look is none of the robot's"
    env.perception.eyes = None
    env.set_ranges(get_ranges("train"))


def test_proprioception_is_sensed_every_control_step(env: LatentTrackingEnv) -> None:
    env.reset()
    before = env.perception.proprio.clone()
    env.step(torch.ones_like(rest(env)) * 0.5)
    assert (env.perception.proprio != before).any(-1).all()
    assert torch.equal(env.perception.recent_proprio[:, -1], env.perception.proprio)


def test_target_is_asked_for_once_a_planner_period_and_judged_when_due(env: LatentTrackingEnv) -> None:
    target = env.target
    target.cfg.record = True
    env.reset()
    target.records.clear()
    period = env.cfg.rates.control_per_plan
    asked = target.target_proprio.clone()
    for _ in range(period - 1):
        env.step(rest(env))
    assert not target.records
    assert torch.equal(target.target_proprio, asked)
    assert target.time_to_go.unique().tolist() == pytest.approx([env.cfg.rates.control_dt])
    env.step(rest(env))
    (record,) = target.records
    assert record["since"].unique().tolist() == [period]
    assert not torch.equal(target.target_proprio, asked)


def test_way_to_a_target_begins_where_the_arm_is_and_is_planned_for_the_time_left(env: LatentTrackingEnv) -> None:
    env.reset()
    target = env.target
    assert torch.allclose(target.path_error(), torch.zeros(()), atol=1e-5)
    env.step(rest(env))
    assert bool((target.path_error().abs().amax(1) > 0).all())
    env.episode_length_buf = env.episode_length_buf * 0 + 2 * env.cfg.rates.control_per_frame
    target.forget()
    target.ensure_ready()
    assert torch.allclose(target.path_error(), torch.zeros(()), atol=1e-5)
    ahead = target.start_raw.clone()
    env.step(rest(env))
    assert torch.equal(target.start_raw, ahead)  # the way stays until the target is due


class LiftedTargets(StillTargets):
    """Targets 0.3 rad from the present in every joint, with the present's vision."""

    def targets(self, env, ids, horizon) -> LatentState:
        state, raw = env.perception.state()[ids], env.perception.true_proprio()[ids].clone()
        raw[:, :6] += 0.3 * torch.tensor([1.0, 1, -1, -1, 1, 1])
        raw[:, 6:] = 0.0
        return LatentState(state.vision, env.perception.encoder.encode_proprio(raw), horizon)


def test_perfect_tracking_arrives_whatever_the_dynamics(env: LatentTrackingEnv) -> None:
    env.set_ranges(get_ranges("unseen"))
    errors = {}
    for name, policy in (("perfect", PerfectTracking(env)), ("limp", Limp())):
        env.target.source = LiftedTargets()
        records = judge(env, policy, N, 0, name)
        assert len(records["joint_error"]) == env.cfg.plans_per_episode * N
        errors[name] = records["joint_error"]
    env.target.source = StillTargets()
    env.set_ranges(get_ranges("train"))
    assert errors["perfect"].max() < 0.02 and errors["limp"].median() > 0.2


class Limp:
    """No torque."""

    torque_limit = torch.zeros(6)

    def act(self, obs: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.zeros(N, 6)


def test_history_of_some_is_theirs_in_that_of_all(env: LatentTrackingEnv) -> None:
    env.reset()
    for _ in range(env.cfg.rates.control_per_frame + 1):
        env.step(0.3 * torch.ones(N, 6))
    ids, offsets = torch.tensor([5, 2]), (-0.2, -0.1, 0.0)
    states, known = env.perception.history(offsets)
    some, mask = env.perception.history(offsets, ids)
    assert torch.equal(some.vision, states.vision[ids]) and torch.equal(some.proprio, states.proprio[ids])
    assert torch.equal(mask, known[ids]) and mask.tolist() == [[False, True, True]] * 2


def test_an_episode_from_the_plan_bank_begins_where_its_entry_did(env: LatentTrackingEnv) -> None:
    encoder = env.perception.encoder
    assert encoder is not None
    planner = PlannerTargets.load(PRETRAINED / "planner", encoder.spec, SamplerConfig(steps=1), "cpu")
    env.target.source, seen = BankTargets(planner, capacity=N, refresh=0.0), []
    for _ in range(2):
        env.reset()
        told = env.instruction.phrase[:, None].float()
        seen.append(torch.cat([env.perception.true_proprio(), environment_state(env), told], 1).clone())
    env.target.source = StillTargets()
    apart = torch.cdist(seen[1], seen[0])
    assert (apart.amin(1) < 1e-3).all() and apart.median() > 0.1


def test_random_ages_are_rounded_to_frames(env: LatentTrackingEnv) -> None:
    env.reset()
    env.episode_length_buf = torch.arange(N) * 7
    assert (env.episode_length_buf % env.cfg.rates.control_per_frame == 0).all()
    ages = env.episode_length_buf.clone()
    env.step(rest(env))
    assert torch.equal(env.episode_length_buf, ages + 1)


def test_same_seed_same_episode(env: LatentTrackingEnv) -> None:
    seen = []
    for _ in range(2):
        env.generator.manual_seed(3)
        env.perception.generator.manual_seed(4)
        env.reset()
        seen.append((environment_state(env), env.perception.images.clone(), env.perception.raw_proprio.clone()))
    for a, b in zip(*seen, strict=True):
        assert torch.allclose(a.float(), b.float(), atol=1e-5)


def test_action_of_the_wrong_size_is_refused(env: LatentTrackingEnv) -> None:
    with pytest.raises(ValueError, match=r"[Ii]nvalid action shape"):
        env.step(torch.zeros(N, 5))


def test_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="Argos-Reach-SO100-v0"):
        task_spec("Argos-Fly-v0")
