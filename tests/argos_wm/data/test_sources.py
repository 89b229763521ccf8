"""Pictures and clips as training windows: shapes, absences, and that words alone can be learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from argos_wm.data.latent_shards import LatentShards, LatentShardWriter
from argos_wm.data.sources import ClipWindows, PictureWindows, RobotWindows
from argos_wm.data.windows import WindowConfig, Windows
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, LoopConfig, fit
from argos_wm.world_model import WorldModel
from tests.argos_wm.toy import SMALL, SPEC, toy_cache, toy_model

TEXT = HashedNGramEncoder(max_words=4)


def pictures(folder: Path, count: int = 10) -> LatentShards:
    """Red pictures of ones and blue ones of minus ones."""
    writer = LatentShardWriter(folder, SPEC, rows_per_shard=4)
    values = torch.tensor([1.0, -1.0]).repeat(count)[:count]
    writer.add(
        values[:, None, None].expand(-1, 4, 3), [{"text": ("red", "blue")[i % 2], "row": i} for i in range(count)]
    )
    writer.finish({"kind": "pictures"})
    return LatentShards(folder)


def clips(folder: Path) -> LatentShards:
    """Two clips at 5 Hz whose value is the time, the second from 100 on, and one of a single frame."""
    writer = LatentShardWriter(folder, SPEC, rows_per_shard=7)
    rows = [(0, i, "first") for i in range(11)] + [(3, i, "second") for i in range(6)] + [(4, 0, "a blink")]
    values = torch.tensor([0.2 * frame + 100.0 * (row == 3) for row, frame, _ in rows])
    notes = [{"text": text, "row": row, "frame": frame, "time": frame / 5} for row, frame, text in rows]
    writer.add(values[:, None, None].expand(-1, 4, 3), notes)
    writer.finish({"kind": "clips", "fps": 5.0})
    return LatentShards(folder)


def test_a_picture_is_a_window_without_a_past(tmp_path: Path) -> None:
    source = PictureWindows(pictures(tmp_path), SMALL.history, SMALL.action_steps)
    windows, texts = source(torch.tensor([0, 3, 9]))
    assert texts == ["red", "blue", "blue"] and len(source) == 10
    assert windows.target.vision[:, 0, 0].tolist() == [1.0, -1.0, -1.0]
    assert not windows.history_mask.any() and (windows.horizon == 0).all()
    assert windows.has_proprio is not None and not windows.has_proprio.any()


def test_a_clip_has_its_own_frames_for_past_and_future(tmp_path: Path) -> None:
    source = ClipWindows(clips(tmp_path), WindowConfig(), SMALL.history, SMALL.action_steps)
    assert source.texts == ["first", "second"]
    torch.manual_seed(0)
    for _ in range(20):
        windows, texts = source(torch.tensor([0, 1, 0, 1]))
        assert windows.target.vision.dtype == torch.float16  # as it is stored
        windows = windows.float()
        now, then = windows.history.vision[:, -1, 0, 0], windows.target.vision[:, 0, 0]
        assert texts == ["first", "second"] * 2
        assert torch.allclose(then - now, windows.horizon, atol=0.07)  # float16 at a hundred
        before = windows.history.vision[:, 0, 0, 0]
        known = windows.history_mask[:, 0]
        assert torch.allclose((now - before)[known], torch.tensor(0.8), atol=0.07)
        assert ((now < 50) == torch.tensor([True, False, True, False])).all()


def test_clips_and_robots_tell_goals_that_come_after_the_target(tmp_path: Path) -> None:
    told = WindowConfig(goal_share=0.7)
    source = ClipWindows(clips(tmp_path), told, SMALL.history, SMALL.action_steps)
    robots = RobotWindows(toy_cache(), torch.arange(4), told, SMALL.history, SMALL.action_steps)
    torch.manual_seed(0)
    for windows, _ in (source(torch.tensor([0, 1]).repeat(200)), robots(torch.arange(4).repeat(100))):
        assert windows.goal is not None and windows.has_goal is not None
        share = windows.has_goal.float().mean()
        assert 0.6 < float(share) < 0.8
        ahead = (windows.goal.time - windows.horizon)[windows.has_goal]
        assert (ahead >= -1e-6).all() and (ahead > 0.05).any()
    windows = source(torch.tensor([0]).repeat(50))[0].float()
    assert windows.goal is not None and windows.has_goal is not None
    gone = (windows.goal.vision - windows.history.vision[:, -1])[:, 0, 0]
    assert torch.allclose(gone[windows.has_goal], windows.goal.time[windows.has_goal], atol=0.01)


def test_what_was_cached_as_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds clips, and pictures were asked for"):
        PictureWindows(clips(tmp_path / "a"), SMALL.history, SMALL.action_steps)
    with pytest.raises(ValueError, match="lasts 3.0 s"):
        ClipWindows(clips(tmp_path / "b"), WindowConfig(shortest_horizon=3.0), SMALL.history, SMALL.action_steps)


def test_pictures_clips_and_robots_fit_in_one_batch(tmp_path: Path) -> None:
    cache = toy_cache()
    frames = torch.tensor([0, 40])
    robots = cache.windows(frames, torch.full((2,), 8), SMALL.history, SMALL.action_steps, torch.tensor([0, 9]))
    shown, _ = PictureWindows(pictures(tmp_path / "a"), SMALL.history, SMALL.action_steps)(torch.tensor([1, 2]))
    filmed, _ = ClipWindows(clips(tmp_path / "b"), WindowConfig(), SMALL.history, SMALL.action_steps)(torch.tensor([1]))
    joined = Windows.cat([robots, shown, filmed])
    assert joined.has_proprio is not None and joined.has_proprio.tolist() == [True, True, False, False, False]
    assert joined.has_goal is not None and joined.has_goal.tolist() == [False, True, False, False, False]
    text = TEXT(["touch red"] * 5)
    model = toy_model(replace(SMALL, text_dropout=0.0, action_dropout=0.0, context_noise=0.0))
    torch.manual_seed(0)
    losses = model.loss(joined, text)
    assert torch.isfinite(losses["loss"])
    losses["loss"].backward()


def test_of_a_planner_with_several_cameras_a_clip_shows_the_first(tmp_path: Path) -> None:
    spec = replace(SPEC, cameras=("front", "wrist"))
    source = ClipWindows(clips(tmp_path), WindowConfig(goal_share=0.5), SMALL.history, SMALL.action_steps, cameras=2)
    filmed, said = source(torch.tensor([0, 1]))
    assert filmed.has_cameras is not None and filmed.has_cameras.tolist() == [[True, False]] * 2
    vision = torch.cat([filmed.history.vision, filmed.target.vision[:, None]], 1)
    assert vision.shape[2] == spec.patches and not vision[:, :, 4:].any()
    both = replace(toy_cache(), spec=spec, vision=toy_cache().vision.repeat(1, 2, 1))  # pyright: ignore[reportAttributeAccessIssue]
    recorded = both.windows(torch.tensor([9]), torch.tensor([8]), SMALL.history, SMALL.action_steps)
    batch = Windows.cat([filmed, recorded])
    assert batch.has_cameras is not None and batch.has_cameras.tolist() == [[True, False]] * 2 + [[True, True]]
    torch.manual_seed(0)
    model = WorldModel(SMALL, spec, TEXT.dim, 2)
    values = model.loss(batch, TEXT([*said, "touch red"]))
    values["loss"].backward()
    assert torch.isfinite(values["loss"])


def test_without_a_past_its_values_do_not_matter(tmp_path: Path) -> None:
    windows = PictureWindows(pictures(tmp_path), SMALL.history, SMALL.action_steps)(torch.tensor([0, 1]))[0].float()
    model, text = toy_model(), TEXT(["red", "blue"])

    def draw() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return model.sample(
            windows.history,
            windows.history_mask,
            text,
            windows.horizon,
            has_proprio=windows.has_proprio,
            generator=generator,
        ).vision

    before = draw()
    windows.history.vision.fill_(5.0)
    assert torch.equal(before, draw())


def test_words_alone_can_be_learned_from_pictures(tmp_path: Path) -> None:
    source = PictureWindows(pictures(tmp_path / "a"), SMALL.history, SMALL.action_steps)
    torch.manual_seed(0)
    model = WorldModel(replace(SMALL, text_dropout=0.0), SPEC, TEXT.dim, 2)

    def loss(forward: Forward, step: int) -> dict[str, Tensor]:
        windows, texts = source(torch.randint(len(source), (16,)))
        return forward(windows.float(), TEXT(texts))

    loop = LoopConfig(steps=150, batch_size=16, learning_rate=3e-3, warmup_steps=10)
    trained = fit(model, loss, loop, tmp_path, RunLogger(tmp_path), "pictures")
    assert isinstance(trained, WorldModel)
    windows = source(torch.tensor([0, 0]))[0].float()
    drawn = trained.sample(
        windows.history,
        windows.history_mask,
        TEXT(["red", "blue"]),
        windows.horizon,
        has_proprio=windows.has_proprio,
        generator=torch.Generator().manual_seed(0),
    ).vision.mean((1, 2))
    assert drawn[0] > 0.7 and drawn[1] < -0.7
