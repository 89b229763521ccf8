"""The exported controller at work: latents in, torques out, one control step at a time.

It runs on numpy and onnxruntime alone, on one thread. Before use it compares the network with its manifest; at every
step it refuses an observation that is not finite or not of the right shape, and then gives no torque at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from argos_sim.deploy.manifest import OUTPUT, DeployError, read_manifest, read_network


class ControllerRuntime:
    """Keeps the history and runs the network.

    Call ``reset`` when an episode starts and ``step`` once a control period (``manifest.rates["control_hz"]``).
    """

    def __init__(self, folder: Path | str):
        """Load an exported controller; ``DeployError`` in one sentence if its folder is not whole."""
        self.manifest = read_manifest(folder)
        network = read_network(folder, self.manifest)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        try:
            self._session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base class that is exported
            reason = str(error).split("\n")[0].rstrip(".")
            raise DeployError(f"onnxruntime cannot load the network of {folder} ({reason}). Export it again.") from None
        self._require_network(folder)
        self._scale = np.asarray(self.manifest.action_scale, dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next observation fills the whole history, and the last action is zero."""
        self._history: np.ndarray | None = None
        self._last_action = np.zeros(len(self.manifest.joint_names), dtype=np.float32)

    def step(
        self,
        vision: np.ndarray,
        proprio: np.ndarray,
        target_vision: np.ndarray,
        target_proprio: np.ndarray,
        time_to_go: float,
    ) -> np.ndarray:
        """Torques for this control step.

        Args:
            vision: (P, C) standardised latents of the newest picture, held between two pictures.
            proprio: (D,) standardised latent of the joints, now.
            target_vision: (P, C) standardised.
            target_proprio: (D,) standardised.
            time_to_go: until the target is due [s].

        Returns:
            (J,) torque [N·m], within the motors' limits, in the order of ``manifest.joint_names``.

        Raises:
            ValueError: an observation has another shape or is not finite; the history is as before.
        """
        shapes = self.manifest.inputs
        dim = shapes["proprio"][1:]
        now = _require("proprio", proprio, dim)
        past = np.broadcast_to(now, shapes["proprio"]) if self._history is None else self._history
        history = np.concatenate([past[1:], now[None]])
        feed = {
            "vision": _require("vision", vision, shapes["vision"]),
            "target_vision": _require("target_vision", target_vision, shapes["target_vision"]),
            "proprio": history,
            "target_proprio": _require("target_proprio", target_proprio, dim),
            "last_action": self._last_action,
            "time_to_go": _require("time_to_go", np.atleast_1d(time_to_go), (1,)),
        }
        torque = self.infer({name: value[None] for name, value in feed.items()})[0]
        if not np.isfinite(torque).all():
            raise ValueError(f"The controller's torque {torque} is not finite. Stop the robot and export it again.")
        self._history = history
        self._last_action = torque / self._scale
        return torque

    def infer(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """The network alone: batched float32 ``inputs`` by name to torque (N, J) [N·m]; nothing is checked or kept."""
        return np.asarray(self._session.run([OUTPUT], inputs)[0])

    def _require_network(self, folder: Path | str) -> None:
        """The network's own inputs and output are those of the manifest, whatever its batch dimension is called."""
        expected = self.manifest.inputs
        found: dict[str, Any] = {node.name: tuple(node.shape[1:]) for node in self._session.get_inputs()}
        outputs = {node.name: tuple(node.shape[1:]) for node in self._session.get_outputs()}
        if found != expected or outputs != {OUTPUT: (len(self.manifest.joint_names),)}:
            raise DeployError(
                f"The network of {folder} takes {found} and gives {outputs}, and its manifest says {expected}. "
                "Export the controller again."
            )


def _require(name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``value`` as float32, after checking its shape and that it is finite."""
    try:
        array = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not an array of numbers. Give float32 values of the shape {shape}.") from None
    if array.shape != shape:
        raise ValueError(f"{name} has the shape {array.shape} and should be {shape}. Encode it with the same encoder.")
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise ValueError(f"{name} holds {bad} values that are NaN or infinite. Check the sensor that it comes from.")
    return array
