"""PPO's storage gives the batches that rsl_rl's own gives, and keeps what holds once."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from argos_sim.controller.rollouts import Held, LatentRollouts

ENVS, STEPS, WIDTH, FRAME = 6, 12, 5, 4


def seen() -> list[TensorDict]:
    """What is observed in each step: pictures every ``FRAME`` steps, and one more where environment 2 began anew."""
    steps, picture = [], torch.empty(0)
    for step in range(STEPS):
        if step % FRAME == 0:
            picture = torch.randn(ENVS, WIDTH)
        if step == 6:
            picture = picture.clone()
            picture[2] += 1.0
        steps.append(TensorDict({"vision": picture, "joints": torch.randn(ENVS, 3)}, batch_size=[ENVS]))
    return steps


def fill(storage: RolloutStorage, steps: list[TensorDict]) -> None:
    for number, obs in enumerate(steps):
        generator = torch.Generator().manual_seed(number)
        transition = RolloutStorage.Transition()
        transition.observations = obs
        transition.actions = torch.randn(ENVS, 2, generator=generator)
        transition.rewards = torch.randn(ENVS, generator=generator)
        transition.dones = torch.zeros(ENVS)
        transition.values = torch.randn(ENVS, 1, generator=generator)
        transition.actions_log_prob = torch.randn(ENVS, generator=generator)
        transition.distribution_params = (torch.randn(ENVS, 2, generator=generator),)
        storage.add_transition(transition)


def batches(storage: RolloutStorage) -> list[dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    found = []
    for batch in storage.mini_batch_generator(4, 2):
        assert batch.observations is not None and batch.actions is not None
        found.append({**dict(batch.observations.items()), "actions": batch.actions})
    return found


@pytest.fixture
def storage() -> LatentRollouts:
    return LatentRollouts(ENVS, STEPS, seen()[0], 2, ["vision"], "cpu")


def test_batches_are_those_of_rsl_rl(storage: LatentRollouts) -> None:
    plain = RolloutStorage("rl", ENVS, STEPS, seen()[0], [2])
    for _ in range(2):  # a second iteration begins with nothing of the first
        steps = seen()
        for each in (plain, storage):
            each.clear()
            fill(each, steps)
        for own, theirs in zip(batches(storage), batches(plain), strict=True):
            assert own.keys() == theirs.keys()
            assert all(torch.equal(own[name], theirs[name]) for name in own)


def test_what_holds_is_kept_once(storage: LatentRollouts) -> None:
    fill(storage, seen())
    assert storage.held["vision"].count == ENVS * STEPS // FRAME + 1


def test_in_half_precision_rows_differ_by_its_rounding() -> None:
    held, rows = Held("cpu"), torch.randn(50, 8)
    held.dtype = torch.float16
    first = held.add(rows)
    rows[7] = 2.0
    second = held.add(rows + 1e-9)
    assert held.count == 51, "what rounds to the same is the same"
    assert torch.allclose(held.take(second), rows, atol=2e-3) and held.blocks[0].dtype == torch.float16
    assert not torch.allclose(held.take(first)[7], rows[7], atol=2e-3)
