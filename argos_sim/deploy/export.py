"""Export a torch controller to the folder that ``runtime`` runs: ``controller.onnx`` and ``controller.json``.

The network is any module whose ``forward`` takes vision (N, P, C), target_vision (N, P, C), proprio (N, K + 1, D)
oldest first, target_proprio (N, D), last_action (N, J) and time_to_go (N, 1), all standardised latents or shares, and
returns torque (N, J) [N·m], scaled and clipped.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from argos_sim.deploy.manifest import MANIFEST_FILE, NETWORK_FILE, OUTPUT, ControllerManifest, DeployError
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.folders import replace_folder, temporary_folder

OPSET = 18
"""ONNX operator set that torch 2.11 writes without conversion; it has LayerNormalization as one operator."""
LARGEST_DIFFERENCE = 1e-4
"""Between the torques of torch and of its export [N·m]; rounding makes about 1e-6."""


def export_controller(actor: nn.Module, manifest: ControllerManifest, folder: Path | str) -> Path:
    """Write ``actor`` and its ``manifest`` to ``folder``, whole or not at all; an earlier export is replaced.

    Args:
        actor: the network, on any device; it is copied, not changed.
        manifest: its settings; ``sha256`` is filled in here.
        folder: the folder to make.

    Raises:
        DeployError: the manifest cannot be right, or the exported network is not what it says.
    """
    folder = Path(folder)
    manifest.check(folder)
    actor = copy.deepcopy(actor).cpu().float().eval()
    temporary = temporary_folder(folder)
    try:
        _write_onnx(actor, manifest, temporary / NETWORK_FILE)
        digest = hashlib.sha256((temporary / NETWORK_FILE).read_bytes()).hexdigest()
        data = replace(manifest, sha256=digest).to_json()
        (temporary / MANIFEST_FILE).write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")
        ControllerRuntime(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    replace_folder(temporary, folder)
    return folder


def verify_export(actor: nn.Module, folder: Path | str, observations: Mapping[str, Tensor | np.ndarray]) -> float:
    """Largest absolute difference between torch and onnxruntime over ``observations`` [N·m].

    Args:
        actor: the network that was exported.
        folder: the export.
        observations: the six inputs by name, each (N, …); N may be 1,000.

    Raises:
        DeployError: it is above ``LARGEST_DIFFERENCE``.
    """
    runtime = ControllerRuntime(folder)
    inputs = {name: np.asarray(observations[name], dtype=np.float32) for name in runtime.manifest.inputs}
    device = next(actor.parameters()).device
    training = actor.training
    actor.eval()
    with torch.no_grad():
        expected = actor(**{name: torch.from_numpy(value).to(device) for name, value in inputs.items()})
    actor.train(training)
    difference = float(np.abs(runtime.infer(inputs) - expected.float().cpu().numpy()).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise DeployError(
            f"The torques of the export in {folder} differ from torch's by up to {difference:.1e} N·m, more than "
            f"{LARGEST_DIFFERENCE:.0e}: it must not drive a robot."
        )
    return difference


def time_inference(folder: Path | str, n: int = 1000) -> tuple[float, float]:
    """Median and 99th percentile of one control step on one thread [ms], checks and history included."""
    runtime = ControllerRuntime(folder)
    shapes, rng = runtime.manifest.inputs, np.random.default_rng(0)
    vision, target = (rng.standard_normal(shapes["vision"], dtype=np.float32) for _ in range(2))
    proprio = rng.standard_normal((n + 50, shapes["target_proprio"][0]), dtype=np.float32)
    durations = []
    for latent in proprio:
        start = time.perf_counter()
        runtime.step(vision, latent, target, proprio[0], 0.4)
        durations.append(1e3 * (time.perf_counter() - start))
    p50, p99 = np.percentile(durations[50:], [50, 99])
    return float(p50), float(p99)


def _write_onnx(actor: nn.Module, manifest: ControllerManifest, path: Path) -> None:
    """One self-contained file with a dynamic batch; its inputs are named as the arguments of ``forward``.

    A batch of 2 is traced: torch would fix a batch of 1.
    """
    example = {name: torch.zeros(2, *shape) for name, shape in manifest.inputs.items()}
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad(), _without_remarks():
        torch.onnx.export(
            actor,
            (),
            str(path),
            kwargs=example,
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes={name: {0: batch} for name in example},
            external_data=False,
            dynamo=True,
            verbose=False,
        )


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep the exporter's remarks on its own internals, such as a split that is not folded, off the screen."""
    optimizer = logging.getLogger("onnxscript.optimizer")
    level = optimizer.level
    optimizer.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optimizer.setLevel(level)
