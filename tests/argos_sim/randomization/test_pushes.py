"""Pushes: whose turn it is is known without asking a GPU, and how long they last."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from argos_sim.randomization.draws import Draws
from argos_sim.randomization.dynamics import PUSHED_SHARE, Disturbances
from argos_sim.randomization.ranges import get_ranges
from argos_sim.rates import Rates

N, BODIES = 64, 7


def world() -> SimpleNamespace:
    """Robots whose applied forces are counted."""
    env = SimpleNamespace(num_envs=N, device="cpu", generator=torch.Generator().manual_seed(0))
    env.cfg, env.draws, env.applied = (
        SimpleNamespace(rates=Rates(), push_scale=1.0),
        Draws(get_ranges("complete"), N),
        0,
    )

    def apply(**_: object) -> None:
        env.applied += 1

    mass = SimpleNamespace(torch=torch.ones(N, BODIES))
    composer = SimpleNamespace(set_forces_and_torques_index=apply)
    # No engine's own: forces act at centres of mass.
    robot = SimpleNamespace(num_bodies=BODIES, data=SimpleNamespace(body_mass=mass), permanent_wrench_composer=composer)
    env.scene = {"robot": robot}
    return env


def test_steps_ask_nothing_of_the_tensors() -> None:
    """Fake tensors have shapes but no values: whatever would wait for a GPU (a nonzero, a mask, an item) raises."""
    with FakeTensorMode():
        env = world()
        disturbances = Disturbances(env, ())
        for step in range(20):
            disturbances.step(step)
    assert env.applied == 20, "at each step it is somebody's turn"


def test_each_environment_is_pushed_half_of_the_time_and_anew_every_two_turns_on_average() -> None:
    env = world()
    disturbances, steps = Disturbances(env, ()), 2000
    seen = []
    for step in range(steps):
        disturbances.step(step)
        seen.append(disturbances.pushes.clone())
    pushes = torch.stack(seen)[200:]
    pushed = pushes.norm(dim=-1).amax(-1) > 0
    assert abs(float(pushed.float().mean()) - PUSHED_SHARE) < 0.03
    assert pushes[:, :, 0].abs().max() == 0, "the foot is fixed"
    assert ((pushes.norm(dim=-1) > 0).sum(-1) <= 1).all(), "one link at a time"
    changed = (pushes[1:] != pushes[:-1]).flatten(2).any(-1).float()
    seconds = len(changed) * env.cfg.rates.control_dt / changed.sum(0).mean()
    # Every 0.2 s with a chance of a half, of which a quarter lets go of what was let go.
    assert abs(float(seconds) - 0.4 / 0.75) < 0.03
