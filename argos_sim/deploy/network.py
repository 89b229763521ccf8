"""One network of a policy in onnxruntime: on one thread, checked against its manifest before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from argos_sim.deploy.manifest import AGAIN, DeployError, PolicyManifest, read_network


class Network:
    """Arrays by name in, arrays in the manifest's order out."""

    def __init__(self, folder: Path | str, manifest: PolicyManifest, name: str) -> None:
        """Load ``<name>.onnx``; ``DeployError`` in one sentence if it is not what the manifest says."""
        data = read_network(folder, manifest, name)
        self.file, self.bytes = manifest.networks[name], len(data)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; what it could not fold beforehand it says of every fp16 file
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base class that is exported
            reason = str(error).split("\n")[0].rstrip(".")
            raise DeployError(f"onnxruntime cannot load the {name} of {folder} ({reason}). {AGAIN}") from None
        found = {node.name: tuple(node.shape) for node in self._session.get_inputs()}
        given = {node.name: tuple(node.shape) for node in self._session.get_outputs()}
        if not (_agree(found, self.file.inputs) and _agree(given, self.file.outputs)):
            raise DeployError(
                f"The {name} of {folder} takes {found} and gives {given}, and its manifest says {self.file.inputs} and "
                f"{self.file.outputs}. {AGAIN}"
            )
        self.outputs = list(self.file.outputs)

    def __call__(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The network's outputs for arrays of the right shapes; nothing is checked."""
        return [np.asarray(value) for value in self._session.run(self.outputs, inputs)]


def _agree(found: dict[str, tuple[Any, ...]], said: dict[str, tuple[int | str, ...]]) -> bool:
    """Whether names, and all sizes that do not vary, are the same."""

    def sizes(shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(size if isinstance(size, int) else None for size in shape)

    return {k: sizes(v) for k, v in found.items()} == {k: sizes(v) for k, v in said.items()}
