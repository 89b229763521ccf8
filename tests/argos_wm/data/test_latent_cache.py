"""Laws of the latent cache and its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from argos_wm.checkpoint import CheckpointError
from argos_wm.data import latent_shards
from argos_wm.data.instructions import Instructions
from argos_wm.data.latent_cache import LatentCache, WindowSampler, encode_episodes
from argos_wm.data.latent_shards import LatentShards
from argos_wm.data.windows import WindowConfig
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.latents import SpecMismatch
from tests.argos_wm.toy import GROUPS, SPEC, toy_cache

HISTORY = (-0.8, 0.0)


def test_a_window_holds_what_was_is_and_will_be() -> None:
    cache = toy_cache()
    windows = cache.windows(torch.tensor([31 + 10]), torch.tensor([8]), HISTORY, 2)
    assert torch.equal(windows.history.proprio[0], cache.proprio[[31 + 2, 31 + 10]])
    assert torch.equal(windows.target.proprio[0], cache.proprio[31 + 18])
    assert windows.history.time.tolist() == [pytest.approx([-0.8, 0.0])]
    assert windows.horizon.item() == pytest.approx(0.8) and windows.episode.item() == 1
    # Actions count up by 0.01 a frame, from 0.41 at frame 41.
    assert windows.actions[0, :, 0].tolist() == pytest.approx([0.425, 0.465], abs=1e-5)


def test_actions_of_a_window_far_into_a_long_recording_are_exact() -> None:
    cache = toy_cache(episodes=2000)
    cache.actions = 100 + torch.rand(cache.actions.shape, generator=torch.Generator().manual_seed(0))
    cache.__post_init__()
    at = torch.tensor([len(cache.actions) - 31 + 10])
    windows = cache.windows(at, torch.tensor([2]), HISTORY, 2)
    assert torch.allclose(windows.actions[0], cache.actions[[int(at), int(at) + 1]], atol=1e-4)


def test_states_before_the_start_are_masked_and_never_another_episodes() -> None:
    cache = toy_cache()
    windows = cache.windows(torch.tensor([31, 38, 39]), torch.tensor([8, 8, 8]), HISTORY, 2)
    assert windows.history_mask.tolist() == [[False, True], [False, True], [True, True]]
    assert torch.equal(windows.history.proprio[0, 0], cache.proprio[31])


def test_targets_beyond_the_end_are_refused() -> None:
    with pytest.raises(ValueError, match="beyond"):
        toy_cache().windows(torch.tensor([29]), torch.tensor([8]), HISTORY, 2)


def test_the_sampler_draws_what_it_was_asked_for() -> None:
    cache, cfg = toy_cache(), WindowConfig(period_share=0.5, start_share=0.5)
    training, validation = cache.split(0.25)
    sampler = WindowSampler(cache, training, cfg, HISTORY, 2)
    torch.manual_seed(0)
    windows = sampler(2000)
    torch.manual_seed(0)
    assert torch.equal(windows.frame, sampler(2000).frame)
    assert set(windows.episode.tolist()) == set(training.tolist()) and not set(training.tolist()) & set(
        validation.tolist()
    )
    now = cache.time[windows.frame]
    assert 0.5 < (now <= cfg.start_length).float().mean() < 0.65
    assert windows.horizon.min() >= cfg.shortest_horizon - 1e-6
    assert 0.3 < (windows.horizon - 0.8).abs().lt(1e-3).float().mean() < 0.7
    assert (now + windows.horizon).max() == cache.time.max()


def test_only_moving_windows_when_so_asked() -> None:
    cache = toy_cache()
    cache.positions[:, :] = (
        cache.positions.reshape(12, 31, 2).clone().index_fill_(1, torch.arange(15, 31), 0.0).flatten(0, 1)
    )
    cfg = WindowConfig(start_share=0.0, static_share=0.0)
    windows = WindowSampler(cache, torch.arange(12), cfg, HISTORY, 2)(500)
    assert cache.time[windows.frame].max() < 1.5


def test_too_few_or_too_short_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        toy_cache(episodes=1).split(0.5)
    with pytest.raises(ValueError, match="lasts"):
        WindowSampler(toy_cache(frames=1), torch.arange(12), WindowConfig(), HISTORY, 2)


def test_a_wrong_instruction_asks_for_something_else() -> None:
    cache = toy_cache()
    instructions = Instructions(cache.instructions, HashedNGramEncoder(), GROUPS)
    episodes = torch.arange(12)
    wrong = instructions.wrong(episodes).tokens
    for other in range(12):
        for episode in range(12):
            if GROUPS[cache.instructions[episode]] == GROUPS[cache.instructions[other]]:
                assert not torch.equal(wrong[episode], instructions.right(episodes).tokens[other])
    assert not Instructions(["touch red", "go to red"], HashedNGramEncoder(), GROUPS).can_be_wrong


def episode(frames: int = 6, fps: float = 10.0) -> SimpleNamespace:
    return SimpleNamespace(
        images=np.full((frames, 3, 8, 8), frames, np.uint8),
        state=np.arange(frames * 4, dtype=np.float32).reshape(frames, 4),
        action=np.zeros((frames, 2), np.float32),
        environment_state=None,
        control_state=np.zeros((frames, 5, 4), np.float32),
        control_action=np.full((frames, 5, 2), 2.0, np.float32),
        task="touch red",
        fps=fps,
    )


ENCODER = SimpleNamespace(
    spec=SPEC,
    encode_vision=lambda images: images[:, :, :2, :2].float().flatten(2).transpose(1, 2),
    encode_proprio=lambda raw: raw * 2,
)


LIMIT = torch.tensor([2.0, 4.0])


def encoded(folder: Path, episodes: Sequence[object], encoder: object = ENCODER) -> LatentCache:
    return encode_episodes(episodes, encoder, LIMIT, folder, batch=5)  # pyright: ignore


def test_episodes_are_encoded_in_order(tmp_path: Path) -> None:
    cache = encoded(tmp_path / "a", [episode(6), episode(4)])
    assert cache.starts.tolist() == [0, 6, 10] and isinstance(cache.vision, torch.Tensor)
    assert cache.vision.shape == (10, 4, 3) and cache.vision.dtype == torch.float16
    assert cache.vision[6:].unique().tolist() == [4.0] and cache.actions[0].tolist() == [1.0, 0.5]
    assert cache.environment_state is None and cache.time[6].item() == 0.0
    with pytest.raises(ValueError, match="frames a second"):
        encoded(tmp_path / "b", [episode(), episode(fps=30.0)])
    with pytest.raises(ValueError, match="no episodes"):
        encoded(tmp_path / "c", [])


def test_a_cache_on_disk_gives_the_windows_of_one_in_memory(tmp_path: Path) -> None:
    encoded(tmp_path, [episode(8), episode(9)])
    within, outside = LatentCache.load(tmp_path, SPEC), LatentCache.load(tmp_path, SPEC, most_in_memory=0)
    assert isinstance(outside.vision, LatentShards) and isinstance(within.vision, torch.Tensor)
    frames, ahead = torch.tensor([0, 3, 9, 12]), torch.tensor([4, 2, 5, 1])
    goal = torch.tensor([0, 4, 6, 2])
    a, b = (cache.windows(frames, ahead, HISTORY, 2, goal) for cache in (within, outside))
    assert a.goal is not None and b.goal is not None
    for one, other in ((a.history, b.history), (a.target, b.target), (a.goal, b.goal)):
        assert torch.equal(one.vision, other.vision) and torch.equal(one.proprio, other.proprio)
    none = torch.zeros(0, dtype=torch.long)
    assert outside.states(none).vision.shape == within.states(none).vision.shape == (0, 4, 3)


def test_a_damaged_cache_or_that_of_another_encoder_is_refused(tmp_path: Path) -> None:
    encoded(tmp_path, [episode(6), episode(4)])
    with pytest.raises(SpecMismatch, match="encoder_hash"):
        LatentCache.load(tmp_path, replace(SPEC, encoder_hash="1"))
    columns = tmp_path / "columns.safetensors"
    whole = columns.read_bytes()
    columns.write_bytes(whole[:1000])
    with pytest.raises(CheckpointError, match="cut off"):
        LatentCache.load(tmp_path)
    columns.write_bytes(whole)
    (tmp_path / "vision" / "shard-00000.safetensors").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        LatentCache.load(tmp_path)


def test_a_killed_encoding_goes_on_after_its_last_whole_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_shards, "MOST_ROWS", 4)
    seen: list[int] = []

    def encode_vision(images: torch.Tensor) -> torch.Tensor:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(images))
        return ENCODER.encode_vision(images)

    dying = SimpleNamespace(spec=SPEC, encode_vision=encode_vision, encode_proprio=ENCODER.encode_proprio)
    episodes = [episode(6), episode(5)]
    with pytest.raises(KeyboardInterrupt):
        encoded(tmp_path / "killed", episodes, dying)
    assert seen == [5, 1], "a shard of four is whole, two rows are lost"
    seen[:] = [0, 0, 0]
    resumed = encoded(tmp_path / "killed", episodes, dying)
    assert sum(seen) == 7
    whole = encoded(tmp_path / "whole", episodes)
    for name in ("vision", "proprio", "actions", "starts"):
        assert torch.equal(getattr(resumed, name), getattr(whole, name))
    again = encoded(tmp_path / "killed", [])  # killed after its last write: nothing is read again
    assert again.instructions == ["touch red"] * 2
