"""Laws of mixed and of perturbed targets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from argos_sim.targets import DemonstrationTargets, MixedTargets, PerturbedTargets
from argos_wm.encoders.state import StateEncoder
from argos_wm.latents import LatentState

N = 20


class Numbered:
    """Targets that are a number everywhere; remembers which environments it was asked for and began."""

    def __init__(self, number: float) -> None:
        self.number, self.asked, self.begun, self.seed = number, [], [], -1

    def begin(self, env, ids: Tensor) -> None:
        self.begun += ids.tolist()

    def targets(self, env, ids: Tensor, horizon: Tensor) -> LatentState:
        self.asked += ids.tolist()
        vision = torch.full((len(ids), 2, 3), self.number)
        return LatentState(vision, torch.full((len(ids), 4), self.number), horizon)

    def reseed(self, seed: int) -> None:
        self.seed = seed


def test_each_environment_has_one_source_for_good_and_shares_are_kept() -> None:
    sources = {"planner": Numbered(1.0), "demonstrations": Numbered(2.0), "perturbed": Numbered(3.0)}
    mixed = MixedTargets(dict(sources), {"demonstrations": 0.1, "perturbed": 0.25}, N, "cpu")
    assert [int((mixed.source_of == i).sum()) for i in range(3)] == [13, 2, 5]
    ids = torch.randperm(N)
    target = mixed.targets(None, ids, torch.arange(N) * 0.1)
    assert torch.equal(target.vision[:, 0, 0], mixed.source_of[ids] + 1.0)
    assert torch.equal(target.time, torch.arange(N) * 0.1)
    mixed.begin(None, ids)
    for i, source in enumerate(sources.values()):
        own = (mixed.source_of == i).nonzero().flatten().tolist()
        assert sorted(source.asked) == own and sorted(source.begun) == own
    mixed.reseed(7)
    assert len({source.seed for source in sources.values()}) == 3


@pytest.mark.parametrize("shares", [{"b": 1.2}, {"b": -0.1}])
def test_shares_that_make_no_sense_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must not be negative, nor sum to more than 1"):
        MixedTargets({"a": Numbered(1.0), "b": Numbered(2.0)}, shares, N, "cpu")


class Present:
    """A fixed latent state of the shipped encoder."""

    def __init__(self, encoder: StateEncoder) -> None:
        raw = torch.zeros(64, 12)
        raw[:, :6] = 0.5
        with torch.no_grad():
            self.proprio = encoder.encode_proprio(raw)
        self.vision = torch.zeros(64, encoder.spec.patches, encoder.spec.channels)

    def targets(self, env, ids: Tensor, horizon: Tensor) -> LatentState:
        return LatentState(self.vision[ids], self.proprio[ids], horizon)

    def reseed(self, seed: int) -> None:
        """Nothing is drawn."""


def test_a_perturbed_target_is_off_by_what_was_asked_in_joints_and_vision() -> None:
    encoder = StateEncoder.load(Path("assets/pretrained/encoder"))
    base, ids = Present(encoder), torch.arange(64)
    exact = PerturbedTargets(base, encoder, joints=0.0, vision=0.0).targets(None, ids, torch.ones(64))
    target = PerturbedTargets(base, encoder, joints=0.05, vision=0.1).targets(None, ids, torch.ones(64))
    joints = (encoder.decode_proprio(target.proprio) - encoder.decode_proprio(exact.proprio))[:, :6]
    assert float(joints.std()) == pytest.approx(0.05, rel=0.15)
    assert float((target.vision - exact.vision).std()) == pytest.approx(0.1, rel=0.05)
    again = PerturbedTargets(base, encoder, joints=0.05, vision=0.1).targets(None, ids, torch.ones(64))
    assert torch.equal(again.vision, target.vision) and torch.equal(again.proprio, target.proprio)


def test_a_demonstration_is_asked_for_from_its_beginning_whatever_age_its_episode_was_given() -> None:
    def states(frame: Tensor) -> LatentState:
        return LatentState(frame[:, None, None].float(), frame[:, None].float(), frame.float())

    starts = torch.tensor([0, 20, 40])
    cache: Any = SimpleNamespace(environment_state=torch.zeros(40, 1), fps=10.0, starts=starts, states=states)
    source = DemonstrationTargets(cache, torch.arange(2), "cpu")
    source._episode = torch.tensor([0, 1])
    rates = SimpleNamespace(control_dt=0.02)
    cfg = SimpleNamespace(rates=rates)
    env: Any = SimpleNamespace(episode_length_buf=torch.tensor([0, 65]), cfg=cfg, device="cpu")
    source.aged(env)
    ids, horizon = torch.arange(2), torch.tensor([0.8, 0.3])
    assert source.targets(env, ids, horizon).proprio.flatten().tolist() == [8, 23]
    env.episode_length_buf += 15
    assert source.targets(env, ids, torch.full((2,), 0.8)).proprio.flatten().tolist() == [11, 31]


def test_a_demonstration_of_what_the_task_does_not_ask_is_refused_in_a_sentence() -> None:
    cache: Any = SimpleNamespace(environment_state=torch.zeros(40, 1), instructions=["touch the red block", "wave"])
    source = DemonstrationTargets(cache, torch.arange(1), "cpu")
    env: Any = SimpleNamespace(num_envs=2, instruction=SimpleNamespace(texts=["wave", "touch the red block"]))
    assert source._phrases(env.instruction.texts).tolist() == [1, 0]
    env.instruction.texts = ["touch the red block"]
    with pytest.raises(ValueError, match="asked to 'wave', which this task asks of nobody"):
        source.begin(env, torch.arange(2))
