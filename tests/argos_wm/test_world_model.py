"""Laws of the world model: null conditions, guidance, determinism, and weights on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from argos_wm.checkpoint import CheckpointError
from argos_wm.data.windows import Windows
from argos_wm.encoders.text import HashedNGramEncoder, TextFeatures
from argos_wm.latents import LatentState
from argos_wm.world_model import SETTINGS, WorldModel, WorldModelConfig, load_extra, no_text
from tests.argos_wm.toy import SMALL, toy_cache, toy_model

FRAMES = torch.tensor([0, 12, 40])


def batch() -> tuple[Windows, TextFeatures]:
    cache = toy_cache()
    windows = cache.windows(FRAMES, torch.full((3,), 8), SMALL.history, SMALL.action_steps)
    return windows, HashedNGramEncoder()([cache.instructions[i] for i in windows.episode])


def draw(model: WorldModel, text: TextFeatures | None, seed: int = 0, actions: bool = False, **settings) -> LatentState:
    windows, _ = batch()
    generator = torch.Generator().manual_seed(seed)
    given = windows.actions if actions else None
    return model.sample(
        windows.history, windows.history_mask, text, windows.horizon, given, steps=3, generator=generator, **settings
    )


def same(a: LatentState, b: LatentState) -> bool:
    return torch.allclose(a.vision, b.vision, atol=1e-5) and torch.allclose(a.proprio, b.proprio, atol=1e-5)


def test_sampling_is_a_function_of_the_seed() -> None:
    model, (_, text) = toy_model(), batch()
    first = draw(model, text)
    assert same(first, draw(model, text)) and not same(first, draw(model, text, seed=1))
    assert torch.allclose(first.time, torch.full((3,), 0.8))


def test_guidance_one_is_the_conditional_model() -> None:
    model, (_, text) = toy_model(), batch()
    plain = draw(model, text)
    assert same(plain, draw(model, text, guidance_scale=1.0))
    assert same(plain, draw(model, text, guidance_scale=3.0, guidance_interval=(2.0, 2.0)))
    assert not same(plain, draw(model, text, guidance_scale=3.0))
    assert same(draw(model, None), draw(model, text, guidance_scale=0.0))


def test_the_null_condition_is_the_same_in_training_and_sampling() -> None:
    """Dropping every text and every action in training equals having none, whatever they were."""
    windows, text = batch()
    dropped = toy_model(replace(SMALL, text_dropout=1.0, action_dropout=1.0))
    kept = toy_model(replace(SMALL, text_dropout=0.0, action_dropout=1.0))

    def loss(model: WorldModel, text: TextFeatures) -> float:
        torch.manual_seed(3)
        return model.loss(windows, text)["loss"].item()

    none = no_text(3, text.tokens.shape[-1], "cpu")
    assert loss(dropped, text) == pytest.approx(loss(kept, none), rel=1e-5)
    assert loss(dropped, text) != pytest.approx(loss(kept, text), rel=1e-5)
    assert same(draw(kept, None), draw(kept, none))
    windows.actions.fill_(7.0)
    assert loss(dropped, text) == pytest.approx(loss(kept, none), rel=1e-5)


def test_actions_and_words_reach_the_samples() -> None:
    model, (_, text) = toy_model(), batch()
    assert not same(draw(model, text), draw(model, None))
    assert not same(draw(model, text), draw(model, text, actions=True))


def test_the_clock_of_the_history_does_not_matter() -> None:
    model, (windows, text) = toy_model(), batch()
    noise = model.noise(3, "cpu", torch.Generator().manual_seed(0))
    late = LatentState(windows.history.vision, windows.history.proprio, windows.history.time + 5.0)
    a, b = (model.sample(h, windows.history_mask, text, windows.horizon, noise=noise) for h in (windows.history, late))
    assert torch.allclose(a.vision, b.vision, atol=1e-4) and torch.allclose(b.time - a.time, torch.full((3,), 5.0))


@pytest.mark.parametrize("shift", [None, 3.0])
def test_sampling_and_training_have_the_shift_of_the_settings(shift: float | None) -> None:
    """Times that the network is asked at: evenly spaced, then shifted; in training their median is, too."""
    model, (windows, text) = toy_model(replace(SMALL, time_shift=shift, time_mean=0.0, time_std=1e-6)), batch()
    asked: list[float] = []
    model.dit.register_forward_pre_hook(lambda module, arguments: asked.append(float(arguments[1].mean())))
    draw(model, text, solver="euler")
    s = shift or 1.0
    assert asked == pytest.approx([s * t / (1 + (s - 1) * t) for t in (1, 2 / 3, 1 / 3)], abs=1e-5)
    asked.clear()
    model.loss(windows, text)
    assert asked == pytest.approx([s / (s + 1)], abs=1e-4)


def test_some_of_what_is_remembered_has_noise_in_training() -> None:
    def seen(**settings: float) -> LatentState:
        torch.manual_seed(0)
        return toy_model(replace(SMALL, **settings))._disturbed(past)

    past = LatentState(torch.zeros(4000, 2, 4, 3), torch.zeros(4000, 2, 4), torch.zeros(4000, 2))
    some = seen(context_noise=0.2, context_noise_share=0.5)
    share = some.vision.flatten(1).any(1).float().mean()
    assert share == pytest.approx(0.5, abs=0.05)
    # A standard deviation drawn from 0 to 0.2 has the mean square 0.2² / 3.
    assert some.proprio.square().mean() == pytest.approx(0.5 * 0.2**2 / 3, rel=0.1)
    assert not seen(context_noise_share=0.0).vision.any()


@pytest.mark.parametrize("design", ["argos", "seed"])
def test_what_can_be_trained_is_used(design: Literal["argos", "seed"]) -> None:
    """Several processes wait for every gradient."""
    model, (windows, text) = toy_model(replace(SMALL, design=design)), batch()
    model.loss(windows, text)["loss"].backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_mean_predictor_ignores_noise() -> None:
    model, (_, text) = toy_model(replace(SMALL, objective="mean")), batch()
    assert same(draw(model, text, seed=0), draw(model, text, seed=1))


def test_losses_are_finite_and_reach_every_parameter_that_is_used() -> None:
    model, (windows, text) = toy_model(replace(SMALL, text_dropout=0.5, action_dropout=0.5)), batch()
    torch.manual_seed(1)
    values = model.loss(windows, text)
    values["loss"].backward()
    assert all(torch.isfinite(v) for v in values.values())
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_recomputed_activations_give_the_same_gradients() -> None:
    windows, text = batch()
    gradients = []
    for again in (False, True):
        model = toy_model()
        model.dit.checkpoint_activations = again
        torch.manual_seed(1)
        model.loss(windows, text)["loss"].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(*gradients, atol=1e-6)


def test_bf16_is_near_fp32() -> None:
    _, text = batch()
    exact, rough = (draw(toy_model(replace(SMALL, precision=p)), text) for p in ("fp32", "bf16"))
    assert rough.vision.dtype == torch.float32
    assert (exact.proprio - rough.proprio).abs().max() < 0.1 * exact.proprio.abs().max()


def test_saving_and_loading_gives_the_same_model(tmp_path: Path) -> None:
    model, (_, text) = toy_model(), batch()
    model.save(tmp_path, {"text_encoder": "hashed-ngram"})
    loaded = WorldModel.load(tmp_path)
    assert same(draw(model, text), draw(loaded, text))
    assert loaded.config == model.config and loaded.spec == model.spec
    assert load_extra(tmp_path) == {"text_encoder": "hashed-ngram"}


def test_bad_folders_and_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=SETTINGS):
        WorldModel.load(tmp_path)
    toy_model().save(tmp_path)
    settings = json.loads((tmp_path / SETTINGS).read_text())
    settings["config"]["width"] = 64
    (tmp_path / SETTINGS).write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="does not fit"):
        WorldModel.load(tmp_path)
    refused: list[dict[str, Any]] = [
        {"size": "huge"},
        {"objective": "gan"},
        {"precision": "int8"},
        {"history": (0.0, -0.8)},
    ]
    for bad in refused:
        with pytest.raises(ValueError, match=next(iter(bad))):
            WorldModelConfig(**bad)
