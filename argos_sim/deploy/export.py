"""Export a policy to the folder that a robot runs: its networks as ONNX, and ``policy.yaml``.

Each network is compared with torch on recorded data before anything is put in its place: a policy of which one file
differs is not written.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from argos_sim.deploy.manifest import MANIFEST_FILE, DeployError, NetworkFile, PolicyManifest, network_file
from argos_sim.deploy.network import Network
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.folders import replace_folder, temporary_folder
from argos_sim.traced import Traced, named, traced_controller

OPSET = 18
"""ONNX operator set that torch 2.11 writes without conversion; it has LayerNormalization as one operator."""
BATCH = "N"
COMPARED_AT_ONCE = 256


def export_policy(networks: Sequence[Traced], manifest: PolicyManifest, folder: Path | str) -> PolicyManifest:
    """Write ``networks`` and their ``manifest`` to ``folder``, whole or not at all; an earlier export is replaced.

    Args:
        networks: on any device; they are copied, not changed.
        manifest: the settings; ``networks`` is filled in here.
        folder: the folder to make.

    Returns:
        the manifest as it was written.

    Raises:
        DeployError: the manifest cannot be right, or a network is not what it says, or is not torch's.
    """
    folder = Path(folder)
    manifest.check(folder)
    temporary = temporary_folder(folder)
    try:
        for traced in networks:
            traced = replace(traced, module=copy.deepcopy(traced.module).cpu().float().eval())
            manifest = _add(traced, manifest, temporary)
        (temporary / MANIFEST_FILE).write_text(manifest.to_yaml())
        ControllerRuntime(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    replace_folder(temporary, folder)
    return manifest


def export_controller(
    actor: nn.Module, manifest: PolicyManifest, folder: Path | str, observations: dict[str, Tensor] | None = None
) -> PolicyManifest:
    """A policy's folder with the controller alone, compared with torch on ``observations`` or else on random ones."""
    manifest.check(folder)
    generator = torch.Generator().manual_seed(0)
    shapes = manifest.inputs.items()
    given = observations or {name: torch.randn(256, *shape, generator=generator) for name, shape in shapes}
    return export_policy([traced_controller(actor, given)], manifest, folder)


def difference(traced: Traced, network: Network) -> float:
    """Largest absolute difference between torch and onnxruntime over the recorded values, in the outputs' units."""
    largest = 0.0
    for begin in range(0, traced.count, COMPARED_AT_ONCE):
        inputs = traced.rows(slice(begin, begin + COMPARED_AT_ONCE))
        with torch.no_grad():
            expected = traced.module(**inputs)
        found = network({name: x.numpy() for name, x in named(inputs).items()})
        for mine, theirs in zip(found, [expected] if isinstance(expected, Tensor) else expected, strict=True):
            largest = max(largest, float(np.abs(mine - theirs.numpy()).max()))  # a NaN is handed on by neither
            if not np.isfinite(mine).all():
                return float("nan")
    return largest


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


def _add(traced: Traced, manifest: PolicyManifest, folder: Path) -> PolicyManifest:
    """Write one network to ``folder``, compare it, and enter it into the manifest."""
    path = folder / network_file(traced.name)
    _write_onnx(traced, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs, outputs = _shapes(session.get_inputs()), _shapes(session.get_outputs())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = NetworkFile(digest, inputs, outputs, 0.0, traced.count)
    found = replace(manifest, networks=manifest.networks | {traced.name: entry})
    apart = difference(traced, Network(folder, found, traced.name))
    if not apart <= traced.tolerance:
        raise DeployError(
            f"The export of the {traced.name} differs from torch by up to {apart:.1e}, more than "
            f"{traced.tolerance:.0e}: it must not drive a robot."
        )
    return replace(found, networks=found.networks | {traced.name: replace(entry, difference=apart)})


def _shapes(nodes: Sequence[Any]) -> dict[str, tuple[int | str, ...]]:
    """Sizes by name; those that vary are words."""
    return {node.name: tuple(size if isinstance(size, int) else str(size) for size in node.shape) for node in nodes}


def _write_onnx(traced: Traced, path: Path) -> None:
    """One self-contained file with a dynamic batch; its inputs are named as the arguments of ``forward``.

    A batch of 2 is traced: torch would fix a batch of 1.
    """
    dimensions = {word: torch.export.Dim(word, min=1) for word in (BATCH, *_words(traced))}

    def sizes(name: str) -> dict[int, Any]:
        return {0: dimensions[BATCH]} | {i: dimensions[word] for i, word in traced.varying.get(name, {}).items()}

    example = traced.rows(slice(0, 2))
    shapes = {
        name: [sizes(name)] * len(value) if isinstance(value, list) else sizes(name) for name, value in example.items()
    }
    with torch.no_grad(), _without_remarks():
        torch.onnx.export(
            traced.module,
            (),
            str(path),
            kwargs=example,
            output_names=list(traced.outputs),
            opset_version=OPSET,
            dynamic_shapes=shapes,
            external_data=False,
            dynamo=True,
            verbose=False,
        )


def _words(traced: Traced) -> list[str]:
    """Names of the dimensions that vary beside the batch."""
    return sorted({word for sizes in traced.varying.values() for word in sizes.values()})


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
