"""Laws of the planner's figures."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import torch

from argos_wm.data.instructions import Instructions
from argos_wm.data.latent_cache import LatentCache
from argos_wm.data.windows import WindowConfig
from argos_wm.encoders.text import HashedNGramEncoder, TextFeatures
from argos_wm.evaluation import (
    EvaluationConfig,
    action_figures,
    bootstrap,
    evaluate_planner,
    moving_windows,
    object_figures,
    text_figures,
)
from argos_wm.latents import LatentState
from argos_wm.planner import Planner
from argos_wm.sampler import SamplerConfig
from tests.argos_wm.toy import GROUPS, SMALL, toy_cache, toy_model

CFG = EvaluationConfig(windows=16, resamples=50)


def test_repeating_the_last_latent_has_ratio_one() -> None:
    """At its initialisation the mean predictor repeats the current state."""
    cache, encoder = toy_cache(), HashedNGramEncoder()
    planner = Planner(toy_model(), encoder, SamplerConfig(steps=1))
    still = toy_model(replace(SMALL, objective="mean"), scramble=False)
    figures = evaluate_planner(
        planner,
        cache,
        torch.arange(8),
        Instructions(cache.instructions, encoder, GROUPS),
        WindowConfig(),
        CFG,
        mean_predictor=still,
        decode=lambda proprio: proprio,
    )
    for seconds in ("0.8s", "1.6s", "2.4s"):
        assert figures[f"planner.mean_predictor_error_ratio_{seconds}"] == pytest.approx(1.0, abs=1e-4)
        low, high = cast(list[float], figures[f"planner.error_ratio_{seconds}_ci"])
        assert low <= cast(float, figures[f"planner.error_ratio_{seconds}"]) <= high
    assert figures["planner.windows_0.8s"] == 16 and figures["planner.start.windows"] == 8
    for time, sensitivity in (("start", "planner.text_sensitivity"), ("late", "planner.late.text_sensitivity")):
        for said in ("right", "wrong", "no"):
            keys = {f"planner.{time}.proprio_error_{said}", f"planner.{time}.joint_error_rad_{said}_ci"}
            assert keys <= set(figures)
        wrong, right = (cast(float, figures[f"planner.{time}.proprio_error_{said}"]) for said in ("wrong", "right"))
        assert figures[sensitivity] == pytest.approx(wrong / right, rel=1e-5)
    for told in ("true", "zero", "shuffled", "no"):
        assert {f"planner.actions.error_{told}", f"planner.actions.proprio_error_{told}_ci"} <= set(figures)
    errors = [cast(float, figures[f"planner.actions.proprio_error_{told}"]) for told in ("shuffled", "true")]
    assert figures["planner.action_sensitivity"] == pytest.approx(errors[0] / errors[1], rel=1e-5)
    without_words = [figures[f"planner.{key}"] for key in ("actions.unsaid_error_no", "action_sensitivity_unsaid")]
    assert without_words != [figures["planner.actions.error_no"], figures["planner.action_sensitivity"]]
    assert figures["planner.actions.error_no"] == pytest.approx(figures["planner.error_0.8s"], rel=1e-5)


class Knowing:
    """Draws the true state, off by an amount in each joint that says what it was told."""

    SAID = {"right": 0.1, "no": 0.2, "wrong": 0.3}
    TOLD = {"no": 1.0, "true": 0.5, "shuffled": 1.5, "zero": 2.0}

    def __init__(self, cache: LatentCache, encoder: HashedNGramEncoder) -> None:
        self.cache, self.encoder = cache, encoder
        self.frames: list[torch.Tensor] = []
        """Of each draw, counted from the episode's start."""

    def sample(
        self,
        history: LatentState,
        mask: torch.Tensor,
        text: TextFeatures | None,
        horizon: torch.Tensor,
        actions: torch.Tensor | None = None,
        **_: object,
    ) -> LatentState:
        cache, now = self.cache, history[:, -1]
        vision = cache.vision.float()  # pyright: ignore[reportAttributeAccessIssue]
        rows = torch.cat([vision.flatten(1), cache.proprio], 1)
        frame = torch.cdist(torch.cat([now.vision.flatten(1), now.proprio], 1), rows).argmin(1)
        self.frames.append(frame - cache.starts[cache.episode_of[frame]])
        known = cache.windows(frame, (horizon * cache.fps).round().long(), SMALL.history, SMALL.action_steps)
        off = torch.tensor([self.said(text, i, int(known.episode[i])) for i in range(len(frame))])
        if actions is not None:
            off *= torch.tensor([self.told(a, b) for a, b in zip(actions, known.actions, strict=True)])
        target = known.target
        return LatentState(target.vision, target.proprio + off[:, None], now.time + horizon)

    def said(self, text: TextFeatures | None, row: int, episode: int) -> float:
        if text is None or not text.mask[row].any():
            return self.SAID["no"]
        asked = GROUPS[self.cache.instructions[episode]]
        right = self.encoder([words for words, group in GROUPS.items() if group == asked]).tokens
        return self.SAID["right" if (right == text.tokens[row]).flatten(1).all(1).any() else "wrong"]

    def told(self, actions: torch.Tensor, true: torch.Tensor) -> float:
        if not actions.any():
            return self.TOLD["zero"]
        return self.TOLD["true" if torch.allclose(actions, true) else "shuffled"]


def test_each_figure_is_of_what_the_planner_was_told() -> None:
    """Words and actions, right or wrong, reach the model; early and late windows are so; joints are those then."""
    cache, encoder = toy_cache(), HashedNGramEncoder()
    cache.actions = torch.rand(cache.actions.shape, generator=torch.Generator().manual_seed(0)) + 0.1
    cache.__post_init__()
    model, knowing = toy_model(), Knowing(cache, encoder)
    model.sample = knowing.sample  # pyright: ignore[reportAttributeAccessIssue]
    planner = Planner(model, encoder, SamplerConfig(steps=1))
    what = (planner, cache, torch.arange(12), Instructions(cache.instructions, encoder, GROUPS), WindowConfig(), CFG)
    figures = text_figures(*what, lambda proprio: proprio)
    assert [set(frame.tolist()) for frame in knowing.frames] == [{0}] * 3 + [{16}] * 3
    for time, sensitivity in (("start", "planner.text_sensitivity"), ("late", "planner.late.text_sensitivity")):
        for said, off in Knowing.SAID.items():
            assert figures[f"planner.{time}.proprio_error_{said}"] == pytest.approx(off, rel=1e-3)
            assert figures[f"planner.{time}.joint_error_rad_{said}"] == pytest.approx(off, rel=1e-3)
        assert figures[sensitivity] == pytest.approx(3.0, rel=1e-3)
    figures = action_figures(*what)
    for key, said in (("", "right"), ("unsaid_", "no")):
        for told, factor in Knowing.TOLD.items():
            off = Knowing.SAID[said] * factor
            assert figures[f"planner.actions.{key}proprio_error_{told}"] == pytest.approx(off, rel=1e-3)
    assert figures["planner.action_sensitivity"] == pytest.approx(3.0, rel=1e-3)
    assert figures["planner.action_sensitivity_unsaid"] == pytest.approx(3.0, rel=1e-3)


def test_objects_are_read_from_latents_that_hold_their_places() -> None:
    """A place that is a linear function of the latents is read exactly from the true ones, worse from a guess."""
    cache, encoder = toy_cache(episodes=60), HashedNGramEncoder()
    linear = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    place = cache.vision.float().flatten(1) @ linear  # pyright: ignore[reportAttributeAccessIssue]
    cache.environment_state = torch.cat([place, torch.zeros(len(place), 5)], 1)
    arguments = (
        Planner(toy_model(), encoder, SamplerConfig(steps=1)),
        cache,
        torch.arange(48),
        torch.arange(48, 60),
        Instructions(cache.instructions, encoder, GROUPS),
        WindowConfig(),
        CFG,
    )
    figures = object_figures(*arguments)
    for seconds in ("0.8s", "1.6s", "2.4s"):
        true, guessed = (cast(float, figures[f"planner.objects_{k}_m_{seconds}"]) for k in ("true", "predicted"))
        assert true < 0.1 * float(place.std()) and guessed > 2 * true
    cache.environment_state = None
    assert object_figures(*arguments) == {}


def test_only_windows_in_which_the_arm_moves_are_judged() -> None:
    cache = toy_cache()
    cache.positions[31:] = 0.0
    windows = moving_windows(toy_model(), cache, torch.arange(12), WindowConfig(), 1, 100)
    assert set(windows.episode.tolist()) == {0}


def test_the_interval_resamples_episodes() -> None:
    rows = torch.tensor([[1.0, 1.0], [3.0, 1.0], [1.0, 1.0], [3.0, 1.0]])

    def mean(sums: torch.Tensor) -> torch.Tensor:
        return sums[..., 0] / sums[..., 1]

    value, interval = bootstrap(mean, rows, torch.tensor([0, 0, 5, 5]), 200, 0)
    assert value == 2.0 and interval == [2.0, 2.0]
    _, interval = bootstrap(mean, rows, torch.tensor([0, 1, 0, 1]), 200, 0)
    assert interval == [1.0, 3.0]
