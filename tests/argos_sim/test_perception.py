"""Laws of what the joints' encoders say: rounded, biased and late as drawn, and nothing beside."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from argos_sim.perception import Perception, PerceptionCfg
from argos_sim.randomization.draws import Draws
from argos_sim.randomization.ranges import get_ranges
from argos_sim.rates import Rates

N, J = 9, 6
UNIT = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.1])
"""What counts as a radian; the last joint slides."""
EVERY = torch.arange(N)


class Arm:
    """Of an articulation only its joints, which are where a test puts them."""

    device, num_instances = "cpu", N

    def __init__(self) -> None:
        position, velocity = torch.rand(N, J), torch.rand(N, J)
        self.data = SimpleNamespace(
            joint_pos=SimpleNamespace(torch=position), joint_vel=SimpleNamespace(torch=velocity)
        )


def senses(**ranges: tuple[float, float]) -> Any:
    """The senses of N arms, without an encoder or anything to see, drawn from nominal ranges but for ``ranges``."""
    camera = SimpleNamespace(cfg=SimpleNamespace(data_types=["semantic_segmentation"]))
    draws, cfg = Draws(replace(get_ranges("nominal"), **ranges), N), PerceptionCfg(image_size=16, backgrounds=1)
    perception = Perception(camera, Arm(), list(range(J)), UNIT, None, draws, Rates(), cfg, 0)
    perception.reset(EVERY)
    return perception


def readings(perception: Perception, steps: range) -> tuple[Tensor, Tensor]:
    """True joint states and what is said of them, each (S, N, 2J), in control steps in which the joints move about."""
    true, said = [], []
    for step in steps:
        data = perception.robot.data
        data.joint_pos.torch, data.joint_vel.torch = torch.randn(N, J), torch.randn(N, J)
        perception.sense(step)
        true.append(perception.true_proprio())
        said.append(perception.raw_proprio.clone())
    return torch.stack(true), torch.stack(said)


def test_nominal_encoders_say_what_is() -> None:
    true, said = readings(senses(), range(5))
    assert torch.equal(said, true)


def test_readings_are_multiples_of_the_encoder_s_step_and_none_is_nearer() -> None:
    size = 0.01
    true, said = readings(senses(encoder_step=(size, size)), range(20))
    counts = said[..., :J] / (size * UNIT)
    assert (counts - counts.round()).abs().max() < 1e-3
    assert ((said - true)[..., :J] / UNIT).abs().max() == pytest.approx(size / 2, rel=0.05)
    assert torch.equal(said[..., J:], true[..., J:]), "velocities are not rounded"


def test_a_bias_is_each_joint_s_own_and_lasts_for_the_episode() -> None:
    perception, errors = senses(encoder_bias=(-0.02, 0.02)), []
    for steps in (range(20), range(20, 40)):
        true, said = readings(perception, steps)
        error = (said - true)[..., :J] / UNIT
        assert torch.allclose(error, error[:1].expand_as(error), atol=1e-5)
        assert torch.equal(said[..., J:], true[..., J:])
        errors.append(error[0])
        perception.reset(EVERY[1:])
    assert errors[0].abs().max() <= 0.02 + 1e-5 and errors[0].flatten().std() > 0.005
    assert (errors[0].diff(dim=0).abs().min() > 1e-5) and (errors[0].diff(dim=1).abs().min() > 1e-5)
    same = torch.isclose(errors[0], errors[1], atol=1e-5).all(1)
    assert same.tolist() == [True] + [False] * (N - 1), "an episode that begins has another, one that goes on its own"


def test_noise_is_new_at_each_reading_of_each_joint() -> None:
    true, said = readings(senses(encoder_noise=(0.01, 0.01)), range(200))
    error = (said - true)[..., :J] / UNIT
    assert error.std(0).flatten().tolist() == pytest.approx([0.01] * N * J, rel=0.25)
    assert error.mean(0).abs().max() < 0.003
    assert (error[1:] * error[:-1]).mean().abs() < 1e-5, "none knows of the one before"
    assert (error.flatten(1).T.corrcoef() - torch.eye(N * J)).abs().max() < 0.5, "nor of another joint's"


def test_a_late_reading_is_the_state_of_that_many_physics_steps_ago() -> None:
    """While joints move at a constant speed, so that what is read between two control steps is known, too."""
    perception, rates = senses(), Rates()
    perception.delay_steps[:] = EVERY
    begin, speed = perception.true_proprio(), torch.randn(N, 2 * J)
    for step in range(8):
        now = step * rates.decimation
        state = begin + speed * now
        perception.robot.data.joint_pos.torch, perception.robot.data.joint_vel.torch = state[:, :J], state[:, J:]
        perception.sense(step)
        ago = (now - EVERY).clamp(min=0)[:, None]  # an arm was at rest before its episode began
        assert torch.allclose(perception.raw_proprio, begin + speed * ago, atol=1e-4), step


def test_the_range_says_how_late() -> None:
    perception = senses(observation_delay=(3, 3))
    assert (perception.delay_steps == 3).all()
    speed = torch.ones(N, J)
    for step in range(4):
        perception.robot.data.joint_pos.torch = speed * step
        perception.sense(step)
    assert torch.allclose(perception.raw_proprio[:, :J], torch.full((N, J), 3 - 3 / Rates().decimation))
