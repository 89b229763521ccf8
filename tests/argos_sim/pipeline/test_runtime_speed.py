"""Laws of the runtime's benchmark: both policies lead an arm while they are measured, and what cannot be is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest

import tasks  # noqa: F401
from argos_sim.deploy.manifest import MANIFEST_FILE, WORLD_FILE, DeployError, PolicyManifest, read_manifest
from argos_sim.deploy.timing import time_start
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline import runtime_speed
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import EvaluationSettings, RuntimeSettings, Settings, SettingsError
from tests.argos_sim.deploy.tiny import make_encoder, make_model, write

SETTINGS = Settings(
    evaluation=EvaluationSettings(inference_calls=20), runtime=RuntimeSettings(seconds=10, loads=("idle",))
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a tiny policy of the SO-100."""
    world, folder = World.of(environment_cfg(Settings(), 1)), tmp_path_factory.mktemp("run")
    encoder = make_encoder(names=world.joint_names)
    manifest = write(folder / "export", encoder, make_model(encoder))
    manifest = dataclasses.replace(manifest, joint_limits=world.joint_limits)
    (folder / "export" / MANIFEST_FILE).write_text(manifest.to_yaml())
    (folder / "export" / WORLD_FILE).write_text(json.dumps(world.to_json()))
    return folder


def test_both_policies_lead_an_arm_at_the_rate_that_is_asked_for(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, seen = runtime_speed.measured, list[PolicyManifest]()

    def noted(folder: Path, seconds: float) -> dict[str, float]:
        seen.append(read_manifest(folder))
        return measured(folder, seconds)

    monkeypatch.setattr(runtime_speed, "measured", noted)
    figures = runtime_speed.benchmark_runtime(dataclasses.replace(SETTINGS, run_dir=str(run)))
    assert json.loads((run / "runtime.json").read_text()) == figures
    assert [manifest.rates["control_hz"] for manifest in seen] == [200, 200]
    assert [manifest.inputs["vision"] for manifest in seen] == [(16, 4), (256, 1024)]
    for name in ("own", "vit_l"):
        found = {key.removeprefix(f"{name}.idle."): value for key, value in figures.items() if ".idle." in key}
        assert found["led_share"] > 0 and found["targets"] >= 1, "else it is not the policy that was measured"
        assert found["missed_share"] == found["missed"] / found["steps"]
        assert 0 < figures[f"{name}.inference_ms_p50"] <= figures[f"{name}.inference_ms_p99"]
    assert figures["own.memory_mib"] > 20 and min(figures["own.import_s"], figures["own.load_s"]) > 0
    assert read_manifest(run / "export").rates["control_hz"] == 50, "the export itself is as it was"


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"loads": ("idle", "frantic")}, "frantic"), ({"seconds": 0.0}, "seconds=0"), ({"control_hz": 501}, "501")],
)
def test_what_cannot_be_measured_is_refused(run: Path, changed: dict, said: str) -> None:
    runtime = dataclasses.replace(SETTINGS.runtime, **changed)
    with pytest.raises(SettingsError, match=said):
        runtime_speed.benchmark_runtime(dataclasses.replace(SETTINGS, run_dir=str(run), runtime=runtime))


def test_a_run_without_an_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="no exported policy"):
        runtime_speed.benchmark_runtime(dataclasses.replace(SETTINGS, run_dir=str(tmp_path)))


def test_an_arm_that_stops_is_told_and_not_measured(run: Path, tmp_path: Path) -> None:
    runtime_speed.at_rate(run / "export", tmp_path / "copy", 200)
    path = tmp_path / "copy" / MANIFEST_FILE
    limits = dataclasses.replace(read_manifest(tmp_path / "copy"), joint_limits=((5.0, 6.0),) * 6)
    path.write_text(limits.to_yaml())
    with pytest.raises(DeployError, match="stopped before 20 s were over: no joints"):
        runtime_speed.measured(tmp_path / "copy", 20)


def test_processes_compute_beside_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    began = list[subprocess.Popen]()
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: began.append(start(*a, **k)) or began[-1])
    with pytest.raises(KeyError), runtime_speed.beside(2):
        assert len(began) == 2 and all(process.poll() is None for process in began)
        raise KeyError
    assert all(process.poll() is not None for process in began)


def test_a_process_that_was_killed_is_a_sentence(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: killed)
    with pytest.raises(DeployError, match="its process ended with -9"):
        runtime_speed.measured(run / "export", 1)
    with pytest.raises(DeployError, match="cannot load .* ended with -9"):
        time_start(run / "export")
