"""Export a policy to the folder that a robot runs: its networks as ONNX, and ``policy.yaml``.

Each network is compared with torch on recorded data before anything is put in its place: a policy of which one file
differs is not written.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from argos_sim.compared import difference
from argos_sim.deploy.manifest import (
    CONTROLLER,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    WORLD_FILE,
    DeployError,
    NetworkFile,
    PolicyManifest,
    network_file,
    stated_in_file,
)
from argos_sim.deploy.network import Network
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.folders import replace_folder, temporary_folder
from argos_sim.lowering import lower_networks
from argos_sim.precision import ExportConfig
from argos_sim.torch_program import write_program
from argos_sim.traced import Traced, traced_controller
from argos_sim.traced_text import ExportedText
from argos_wm.checkpoint import save_json

OPSET = 18
"""ONNX operator set that torch 2.11 writes without conversion; it has LayerNormalization as one operator."""


def export_policy(
    networks: Sequence[Traced],
    manifest: PolicyManifest,
    folder: Path | str,
    config: ExportConfig | None = None,
    text: ExportedText | None = None,
    world: dict[str, Any] | None = None,
) -> PolicyManifest:
    """Write ``networks`` and their ``manifest`` to ``folder``, whole or not at all; an earlier export is replaced.

    Args:
        networks: on any device; they are copied, not changed.
        manifest: the settings; ``networks`` and ``world_sha256`` are filled in here.
        folder: the folder to make.
        config: precisions, and whether torch programs are written, too; by default fp32 without.
        text: the planner's text encoder where it is a network, ``text.traced`` being among ``networks``.
        world: what ``world.json`` says, with which a simulated robot needs no simulator of training's.

    Returns:
        the manifest as it was written.

    Raises:
        DeployError: the manifest cannot be right, or a network is not what it says, or is not torch's.
    """
    folder, config = Path(folder), config or ExportConfig()
    manifest.check(folder)
    temporary = temporary_folder(folder)
    try:
        networks = [replace(each, module=copy.deepcopy(each.module).cpu().float().eval()) for each in networks]
        for traced in networks:
            manifest = _add(traced, manifest, temporary, config.torch)
        if config.precision != "fp32":
            manifest = lower_networks(networks, manifest, temporary, config)
        if text is not None:
            (temporary / TOKENIZER_FILE).write_bytes(text.tokenizer)
            text.verify(temporary, manifest)
        if world is not None:
            save_json(temporary / WORLD_FILE, world)
            digest = hashlib.sha256((temporary / WORLD_FILE).read_bytes()).hexdigest()
            manifest = replace(manifest, world_sha256=digest)
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


def _add(traced: Traced, manifest: PolicyManifest, folder: Path, program: bool) -> PolicyManifest:
    """Write one network to ``folder``, compare it, and enter it into the manifest."""
    path = folder / network_file(traced.name)
    _write_onnx(traced, path, stated_in_file(manifest) if traced.name == CONTROLLER else {})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs, outputs = _shapes(session.get_inputs()), _shapes(session.get_outputs())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = NetworkFile(digest, inputs, outputs, 0.0, traced.count)
    found = replace(manifest, networks=manifest.networks | {traced.name: entry})
    apart = difference(traced, Network(folder, found, traced.name))
    if not apart.largest <= traced.tolerance:
        raise DeployError(
            f"The export of the {traced.name} differs from torch by up to {apart.largest:.1e}, more than "
            f"{traced.tolerance:.0e}: it must not drive a robot."
        )
    with _without_remarks():
        digest = write_program(traced, folder / f"{traced.name}.pt2") if program else None
    entry = replace(entry, difference=apart.largest, rms=apart.rms, torch_sha256=digest)
    return replace(found, networks=found.networks | {traced.name: entry})


def _shapes(nodes: Sequence[Any]) -> dict[str, tuple[int | str, ...]]:
    """Sizes by name; those that vary are words."""
    return {node.name: tuple(size if isinstance(size, int) else str(size) for size in node.shape) for node in nodes}


def _write_onnx(traced: Traced, path: Path, stated: dict[str, str]) -> None:
    """One self-contained file with a dynamic batch; its inputs are named as the arguments of ``forward``, and its
    metadata are ``stated``."""
    example, shapes = traced.example()
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
    model = onnx.load(path)
    for node in model.graph.node:  # where in whose files each was traced is nobody's business, and half of a small file
        del node.metadata_props[:]
    onnx.helper.set_model_props(model, stated)
    onnx.save(model, path)


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
