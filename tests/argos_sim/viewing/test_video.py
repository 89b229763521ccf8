"""The video plays in browsers, shows each plan until it is due, and its charts stay inside their boxes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from argos_sim.viewing.canvas import BLUE, Chart
from argos_sim.viewing.painter import components_painter
from argos_sim.viewing.recording import Judgement, Recording
from argos_sim.viewing.stills import CELL, GAP, contact_sheet, plan_picture, strip_picture, typical_episodes
from argos_sim.viewing.video import (
    DUE_HOLD_S,
    FPS,
    HOLD_S,
    PANEL,
    PANEL_LEFT,
    PANEL_TOP,
    SIZE,
    EpisodeFilm,
    write_video,
)
from argos_wm.latents import LatentState

FRAMES, STEPS, PLAN_STEPS, FRAME_STEPS, PLANS = 9, 41, 20, 5, 2


def constant_colour(vision: Tensor) -> Tensor:
    """Pictures (…, 3, 8, 8) whose brightness is the latents' mean."""
    return vision.mean((-1, -2))[..., None, None, None].expand(*vision.shape[:-2], 3, 8, 8)


@pytest.fixture
def recording() -> Recording:
    """Two episodes of two plans; the first plan's latents are 0.2, the second's 0.6."""
    wanted = torch.full((FRAMES, 2, 4, 3), 0.2)
    wanted[PLAN_STEPS // FRAME_STEPS :] = 0.6
    plan = LatentState(torch.full((2, PLANS, 4, 3), 0.4), torch.zeros(2, PLANS, 2), torch.tensor([[0.4, 0.8]] * 2))
    judged = [Judgement(0.4, 0.05, 0.3, True), Judgement(0.8, 0.4, 0.9, False)]
    return Recording(
        images=torch.zeros(FRAMES, 2, 3, 8, 8, dtype=torch.uint8),
        vision=torch.zeros(FRAMES, 2, 4, 3),
        target_vision=wanted,
        plan=plan,
        joint_error=torch.rand(STEPS, 2),
        vision_share=torch.rand(STEPS, 2),
        judgements=[judged, judged],
        instructions=["touch the red block", "reach for the blue block"],
        named=["red", "blue"],
        touched=["red", None],
        touched_at=[0.5, 0.0],
        done=[True, False],
        control_dt=0.02,
        frame_steps=FRAME_STEPS,
        plan_steps=PLAN_STEPS,
    )


def shown_plan(film: EpisodeFilm, step: int) -> float:
    """Brightness in the middle of the plan's panel."""
    pixel = film.draw(0, step).getpixel((PANEL_LEFT[2] + PANEL // 2, PANEL_TOP + PANEL // 2))
    assert isinstance(pixel, tuple)
    return pixel[0] / 255


def test_a_plan_is_shown_until_it_is_due(recording: Recording) -> None:
    film = EpisodeFilm(recording, constant_colour)
    for step, brightness in ((0, 0.2), (1, 0.2), (PLAN_STEPS, 0.2), (PLAN_STEPS + 1, 0.6), (2 * PLAN_STEPS, 0.6)):
        assert shown_plan(film, step) == pytest.approx(brightness, abs=0.01), f"at step {step}"


def test_video_is_what_browsers_play(recording: Recording, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "play.mp4"
    write_video(recording, constant_colour, path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == SIZE
        frames = sum(1 for _ in container.decode(stream))
    an_episode = 1 + 2 * PLAN_STEPS * 0.02 * FPS + HOLD_S * FPS + (PLANS - 1) * DUE_HOLD_S * FPS
    assert frames == pytest.approx(2 * an_episode)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.5, 1.0, 1e9])
def test_values_beyond_the_axis_stay_on_its_edge(value: float) -> None:
    chart = Chart((200, 100), 2.0, 1.0, "error", 0.1, "limit", (1.0, 2.0))
    (x, y), (_, floor), (_, ceiling) = (chart.place(1.0, v) for v in (value, 0.0, 1.0))
    assert ceiling <= y <= floor and 0 < x < 400
    assert chart.draw([[(0.0, value), (1.0, value)]], [(1.0, value, True)], BLUE).size == (200, 100)


def test_components_tell_patches_apart() -> None:
    torch.manual_seed(0)
    vision = 0.05 * torch.randn(30, 4, 5)
    vision[:, 0] += torch.tensor([3.0, 0, 0, 0, 0])
    pictures = components_painter(2, 2, vision)(vision)
    assert pictures.shape == (30, 3, 2, 2)
    assert pictures.min() >= 0 and pictures.max() <= 1
    first, others = pictures[..., 0, 0].mean(0), pictures.flatten(2)[..., 1:].mean((0, 2))
    assert (first - others).abs().max() > 0.4


def test_stills_hold_every_picture(recording: Recording) -> None:
    recording.vision[:] = torch.linspace(0.1, 0.9, FRAMES)[:, None, None, None]
    recording.images[:] = torch.linspace(100, 180, FRAMES)[:, None, None, None, None].to(torch.uint8)
    frames = [0, PLAN_STEPS // FRAME_STEPS, 2 * PLAN_STEPS // FRAME_STEPS]
    rows = (
        [None, 0.4, 0.4],
        recording.vision[frames, 0, 0, 0].tolist(),
        (recording.images[frames, 0, 0, 0, 0] / 255).tolist(),
    )
    for episode in range(recording.episodes):
        picture = np.asarray(plan_picture(recording, constant_colour, episode)) / 255
        for row, wanted in enumerate(rows):
            for column, brightness in enumerate(wanted):
                x, y = (begin + n * (CELL + GAP) + CELL // 2 for begin, n in ((104, column), (76, row)))
                if brightness is not None:
                    assert picture[y, x] == pytest.approx(brightness, abs=0.01), (row, column)
    assert typical_episodes(recording, most=1) == [0]
    one, two = (np.asarray(strip_picture(recording, constant_colour, list(range(n)))) for n in (1, 2))
    assert two.shape[0] > one.shape[0]
    # Two pictures imagined, and four of the camera: now and at two times, in each row.
    grey = {tuple([round(255 * 0.4)] * 3): 2, (100, 100, 100): 1, (180, 180, 180): 1}
    for colour, pictures in grey.items():
        assert (two == colour).all(-1).sum() >= 2 * pictures * (CELL - 4) ** 2, colour
    sheet = contact_sheet(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), "five", cell=20)
    assert (np.asarray(sheet) == 0).all(-1).sum() >= 5 * 20 * 20
