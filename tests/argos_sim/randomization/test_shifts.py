"""Every shift changes what it should, and nothing else: the same torques and seeds, with a shift and without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

import tasks  # noqa: F401
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.pipeline.environment import environment_cfg, make_environment
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import get_ranges
from argos_sim.randomization.shifts import SHIFTS, set_world
from tests.argos_sim.randomization.parameters import parameters

N, STEPS = 4, 20
MOVED = {
    "payload": {"joints", "mass_scale", "inertia_scale"},
    "weak_motor": {"joints", "motor_strength"},
    "friction": {"joints", "joint_friction", "joint_damping"},
    "camera": {"picture", "camera_position"},
}
"""What each shift changes of what is measured below; an arm that moves otherwise is seen otherwise only later. A
payload rests at the centre of mass: it adds to a link's mass and, for a unit of mass, takes from its inertia."""


@pytest.fixture(scope="module")
def env() -> Iterator[LatentTrackingEnv]:
    cfg = environment_cfg(Settings(randomization="train"), N, physics="ovphysx")
    with make_environment(cfg) as env:
        yield env


def trial(env: LatentTrackingEnv, name: str) -> dict[str, torch.Tensor]:
    set_world(env, get_ranges("train"), SHIFTS[name], seed=3)
    env.reset()
    env.perception.look(env.common_step_counter, torch.zeros_like(env.episode_length_buf))
    measured = {"picture": env.perception.images.float()} | parameters(env)
    for _ in range(STEPS):
        env.step(0.3 * torch.ones(N, 6))
    return measured | {"joints": env.scene["robot"].data.joint_pos.torch.clone()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """What differs; of pictures more than single pixels, since blocks rest some µm higher from episode to episode."""
    bounds = {"picture": math.inf, "joints": 1e-3}
    apart = {k for k in before if not torch.allclose(before[k], after[k], atol=bounds.get(k, 1e-6))}
    pixels = (before["picture"] - after["picture"]).abs() > 8
    return apart | ({"picture"} if float(pixels.float().mean()) > 0.02 else set())


def test_a_shift_changes_what_it_should_and_is_gone_without_a_trace(env: LatentTrackingEnv) -> None:
    before = trial(env, "none")
    for name, expected in MOVED.items():
        shifted = trial(env, name)
        assert changed(before, shifted) == expected, name
        if name == "payload":
            more = shifted["mass_scale"] - before["mass_scale"]
            body = env.scene["robot"].find_bodies(env.cfg.commands.instruction.tip_body)[0][0]
            assert torch.allclose(more[:, body], torch.full((N,), SHIFTS[name].payload), atol=1e-5)
            assert more.abs().sum() == pytest.approx(float(more[:, body].sum()), abs=1e-5)
        if name == "weak_motor":
            joint, factor = next(iter(SHIFTS[name].strength.items()))
            ratio = shifted["motor_strength"] / before["motor_strength"]
            weak = env.cfg.joint_names.index(joint)
            assert torch.allclose(ratio[:, weak], torch.full((N,), factor))
            assert torch.allclose(ratio.sum(1), torch.full((N,), 5 + factor))
    again = trial(env, "none")
    assert changed(before, again) == set()


def test_a_shift_of_a_joint_that_the_robot_lacks_is_refused() -> None:
    other = SimpleNamespace(motors=SimpleNamespace(joint_names=("panda_joint1",)))
    with pytest.raises(ValueError, match="weakens elbow_flex, and the robot's joints are panda_joint1"):
        set_world(other, get_ranges("train"), SHIFTS["weak_motor"], 0)
