"""Speed of an exported policy on a robot's computer: its start, one inference, its control loop in real time.

Beside the run's own policy stands one whose latents are a ViT-L's, since those are the largest that a controller is
asked to keep up with; it has random weights, a small vision encoder and a small planner, and its torques mean nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from argos_sim.controller.network import Controller, ControllerConfig
from argos_sim.deploy.export import export_policy
from argos_sim.deploy.manifest import WORLD_FILE, DeployError, PolicyManifest, read_manifest
from argos_sim.deploy.text import HASHED
from argos_sim.deploy.timing import last_words, time_inference, time_start
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.traced import traced_controller, traced_encoder, traced_planner
from argos_wm.checkpoint import load_json, save_json
from argos_wm.encoders.proprio import ProprioEncoder
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.encoders.vision import SmallViT, SmallViTConfig
from argos_wm.latents import LatentState, LatentStats
from argos_wm.world_model import WorldModel, WorldModelConfig

IMAGE_SIZE, CHANNELS = 256, 1024
"""Of DINOv3 ViT-L: 16 × 16 patches of 16 pixels."""
ROWS = 4
"""Of data that an export is compared with torch on."""
BUSY = "import numpy\nmatrix = numpy.ones((512, 512))\nwhile True: matrix @ matrix"
LOADS = {"idle": 0, "busy": max(1, (os.cpu_count() or 1) - 1)}
"""Processes that compute on one core each beside the loop: none, or one on every core but its own."""


def benchmark_runtime(settings: Settings) -> dict[str, float]:
    """All figures of the run's export, and of a policy with a ViT-L's latents, also into ``<run>/runtime.json``.

    Raises:
        SettingsError: a load is unknown, or nothing is to be measured.
        DeployError: the run has no whole export, or an arm stopped while it was measured.
    """
    cfg = settings.runtime
    if unknown := set(cfg.loads) - set(LOADS):
        raise SettingsError(f"runtime.loads has {', '.join(sorted(unknown))}; there are {', '.join(LOADS)}.")
    if cfg.seconds < 1 or not 1 <= cfg.control_hz <= 500:
        raise SettingsError(
            f"runtime.seconds={cfg.seconds:g} and runtime.control_hz={cfg.control_hz}: at least a second, and 1 to "
            "500 Hz are measured."
        )
    export = settings.folder / "export"
    read_manifest(export)  # refuses in a sentence what is not there
    figures = {f"own.{name}": value for name, value in time_start(export).items()}
    with tempfile.TemporaryDirectory() as made:
        policies = {"own": Path(made) / "own", "vit_l": Path(made) / "vit_l"}
        at_rate(export, policies["own"], cfg.control_hz)
        untrained(policies["own"], policies["vit_l"])
        for name, folder in policies.items():
            p50, p99 = time_inference(folder, settings.evaluation.inference_calls)
            figures |= {f"{name}.inference_ms_p50": p50, f"{name}.inference_ms_p99": p99}
            for load in cfg.loads:
                print(f"  {name}, {load}: {cfg.seconds:g} s at {cfg.control_hz} Hz", flush=True)
                with beside(LOADS[load]):
                    found = measured(folder, cfg.seconds)
                figures |= {f"{name}.{load}.{figure}": value for figure, value in found.items()}
    save_json(settings.folder / "runtime.json", figures)
    for name, value in figures.items():
        print(f"  {name}: {value:.4g}")
    return figures


def measured(folder: Path, seconds: float) -> dict[str, float]:
    """``timing.time_loop`` in a process that has imported nothing that a robot would not."""
    command = [sys.executable, "-m", "argos_sim.deploy.timing", str(folder), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DeployError(last_words(done))
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def beside(processes: int) -> Iterator[None]:
    """So many processes that compute, each on one thread, until the end."""
    with ExitStack() as ended:
        for _ in range(processes):
            single = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            busy = ended.enter_context(subprocess.Popen([sys.executable, "-c", BUSY], env=single))
            ended.callback(busy.kill)
        yield


def at_rate(export: Path, folder: Path, control_hz: int) -> None:
    """A copy of an export that is run at another rate than it was trained at, which only its speed can be judged by."""
    manifest = read_manifest(export)
    if not (export / WORLD_FILE).is_file():
        raise DeployError(f"{export} has no {WORLD_FILE}, so that there is no arm to run it on.")
    folder.mkdir()
    for file in export.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    world = load_json(export / WORLD_FILE)
    save_json(folder / WORLD_FILE, world | {"rates": world["rates"] | {"control_hz": control_hz}})
    rates = manifest.rates | {"control_hz": control_hz}
    manifest = dataclasses.replace(manifest, rates=rates, world_sha256=None)
    (folder / "policy.yaml").write_text(manifest.to_yaml())


def untrained(like: Path, folder: Path, seed: int = 0) -> PolicyManifest:
    """A policy for the arm and at the rates of the one in ``like``, of a ViT-L's latents and random weights."""
    torch.manual_seed(seed)
    base = read_manifest(like)
    joints = len(base.joint_names)
    vision = SmallViT(
        SmallViTConfig(image_size=IMAGE_SIZE, stem=(8, 16, 32), width=32, depth=1, heads=2, channels=CHANNELS)
    ).eval()
    patches = vision.rows * vision.cols
    proprio = ProprioEncoder(joints, max(8, 2 * joints))
    felt = proprio.encode(torch.randn(64, 2 * joints)).detach()
    stats = LatentStats.measure(torch.randn(ROWS, patches, CHANNELS), felt, per_position=True)
    encoder = StateEncoder(vision, proprio, stats, base.joint_names, precision="float32")
    spec, text = encoder.spec, HashedNGramEncoder()
    model = WorldModel(
        WorldModelConfig(width=64, depth=2, context_depth=1, heads=2, precision="fp32"), spec, text.dim, joints
    ).eval()
    sizes = ControllerConfig(spec.patches, spec.channels, spec.proprio_dim, joints, history=0)
    controller = Controller(sizes, torch.tensor(base.torque_limits))
    assert base.planner is not None, "a policy without planner is not run"
    asked: dict[str, Any] = {"kind": HASHED, "dim": text.dim, "max_words": text.max_words}
    manifest = dataclasses.replace(
        base,
        spec=spec.to_json(),
        history=0,
        image_size=IMAGE_SIZE,
        homography=(),
        networks={},
        planner=dataclasses.replace(base.planner, history=model.config.history, text=asked, shift=model.shift),
    )
    states = len(model.config.history)
    shown = torch.randn(ROWS, states, patches, CHANNELS)
    history = LatentState(shown, torch.randn(ROWS, states, spec.proprio_dim), torch.zeros(ROWS, states))
    observations = {name: torch.randn(ROWS, *shape) for name, shape in manifest.inputs.items()}
    images = torch.randint(0, 256, (ROWS, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8)
    known, said = torch.ones(ROWS, states, dtype=torch.bool), text(["touch the red block"] * ROWS)
    networks = [
        traced_controller(controller, observations),
        *traced_encoder(encoder, images, torch.randn(ROWS, 2 * joints), ()),
        *traced_planner(model, history, known, said, torch.linspace(0.1, 0.8, ROWS)),
    ]
    return export_policy(networks, manifest, folder, world=load_json(like / WORLD_FILE))
