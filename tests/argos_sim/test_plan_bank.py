"""Laws of plans drawn beforehand, on an environment that is nothing but its tensors."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from argos_sim import plan_bank
from argos_sim.plan_bank import BankTargets
from argos_wm.latents import LatentPlan, LatentState

N, JOINTS, OBJECTS, T, PERIOD = 12, 6, 3, 3, 40


class Planner:
    """Plans that tell from which joints, in which words and for which target they were drawn."""

    device = torch.device("cpu")
    world_model = SimpleNamespace(config=SimpleNamespace(history=(0.0,)))

    def __init__(self) -> None:
        self.plans = 0

    def plan(self, history, mask, instructions, targets, period, seed) -> LatentPlan:
        self.plans += len(instructions)
        vision = history.vision[:, -1:].expand(-1, targets, -1, -1).clone()
        number = torch.arange(targets).float()
        said = torch.tensor([float(text) for text in instructions])[:, None].expand(-1, targets)
        proprio = torch.stack([said, number.expand(len(said), -1)], -1)
        return LatentPlan(LatentState(vision, proprio, proprio[..., 1]), instructions, seed, 1, 1.0)


class Scene(dict):
    env_origins = torch.arange(3.0 * N).view(N, 3)


class Env:
    """Joints that differ from episode to episode, and what a bank reads and writes of an environment."""

    num_envs, device, widening = N, "cpu", None

    def __init__(self) -> None:
        rates = SimpleNamespace(control_per_plan=PERIOD, planner_period_s=0.8, control_dt=0.8 / PERIOD)
        ranges = SimpleNamespace(object_size=(1.0, 1.0))
        self.cfg = SimpleNamespace(rates=rates, plans_per_episode=T, distractors=False, ranges=ranges)
        self.joints, self.objects, self.foot = torch.zeros(N, JOINTS), torch.zeros(N, OBJECTS, 7), torch.zeros(N)
        self.phrase = torch.zeros(N, dtype=torch.long)
        self.episode_length_buf = torch.zeros(N, dtype=torch.long)
        self.episodes = 0

    @property
    def scene(self) -> Scene:
        wrap = lambda value: SimpleNamespace(torch=value)  # noqa: E731
        foot = torch.cat([torch.zeros(N, 2), self.foot[:, None]], 1) + Scene.env_origins
        data = SimpleNamespace(
            joint_pos=wrap(self.joints), root_pos_w=wrap(foot), default_root_pose=wrap(torch.zeros(N, 7))
        )
        return Scene(robot=SimpleNamespace(data=data))

    @property
    def instruction(self) -> SimpleNamespace:
        poses = self.objects[..., :3] + Scene.env_origins[:, None], self.objects[..., 3:]
        return SimpleNamespace(
            phrase=self.phrase,
            objects=[str(i) for i in range(OBJECTS)],
            object_poses=lambda: poses,
            text=lambda ids: [str(i) for i in self.phrase[ids].tolist()],
        )

    @property
    def perception(self) -> SimpleNamespace:
        vision = self.joints[:, None, None, :1].expand(-1, 1, 2, 3)
        state = LatentState(vision, torch.zeros(N, 1, 2), torch.zeros(N, 1))
        return SimpleNamespace(history=lambda offsets, ids: (state[ids], torch.ones(len(ids), 1, dtype=torch.bool)))

    def reset(self, bank: BankTargets, ids: Tensor) -> None:
        """As an environment: drawn anew, then as the source of targets would have it."""
        count = len(ids)
        self.joints[ids] = self.episodes + torch.arange(float(count))[:, None] + torch.arange(JOINTS) / 10
        self.objects[ids] = torch.rand(count, OBJECTS, 7)
        self.foot[ids] = -torch.rand(count)
        self.phrase[ids] = torch.randint(100, (count,))
        self.episode_length_buf[ids] = 0
        self.episodes += count
        bank.begin(self, ids)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Env:
    def write_joints(env, ids, position, velocity) -> None:
        env.joints[ids] = position

    def write_object(env, name, ids, position, rotation) -> None:
        env.objects[ids, int(name)] = torch.cat([position, rotation], -1)

    def set_table(env, ids, height) -> None:
        env.foot[ids] = -height

    monkeypatch.setattr(plan_bank.events, "write_joints", write_joints)
    monkeypatch.setattr(plan_bank.events, "write_object", write_object)
    monkeypatch.setattr(plan_bank.dynamics, "set_table", set_table)
    return Env()


def begun(env: Env) -> Tensor:
    """All that an episode begins with (N, …)."""
    return torch.cat([env.joints, env.objects.flatten(1), env.foot[:, None], env.phrase[:, None].float()], 1).clone()


def make(planner: Planner, **settings) -> BankTargets:
    return BankTargets(SimpleNamespace(planner=planner, batch=5), **settings)  # pyright: ignore[reportArgumentType]


def test_an_episode_keeps_its_plan_while_others_renew_the_bank(env: Env) -> None:
    bank, every, horizon = make(Planner(), capacity=4, refresh=0.25), torch.arange(N), torch.full((N,), 0.8)
    env.reset(bank, every)
    bank.targets(env, every, horizon)
    for _ in range(50):
        env.reset(bank, (torch.rand(N) < 0.5).nonzero().squeeze(-1))
        assert torch.equal(bank.targets(env, every, horizon).proprio[:, 0], env.phrase.float())


def test_an_episode_from_the_bank_begins_as_its_plan_did_and_asks_for_all_of_it(env: Env) -> None:
    planner, every, horizon = Planner(), torch.arange(N), torch.full((N,), 0.8)
    bank = make(planner, capacity=N, refresh=0.0)
    env.reset(bank, every)
    bank.targets(env, every, horizon)
    first = begun(env)
    assert planner.plans == N
    for _ in range(3):
        env.reset(bank, every)
        now = begun(env)
        assert (torch.cdist(now, first).amin(1) < 1e-4).all()
        for target in range(T + 1):  # the tick of an episode's last frame has no target of its own
            env.episode_length_buf[:] = target * PERIOD
            wanted = bank.targets(env, every, horizon)
            assert torch.equal(wanted.proprio[:, 0], env.phrase.float())
            assert torch.equal(wanted.vision[:, 0], env.joints[:, :1].expand(-1, 3))
            assert (wanted.proprio[:, 1] == min(target, T - 1)).all() and torch.equal(wanted.time, horizon)
    assert planner.plans == N, "a full bank that is not refreshed plans no more"


def test_an_episode_that_is_given_an_age_begins_with_its_first_target_all_the_same(env: Env) -> None:
    bank, every = make(Planner(), capacity=N, refresh=0.0), torch.arange(N)
    env.reset(bank, every)
    bank.targets(env, every, torch.full((N,), 0.8))
    env.reset(bank, every)
    ages = PERIOD + torch.arange(N) % PERIOD
    env.episode_length_buf[:] = ages
    bank.aged(env)
    left = (PERIOD - ages % PERIOD) * 0.8 / PERIOD
    assert (bank.targets(env, every, left).proprio[:, 1] == 0).all()
    env.episode_length_buf[:] = 2 * PERIOD
    # The next is due one period later: the state that is nearest to what has passed by then.
    wanted = ((2 * PERIOD - ages + PERIOD) / PERIOD).round() - 1
    assert torch.equal(bank.targets(env, every, torch.full((N,), 0.8)).proprio[:, 1], wanted)


def test_a_share_of_the_beginnings_renews_the_oldest_and_disturbs_no_episode_under_way(env: Env) -> None:
    planner, every = Planner(), torch.arange(N)
    bank = make(planner, capacity=4, refresh=0.25)
    env.reset(bank, every)
    bank.targets(env, every, torch.ones(N))
    assert bank.held == 4 and planner.plans == N
    half = every[: N // 2]
    waiting = bank.targets(env, every[N // 2 :], torch.ones(N - N // 2))
    for _ in range(100):
        env.reset(bank, half)
        bank.targets(env, half, torch.ones(len(half)))
    assert 0.18 < (planner.plans - N) / (100 * len(half)) < 0.32
    assert bank.entries is not None and bank.entries.joints[:4, 0].min() > N, "entries of the start are gone"
    after = bank.targets(env, every[N // 2 :], torch.ones(N - N // 2))
    fresh = bank._entry[N // 2 :] >= bank.capacity
    assert torch.equal(after.vision[fresh], waiting.vision[fresh]) and fresh.any()


def test_what_follows_a_reseeding_depends_on_the_seed_alone(env: Env) -> None:
    bank, every, seen = make(Planner(), capacity=N, refresh=0.5), torch.arange(N), []
    for _ in range(2):
        bank.reseed(3)
        assert bank.held == 0
        torch.manual_seed(0)
        env.episodes = 0
        for _ in range(4):
            env.reset(bank, every)
            bank.targets(env, every, torch.ones(N))
        seen.append(begun(env))
    assert torch.equal(*seen)


@pytest.mark.parametrize("settings", [{"capacity": 0}, {"refresh": 1.5}])
def test_a_bank_that_makes_no_sense_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="is none; see BankTargets"):
        make(Planner(), **settings)
