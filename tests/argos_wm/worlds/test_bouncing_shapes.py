import torch

from argos_wm.worlds.bouncing_shapes import (
    HORIZON,
    RADIUS,
    SHAPES,
    SPEED,
    Scene,
    draw_future,
    futures,
    read,
    render,
    scenes,
    score,
)

SCENES = scenes(200, 0.4, torch.Generator().manual_seed(0))


def test_the_past_is_straight_and_inside() -> None:
    for seconds in (0.0, 0.2, 0.4):
        place = SCENES.back(seconds).place
        assert ((place >= RADIUS - 1e-5) & (place <= 1 - RADIUS + 1e-5)).all()


def test_without_a_wall_there_is_one_future_and_it_is_straight() -> None:
    scene = Scene(torch.full((1, SHAPES, 2), 0.5), torch.tensor([[[SPEED, 0.0], [0.0, -SPEED]]]))
    places, bounces = futures(scene)
    assert not bounces.any()
    assert torch.allclose(places, (scene.place + HORIZON * scene.velocity)[:, :, None].expand(-1, -1, 3, -1))


def test_a_wall_makes_three_futures_as_long_as_the_flight() -> None:
    scene = Scene(torch.tensor([[[0.8, 0.5], [0.5, 0.5]]]), torch.tensor([[[SPEED, 0.0], [SPEED, 0.0]]]))
    places, bounces = futures(scene)
    assert bounces.tolist() == [[True, False]]
    wall = torch.tensor([1 - RADIUS, 0.5])
    flown = (wall - scene.place[0, 0]).norm() + (places[0, 0] - wall).norm(dim=-1)
    assert torch.allclose(flown, torch.full((3,), SPEED * HORIZON))
    assert (places[0, 0, :, 0] < wall[0]).all()
    assert (torch.pdist(places[0, 0]) > 0.1).all()


def test_a_drawn_future_is_one_of_them_and_all_are_drawn() -> None:
    places, bounces = futures(SCENES)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw_future(SCENES, generator) for _ in range(64)], 1)
    assert ((drawn[:, :, :, None] - places[:, None]).norm(dim=-1).amin(-1) < 1e-5).all()
    figures = score(drawn, torch.ones(drawn.shape[:3], dtype=torch.bool), places, bounces)
    assert (figures["precision"] == 1).all()
    assert figures["recall"].mean() > 0.99


def test_pictures_can_be_read() -> None:
    truth = draw_future(SCENES, torch.Generator().manual_seed(0))
    place, sharp = read(render(truth).float() / 255)
    assert sharp.all()
    assert (place - truth).norm(dim=-1).max() < 0.01


def test_the_mean_of_futures_is_no_future() -> None:
    """What a deterministic predictor learns has no precision where the future branches."""
    places, bounces = futures(SCENES)
    both = bounces.all(1)
    pictures = torch.stack([render(places[:, :, i]).float() for i in range(3)]).mean(0) / 255
    place, sharp = read(pictures)
    figures = score(place[:, None], sharp[:, None], places, bounces)
    assert figures["precision"][both].mean() < 0.5
    assert figures["precision"][~bounces.any(1)].mean() == 1
