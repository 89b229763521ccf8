import torch

from argos_wm.worlds.two_room import DOOR, RADIUS, SPEED, WALL, TwoRoom
from argos_wm.worlds.world import record, tasks

WORLD = TwoRoom()


def push_right(y: float, steps: int = 40) -> torch.Tensor:
    state = torch.tensor([[0.2, y, 0.5, 0.5]])
    for _ in range(steps):
        state = WORLD.step(state, torch.tensor([[1.0, 0.0]]))
    return state[0, 0]


def test_the_wall_stops_the_dot_and_the_door_lets_it_through() -> None:
    assert torch.isclose(push_right(0.9), torch.tensor(0.5 - WALL / 2 - RADIUS))
    assert torch.isclose(push_right(0.5), torch.tensor(1 - RADIUS))
    assert torch.isclose(push_right(0.5 + DOOR / 2), torch.tensor(0.5 - WALL / 2 - RADIUS))


def test_a_dot_in_the_doorway_slides_along_its_sides() -> None:
    state = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    for _ in range(20):
        state = WORLD.step(state, torch.tensor([[0.0, 1.0]]))
    assert torch.isclose(state[0, 1], torch.tensor(0.5 + DOOR / 2 - RADIUS))


def test_no_dot_is_ever_inside_a_wall() -> None:
    generator = torch.Generator().manual_seed(0)
    state = WORLD.reset(500, generator)
    for _ in range(50):
        x, y, wall, door = state.unbind(1)
        in_wall = ((x - wall).abs() < WALL / 2 + RADIUS - 1e-5) & ((y - door).abs() > DOOR / 2 - RADIUS + 1e-5)
        assert not in_wall.any()
        assert ((state[:, :2] >= RADIUS - 1e-6) & (state[:, :2] <= 1 - RADIUS + 1e-6)).all()
        state = WORLD.step(state, 3 * torch.randn(500, 2, generator=generator))


def test_the_picture_shows_the_dot_where_it_is() -> None:
    state = WORLD.reset(20, torch.Generator().manual_seed(1))
    red = (WORLD.render(state)[:, 0].float() / 255 - 0.3).clamp_min(0)
    along = (torch.arange(32) + 0.5) / 32
    x = (red.sum(1) * along).sum(1) / red.sum((1, 2))
    y = (red.sum(2) * along.flip(0)).sum(1) / red.sum((1, 2))
    assert torch.allclose(torch.stack([x, y], 1), state[:, :2], atol=0.01)


def test_play_goes_through_the_door_and_tasks_are_unsolved_and_reachable() -> None:
    episodes = record(WORLD, 50, 61, seed=0)
    left = episodes.states[..., 0] < episodes.states[..., 2]
    assert (left[:, 0] != left[:, -1]).float().mean() > 0.2
    assert (episodes.states.diff(dim=1)[..., :2].abs() <= SPEED + 1e-6).all()
    start, goal = tasks(WORLD, episodes, 30, 40, seed=0)
    assert not WORLD.solved(start, goal).any()
    assert WORLD.solved(goal, goal).all()
    assert torch.equal(start[:, 2:], goal[:, 2:])
