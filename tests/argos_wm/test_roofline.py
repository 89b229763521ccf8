"""The measure of a device's use, where it can be known beforehand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from argos_wm import roofline
from argos_wm.roofline import Ceilings
from argos_wm.sampler import SamplerConfig
from argos_wm.training.footprint import random_windows
from argos_wm.training.loop import LoopConfig
from tests.argos_wm.toy import SMALL, SPEC

CPU = torch.device("cpu")
RATES = Ceilings(operations=1e12, bytes=1e10)


def test_operations_are_two_for_each_product() -> None:
    layer = nn.Linear(8, 16)
    assert roofline.operations(lambda: layer(torch.randn(4, 8))) == 2 * 4 * 8 * 16
    # A layer behind another has two products in its backward pass: for its weights and for what enters it.
    deep = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    assert roofline.operations(lambda: deep(torch.randn(4, 8)).sum().backward()) == 2 * 4 * 8 * 8 * (2 + 1 + 2)


def test_the_longer_of_two_times_bounds() -> None:
    assert RATES.least(2e12, 1e10) == 2.0 and RATES.least(1e12, 3e10) == 3.0


def test_ceilings_are_measured() -> None:
    found = roofline.measure_ceilings(CPU)
    assert found.operations > 1e8 and found.bytes > 1e7


def test_last_layers_are_not_zero() -> None:
    model = roofline.world_model(SMALL, SPEC, CPU)
    assert all(p.any() for p in model.parameters())
    windows, _ = random_windows(model, 2, 4)
    moved = model.sample(windows.history, windows.history_mask, None, windows.horizon).vision
    assert (moved - windows.history.vision[:, -1]).abs().mean() > 0.01


def test_figures_of_training_and_planning_follow_from_their_sizes() -> None:
    model = roofline.world_model(SMALL, SPEC, CPU)
    loop = LoopConfig(steps=3, batch_size=4)
    one = roofline.training(model, loop, RATES, CPU)
    two = roofline.training(model, replace(loop, batch_size=8), RATES, CPU)
    assert two["training_step_tera_operations"] == pytest.approx(2 * one["training_step_tera_operations"], rel=1e-6)
    assert two["training_step_gigabytes"] == one["training_step_gigabytes"]
    share = one["training_step_tera_operations"] / one["training_step_s"]  # of a ceiling of one
    assert one["training_step_share_of_peak"] == pytest.approx(share)
    plans = roofline.planning(model, RATES, [SamplerConfig(steps=5), SamplerConfig(steps=1)], rows=3)
    # 9 evaluations a target instead of 1; the context is read once in both.
    ratio = plans["plan_5_steps_tera_operations"] / plans["plan_1_steps_tera_operations"]
    assert 2 < ratio < 9
    assert plans["plans_5_steps_tera_operations"] == pytest.approx(3 * plans["plan_5_steps_tera_operations"])
    assert plans["plans_per_s_1_steps"] > 0


def test_a_dinov3_is_timed_with_random_weights() -> None:
    from transformers import DINOv3ViTConfig

    config = DINOv3ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    with torch.compiler.set_stance("force_eager"):
        found = roofline.encoding(config, 32, RATES, CPU, rows=2)
    tokens, patch = 4 + 1 + config.num_register_tokens, 3 * 16**2
    layer = tokens * (4 * 32**2 + 2 * 32 * 64)  # PyTorch counts attention in a GPU's kernels, not in a CPU's
    assert found["encoding_tera_operations"] * 1e12 == pytest.approx(2 * 2 * (2 * layer + 4 * patch * 32), rel=1e-6)
