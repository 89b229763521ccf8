"""Laws of translation: what changed is found, what did not is left alone, and no moment crosses an episode's end."""

from __future__ import annotations

import torch

from argos_sim.controller.network import ControllerConfig
from argos_sim.controller.translation import (
    AFTER,
    BEFORE,
    Translation,
    fit_inverse,
    fit_translation,
    moments,
    translation_of,
)

SIZES = ControllerConfig(patches=1, channels=1, proprio_dim=4, joints=2, history=1)
TIME, ROBOTS = 60, 40


def arm(strength: float, load: float = 0.0) -> dict[str, torch.Tensor]:
    """Two joints that random torques push, the first against a load; the latent is the state itself."""
    generator = torch.Generator().manual_seed(int(10 * strength + 100 * load))
    state = torch.zeros(ROBOTS, 4)
    state[:, :2] = torch.randn(ROBOTS, 2, generator=generator)
    action, sensed, done = torch.zeros(ROBOTS, 2), [], []
    for _ in range(TIME):
        action = 0.8 * action + 0.1 * torch.randn(ROBOTS, 2, generator=generator)
        previous, state = state, state.clone()
        pushed = strength * action.clamp(-1, 1) - load * torch.tensor([1.0, 0.0])
        state[:, 2:] = 0.9 * state[:, 2:] + pushed
        state[:, :2] = state[:, :2] + 0.1 * state[:, 2:]
        history = torch.stack([previous, previous], 1).flatten(1)
        sensed.append(torch.cat([history, torch.zeros(ROBOTS, 4 + 2 + 1)], 1))
        done.append(action.clamp(-1, 1))
    return {
        "proprio": torch.stack(sensed),
        "action": torch.stack(done),
        "alive": torch.ones(TIME, ROBOTS, dtype=torch.bool),
    }


def drawn(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, 4), 0.2 * torch.randn(count, 2)


def test_weak_motors_load_and_friction_are_found_and_nothing_where_nothing_changed() -> None:
    state, before = drawn()
    speed = state[:, 2:]
    changes = {
        "nothing": before,
        "weak": before * torch.tensor([1.0, 2.0]),
        "load": before + torch.stack([0.1 + 0.05 * state[:, 0] - 0.02 * state[:, 0] * state[:, 1], 0 * speed[:, 0]], 1),
        "friction": before + 0.1 * torch.tanh(speed / 0.1) + 0.05 * speed,
    }
    new_state, new_before = drawn(500)
    for name, now in changes.items():
        found = fit_translation(state, before, now)
        left = found(state, before) - now.clamp(-1, 1)
        assert left.abs().max() < 0.02, name
        if name == "nothing":
            assert torch.equal(found(new_state, new_before), new_before.clamp(-1, 1))
        if name == "weak":
            wanted = (new_before * torch.tensor([1.0, 2.0])).clamp(-1, 1)
            assert torch.allclose(found(new_state, new_before), wanted, atol=0.02)


def test_moments_are_whole_and_lie_within_one_episode() -> None:
    experience = arm(1.0)
    experience["proprio"][:, :, 4] = torch.arange(TIME)[:, None].float()  # the current latent tells the control step
    experience["action"][:, :, 0] = torch.arange(TIME)[:, None].float()
    experience["alive"][20:, 3] = False
    around, latent, action = moments(experience, SIZES)
    assert len(around) == TIME * ROBOTS - (BEFORE + AFTER) * ROBOTS - (TIME - 20)
    steps = torch.arange(-BEFORE, AFTER + 1)
    assert torch.equal(around[:, :, 0], action[:, :1] + steps) and torch.equal(latent[:, 0], action[:, 0])
    alone = {name: value[:, 3:4] for name, value in experience.items()}
    assert moments(alone, SIZES)[0][:, :, 0].max() == 19


def test_from_movements_alone_a_weaker_and_loaded_arm_is_translated() -> None:
    inverse = fit_inverse(arm(1.0), SIZES, steps=400, seed=0)
    around, _, action = moments(arm(1.0), SIZES)
    assert (inverse(around) - action).square().mean().sqrt() < 0.3 * action.std()
    found: dict[tuple[float, float], Translation] = {}
    for strength, load in ((1.0, 0.0), (0.5, 0.0), (1.0, 0.2)):
        found[strength, load] = translation_of([arm(strength, load)], inverse, SIZES, lambda latent: latent)
    state, command = torch.zeros(1, 4), torch.tensor([[0.1, 0.1]])
    same, weak, loaded = (translate(state, command)[0] for translate in found.values())
    assert torch.allclose(same, command[0], atol=0.03)
    assert torch.allclose(weak, 2 * command[0], atol=0.06)
    assert torch.allclose(loaded, command[0] + torch.tensor([0.2, 0.0]), atol=0.06)
