"""Which of two controllers leaves a run."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import tasks  # noqa: F401  registers the gymnasium ids
from argos_sim.controller.network import Controller, ControllerConfig, load_controller, save_controller
from argos_sim.pipeline import trial
from argos_sim.pipeline.settings import ControllerSettings, Settings
from argos_sim.pipeline.trial import compared, trial_stage
from argos_wm.checkpoint import save_json
from argos_wm.latents import LatentSpec

SIZES = ControllerConfig(patches=2, channels=3, proprio_dim=4, joints=2, history=1, attention_width=8, hidden=(16, 16))


def records(done: list[int], reached: list[int]) -> dict[str, torch.Tensor]:
    """Of four episodes of one target each."""
    success, targets = (torch.tensor(values).float() for values in (done, reached))
    return {"env": torch.arange(4).float(), "reached": targets, "success": success}


@pytest.mark.parametrize(
    ("done", "reached", "kept", "lead"),
    [
        ([1, 1, 1, 0], [0, 0, 0, 0], "ppo", 0.25),
        ([1, 0, 0, 0], [1, 1, 1, 1], "dagger", -0.25),
        ([1, 1, 0, 0], [1, 1, 1, 0], "ppo", 0.0),
        ([1, 1, 0, 0], [1, 0, 0, 0], "dagger", 0.0),
        ([1, 1, 0, 0], [1, 1, 0, 0], "ppo", 0.0),
    ],
    ids=["does more", "does less", "does as much, reaches more", "does as much, reaches less", "equals"],
)
def test_what_ppo_made_is_kept_unless_what_it_began_with_does_more(
    done: list[int], reached: list[int], kept: str, lead: float
) -> None:
    name, figures = compared(records(done, reached), records([1, 1, 0, 0], [1, 1, 0, 0]), "dagger")
    assert (name, figures["episodes"], figures["gain"]) == (kept, 4, lead)
    low, high = figures["gain_ci"]
    assert low <= lead <= high


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, LatentSpec, list[tuple[str, int, int]]]:
    """A run with two controllers, of which DAgger's does everything and PPO's nothing, and what was judged of it."""
    spec = LatentSpec("small-vit", "abc", 2, 1, 3, 4, ("a", "b"), "stats")
    for name in ("dagger", "ppo"):
        torch.manual_seed(len(name))
        save_controller(Controller(SIZES, torch.ones(2)), spec, tmp_path / name, {})
        save_json(tmp_path / name / "stage.json", {"name": name, "fingerprint": name, "seconds": 1.0, "figures": {}})
    calls: list[tuple[str, int, int]] = []

    @contextmanager
    def opened(cfg):
        calls.append(("environment", cfg.scene.num_envs, cfg.seed))
        yield SimpleNamespace(device="cpu")

    def judge_planned(env, policy, settings, count, label, seed):
        calls.append((label, count, seed))
        return records([int(label == "dagger")] * 4, [1, 1, 1, 1]), {}

    monkeypatch.setattr(trial, "load_encoder", lambda settings: SimpleNamespace(spec=spec))
    monkeypatch.setattr(trial, "make_environment", opened)
    monkeypatch.setattr(trial, "judge_planned", judge_planned)
    return Settings(run_dir=str(tmp_path), device="cpu", seed=5), spec, calls


def weights(settings: Settings, stage: str, spec: LatentSpec) -> torch.Tensor:
    controller = load_controller(settings.folder / stage, spec, "the encoder")
    return torch.cat([v.flatten() for v in controller.state_dict().values()])


def test_both_are_judged_alike_and_the_better_leaves_the_run(run) -> None:
    settings, spec, calls = run
    figures = trial_stage(settings)["figures"]
    assert calls == [("environment", 256, 2005), ("ppo", 256, 2000), ("dagger", 256, 2000)]
    assert (figures["kept"], figures["gain"]) == ("dagger", -1.0)
    assert torch.equal(weights(settings, "controller", spec), weights(settings, "dagger", spec))
    assert not torch.equal(weights(settings, "controller", spec), weights(settings, "ppo", spec))


@pytest.mark.parametrize("leaves_out", ["the trial", "PPO"])
def test_without_a_trial_what_ppo_made_leaves_the_run(run, leaves_out: str) -> None:
    settings, spec, calls = run
    cfg = settings.controller
    ppo, episodes = (cfg.ppo, 0) if leaves_out == "the trial" else (replace(cfg.ppo, iterations=0), 256)
    settings = replace(settings, controller=replace(cfg, ppo=ppo, trial_episodes=episodes))
    assert trial_stage(settings)["figures"] == {"kept": "ppo"} and not calls
    assert torch.equal(weights(settings, "controller", spec), weights(settings, "ppo", spec))


def test_fewer_than_no_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="controller.trial_episodes is -1; 0 leaves the trial out"):
        ControllerSettings(trial_episodes=-1)
