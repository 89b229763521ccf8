"""What a training takes is told for encoders that were never downloaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tasks  # noqa: F401  registers the gymnasium ids
from argos_sim.controller.rollouts import Held
from argos_sim.pipeline.footprint import latent_spec, planner_footprint, ppo_footprint
from argos_sim.pipeline.settings import EncoderSettings, PlannerSettings, Settings
from argos_wm.encoders.state import StateEncoder

PRETRAINED = Path(__file__).resolve().parents[3] / "assets" / "pretrained" / "encoder"


def test_the_shapes_of_the_small_encoder_are_those_that_it_has(tmp_path: Path) -> None:
    told, real = latent_spec(Settings(run_dir=str(tmp_path))), StateEncoder.load(PRETRAINED).spec
    for name in ("rows", "cols", "channels", "proprio_dim", "joint_names", "cameras"):
        assert getattr(told, name) == getattr(real, name), name


def test_a_dinov3_is_known_by_its_name_and_others_are_asked_for(tmp_path: Path) -> None:
    large = EncoderSettings(folder=None, vision="facebook/dinov3-vitl16-pretrain-lvd1689m", image_size=256)
    settings = Settings(run_dir=str(tmp_path), encoder=large)
    spec = latent_spec(settings)
    assert (spec.patches, spec.channels) == (256, 1024)
    assert latent_spec(replace(settings, encoder=replace(large, keep_cls=True))).channels == 2048
    with pytest.raises(ValueError, match="channels of my/encoder are not known"):
        latent_spec(replace(settings, encoder=replace(large, vision="my/encoder")))


def test_goals_and_rows_of_the_settings_count(tmp_path: Path) -> None:
    settings = Settings(run_dir=str(tmp_path))
    cfg = settings.planner
    one = planner_footprint(settings)
    told = PlannerSettings(windows=replace(cfg.windows, goal_share=0.5))
    parts = PlannerSettings(loop=replace(cfg.loop, micro_batches=4))
    assert planner_footprint(replace(settings, planner=told)).activations > one.activations
    assert planner_footprint(replace(settings, planner=parts)).activations < 0.5 * one.activations


def test_ppos_rollouts_are_what_its_storage_keeps(tmp_path: Path) -> None:
    settings = Settings(run_dir=str(tmp_path))
    cfg, spec = settings.controller.ppo, latent_spec(settings)
    frames, plans, envs = Held("cpu"), Held("cpu"), 40
    due, target = torch.randperm(envs), torch.randn(envs, 4)  # each environment's plan falls due in another step
    for step in range(cfg.steps):
        if step % 5 == 0:
            frame = torch.randn(envs, 4)
        frames.add(frame)
        target = torch.where((due == step)[:, None], torch.randn(envs, 4), target)
        plans.add(target)
    kept = (frames.count + plans.count) / envs * cfg.num_envs * spec.patches * spec.channels * 2
    assert kept <= ppo_footprint(settings).rollouts <= 1.15 * kept
