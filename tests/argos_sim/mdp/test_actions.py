"""Laws of the bus between controller and motors: a lost command is the one before, a late one comes late."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from isaaclab.utils.types import ArticulationActions
from torch import Tensor

from argos_sim.actuators import MotorActuator, STS3215ActuatorCfg
from argos_sim.mdp.actions import TorqueAction, TorqueActionCfg
from argos_sim.randomization.draws import Draws
from argos_sim.randomization.dynamics import randomize_motors
from argos_sim.randomization.ranges import get_ranges

N, NAMES = 50, ["a", "b"]
LIMIT = 1e4
"""Of every motor [N·m]: above all numbers by which commands are told apart."""


class Indices(list[int]):
    """As Isaac Lab hands them out."""

    @property
    def torch(self) -> Tensor:
        return torch.tensor(self)


class Joints:
    """Of an articulation only its joints."""

    num_joints = len(NAMES)

    def find_joints(self, names: list[str], **_: Any) -> tuple[Indices, list[str]]:
        return Indices(range(len(names))), names


def world(**ranges: tuple[float, float]) -> SimpleNamespace:
    """Motors and their bus in N environments, drawn from the nominal ranges but for ``ranges``."""
    env = SimpleNamespace(num_envs=N, device="cpu", generator=torch.Generator().manual_seed(0))
    env.scene, env.joint_unit = {"robot": Joints()}, torch.ones(len(NAMES))
    env.draws = Draws(replace(get_ranges("nominal"), **ranges), N)
    env.motors = MotorActuator(
        STS3215ActuatorCfg(joint_names_expr=[".*"], stall_torque=LIMIT), NAMES, slice(None), N, "cpu"
    )
    env.bus = TorqueAction(TorqueActionCfg(asset_name="robot", joint_names=NAMES, scale=2.0), env)  # pyright: ignore
    randomize_motors(env, None)
    return env


def sent(env: SimpleNamespace, number: float) -> Tensor:
    """What the motors are told (N, J) when a controller says ``number``."""
    env.bus.process_actions(torch.full((N, 2), number))
    return env.bus.processed_actions


def test_a_command_that_is_lost_leaves_the_one_before_in_force() -> None:
    env = world(action_loss=(1.0, 1.0))
    env.bus.loss.zero_()
    assert (sent(env, 0.5) == 1.0).all()
    env.bus.loss[: N // 2] = 1.0
    for number in (0.7, -0.2):
        assert (sent(env, number) == torch.tensor([1.0, 2 * number]).repeat_interleave(N // 2)[:, None]).all()
    env.bus.reset(torch.tensor([0]))
    assert sent(env, 0.3)[:2, 0].tolist() == [0.0, 1.0], "a new episode's first finds none before it"


def test_commands_are_lost_each_by_itself_as_often_as_the_range_says() -> None:
    env, lost = world(action_loss=(0.3, 0.3)), []
    for step in range(1, 200):
        before = env.bus.processed_actions.clone()
        now = sent(env, float(step))
        assert ((now == 2.0 * step) | (now == before)).all()
        lost.append((now != 2.0 * step).all(1))
    shares = torch.stack(lost).float()
    assert shares.mean() == pytest.approx(0.3, abs=0.02)
    assert shares.mean(0).std() < 0.1 and shares.mean(1).std() < 0.1, "neither some environments' nor some commands'"


@pytest.mark.parametrize(("delay", "jitter"), [(3, 0), (2, 3), (0, 2)])
def test_what_arrives_is_late_by_the_delay_and_up_to_the_jitter_more(delay: int, jitter: int) -> None:
    """By efforts that are the number of the physics step in which they were sent."""
    env, ages, decimation = world(action_delay=(delay, delay), action_jitter=(jitter, jitter)), [], 4
    for step in range(400):
        if step % decimation == 0:
            sent(env, 0.0)
        action = ArticulationActions(joint_efforts=torch.full((N, 2), float(step)))
        arrived = env.motors.compute(action, torch.zeros(N, 2), torch.zeros(N, 2)).joint_efforts
        ages.append(step - arrived[:, 0])
    seen = torch.stack(ages[20:])
    assert seen.unique().tolist() == list(range(delay, delay + jitter + 1))
    each = seen.view(-1, decimation, N)
    assert (each == each[:, :1]).all(), "one age for a command"
    shares = torch.stack([(each[:, 0] == delay + late).float().mean(0) for late in range(jitter + 1)])
    assert shares.min() > 0.5 / (jitter + 1), "in each environment all of them, about as often as each other"
