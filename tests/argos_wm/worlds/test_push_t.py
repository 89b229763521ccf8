import math

import pytest
import torch

from argos_wm.worlds.push_t import BOUNDS, PUSHER, UNIT, PushT, contact, wrap
from argos_wm.worlds.world import record

WORLD = PushT()


def play(state: list[float], action: tuple[float, float], steps: int) -> torch.Tensor:
    states = torch.tensor([state])
    for _ in range(steps):
        states = WORLD.step(states, torch.tensor([action]))
    return states[0]


def test_nothing_moves_untouched() -> None:
    after = play([0.1, 0.9, 0.5, 0.5, 0.7], (-1.0, 1.0), 5)
    assert torch.allclose(after[2:], torch.tensor([0.5, 0.5, 0.7]))


def test_a_push_through_the_centre_of_mass_moves_without_turning() -> None:
    after = play([0.5, 0.9, 0.5, 0.6, 0.0], (0.0, -1.0), 8)
    assert after[3] < 0.5
    assert torch.allclose(after[2], torch.tensor(0.5), atol=1e-4)
    assert torch.allclose(after[4], torch.tensor(0.0), atol=1e-4)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_push_beside_it_turns_toward_the_push(side: float) -> None:
    after = play([0.5 + side * 1.5 * UNIT, 0.9, 0.5, 0.6, 0.0], (0.0, -1.0), 6)
    assert side * after[4] < -0.1  # from above on the right: clockwise


def test_the_world_is_symmetric() -> None:
    """Mirrored states and actions have mirrored outcomes."""
    generator = torch.Generator().manual_seed(0)
    state = WORLD.reset(300, generator)
    mirrored = torch.stack([1 - state[:, 0], state[:, 1], 1 - state[:, 2], state[:, 3], -state[:, 4]], 1)
    for _ in range(10):
        action = torch.randn(300, 2, generator=generator)
        state, mirrored = WORLD.step(state, action), WORLD.step(mirrored, action * torch.tensor([-1.0, 1.0]))
    again = torch.stack([1 - mirrored[:, 0], mirrored[:, 1], 1 - mirrored[:, 2], mirrored[:, 3], -mirrored[:, 4]], 1)
    difference = (again - state).abs()
    difference[:, 4] = wrap(again[:, 4] - state[:, 4]).abs()
    assert (difference.amax(1) < 1e-3).float().mean() > 0.98  # a corner met head on may go either way


def test_pusher_and_t_never_overlap_and_the_t_stays_on_the_table() -> None:
    generator = torch.Generator().manual_seed(0)
    explorer, state = WORLD.explorer(300, generator), WORLD.reset(300, generator)
    for _ in range(60):
        state = WORLD.step(state, explorer.act(state))
        assert (contact(state)[0] < 0.15 * PUSHER).all()
        assert ((state[:, 2:4] >= BOUNDS[0]) & (state[:, 2:4] <= BOUNDS[1])).all()


def test_play_moves_and_turns_the_t() -> None:
    states = record(WORLD, 100, 61, seed=0).states
    assert (states[:, -1, 2:4] - states[:, 0, 2:4]).norm(dim=1).median() > 0.1
    assert wrap(states[:, -1, 4] - states[:, 0, 4]).abs().median() > 0.3


def test_a_full_turn_is_no_turn() -> None:
    state = torch.tensor([[0.1, 0.1, 0.5, 0.5, 3.1]])
    turned = state + torch.tensor([[0.0, 0.0, 0.0, 0.0, 2 * math.pi]])
    across = state + torch.tensor([[0.3, 0.0, 0.0, 0.0, 0.1]])  # over the seam at π
    upside_down = state + torch.tensor([[0.0, 0.0, 0.0, 0.0, math.pi]])
    assert WORLD.solved(state, turned) and WORLD.solved(state, across)
    assert not WORLD.solved(state, upside_down)
    assert torch.equal(WORLD.render(state), WORLD.render(turned))
