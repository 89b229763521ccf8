"""The exported controller at work: latents in, torques out, one control step at a time.

It runs on numpy and onnxruntime alone, on one thread. Before use it compares the network with its manifest; at every
step it refuses an observation that is not finite or not of the right shape, and then gives no torque at all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from argos_sim.deploy.manifest import AGAIN, CONTROLLER, OUTPUT, DeployError, read_manifest
from argos_sim.deploy.network import Network


class ControllerRuntime:
    """Keeps the history and runs the network.

    Call ``reset`` when an episode starts and ``step`` once a control period (``manifest.rates["control_hz"]``).
    """

    def __init__(self, folder: Path | str):
        """Load the controller of an exported policy; ``DeployError`` in one sentence if its folder is not whole."""
        self.manifest = read_manifest(folder)
        self._network = Network(folder, self.manifest, CONTROLLER)
        expected = {name: ("N", *shape) for name, shape in self.manifest.inputs.items()}
        outputs = {OUTPUT: ("N", len(self.manifest.joint_names))}
        if (self._network.file.inputs, self._network.file.outputs) != (expected, outputs):
            raise DeployError(
                f"The controller of {folder} takes {self._network.file.inputs} and gives {self._network.file.outputs}, "
                f"and {expected} and {outputs} follow from its spec and history. {AGAIN}"
            )
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
        now = require_array("proprio", proprio, dim)
        past = np.broadcast_to(now, shapes["proprio"]) if self._history is None else self._history
        history = np.concatenate([past[1:], now[None]])
        feed = {
            "vision": require_array("vision", vision, shapes["vision"]),
            "target_vision": require_array("target_vision", target_vision, shapes["target_vision"]),
            "proprio": history,
            "target_proprio": require_array("target_proprio", target_proprio, dim),
            "last_action": self._last_action,
            "time_to_go": require_array("time_to_go", np.atleast_1d(time_to_go), (1,)),
        }
        torque = self.infer({name: value[None] for name, value in feed.items()})[0]
        if not np.isfinite(torque).all():
            raise ValueError(f"The controller's torque {torque} is not finite. Stop the robot and export it again.")
        self._history = history
        self._last_action = torque / self._scale
        return torque

    def infer(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """The network alone: batched float32 ``inputs`` by name to torque (N, J) [N·m]; nothing is checked or kept."""
        return self._network(inputs)[0]


def require_array(name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
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
