"""Laws of the planner's figures."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import torch

from argos_wm.data.instructions import Instructions
from argos_wm.data.windows import WindowConfig
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.evaluation import EvaluationConfig, bootstrap, evaluate_planner, moving_windows, object_figures
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
