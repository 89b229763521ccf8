"""``controller.json``: what an exported controller is for, and whose latents it takes.

The folder holds ``controller.onnx`` and this file. Everything a robot needs to use the network rightly is here: joints
and their order, limits, rates, history, the encoder's hash, and the SHA-256 of the network's file.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

FORMAT_VERSION = 1
NETWORK_FILE = "controller.onnx"
MANIFEST_FILE = "controller.json"
OUTPUT = "torque"
SPEC_FIELDS = ("encoder", "encoder_hash", "rows", "cols", "channels", "proprio_dim", "joint_names", "stats_hash")
RATE_FIELDS = ("physics_hz", "control_hz", "camera_hz", "planner_period_s")


class DeployError(ValueError):
    """An exported controller is missing, damaged, or does not fit."""


@dataclass(frozen=True)
class ControllerManifest:
    """The settings of an exported controller, as stored in ``controller.json``."""

    spec: dict[str, Any]
    """``LatentSpec.to_json()`` of the latents that it takes."""
    joint_names: tuple[str, ...]
    """J joints, in the order of the torques."""
    joint_limits: tuple[tuple[float, float], ...]
    """Lower and upper end of each joint [rad]."""
    torque_limits: tuple[float, ...]
    """Largest torque of each joint [N·m]."""
    velocity_limits: tuple[float, ...]
    """Largest speed of each joint [rad/s]."""
    rates: dict[str, float]
    """physics_hz, control_hz, camera_hz [Hz] and planner_period_s [s]."""
    history: int
    """K, past proprioceptive latents beside the current one, one a control step."""
    action_scale: tuple[float, ...]
    """Torque of an action of 1 [N·m]; ``last_action`` is the last torque divided by it."""
    format_version: int = FORMAT_VERSION
    sha256: str = ""
    """Of ``controller.onnx``; filled in by the export."""
    encoder_hash: str = field(default="")
    """Hash of the encoders' weights, the same as in ``spec``."""

    def __post_init__(self) -> None:
        if not self.encoder_hash:
            object.__setattr__(self, "encoder_hash", self.spec.get("encoder_hash", ""))

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input of the network without its batch dimension, in the order of its arguments."""
        cameras = len(self.spec.get("cameras", ("front",)))  # of specs written when there was but one
        patches, channels = cameras * self.spec["rows"] * self.spec["cols"], self.spec["channels"]
        dim, joints = self.spec["proprio_dim"], len(self.joint_names)
        return {
            "vision": (patches, channels),
            "target_vision": (patches, channels),
            "proprio": (self.history + 1, dim),
            "target_proprio": (dim,),
            "last_action": (joints,),
            "time_to_go": (1,),
        }

    def to_json(self) -> dict[str, Any]:
        """What is stored, with the network's inputs and output spelled out for other readers."""
        shapes = {name: ["N", *shape] for name, shape in self.inputs.items()}
        return asdict(self) | {"inputs": shapes, "output": {OUTPUT: ["N", len(self.joint_names)]}}

    def check(self, source: Path | str) -> None:
        """Raise ``DeployError`` naming the first field that cannot be right."""
        joints = len(self.joint_names)
        lengths = {
            name: len(getattr(self, name))
            for name in ("joint_limits", "torque_limits", "velocity_limits", "action_scale")
        }
        problems = [f"{name} has {n} entries for {joints} joints" for name, n in lengths.items() if n != joints]
        problems += [f"spec lacks {name}" for name in SPEC_FIELDS if name not in self.spec]
        problems += [f"rates lacks {name}" for name in RATE_FIELDS if name not in self.rates]
        if not problems:
            problems = self._problems_of_values()
        if problems:
            raise DeployError(f"{source}: {problems[0]}. Export the controller again.")

    def _problems_of_values(self) -> list[str]:
        positive = {
            "torque_limits": self.torque_limits,
            "velocity_limits": self.velocity_limits,
            "action_scale": self.action_scale,
            "rates": tuple(self.rates[name] for name in RATE_FIELDS),
        }
        problems = [f"{k} {v} should be finite and above zero" for k, v in positive.items() if not _positive(v)]
        if not all(_finite(pair) and len(pair) == 2 and pair[0] < pair[1] for pair in self.joint_limits):
            problems.append(f"joint_limits {self.joint_limits} should be (lower, upper) pairs [rad]")
        if list(self.spec["joint_names"]) != list(self.joint_names):
            problems.append(f"joint_names {self.joint_names} differ from the spec's {self.spec['joint_names']}")
        if self.spec["encoder_hash"] != self.encoder_hash:
            problems.append(f"encoder_hash {self.encoder_hash} differs from the spec's {self.spec['encoder_hash']}")
        if not isinstance(self.history, int) or self.history < 0:
            problems.append(f"history {self.history} should be a whole number, 0 or more")
        return problems


def read_manifest(folder: Path | str) -> ControllerManifest:
    """Read and check ``controller.json``; ``DeployError`` in one sentence if it cannot be right."""
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        raise DeployError(f"There is no exported controller at {folder}: {MANIFEST_FILE} is missing. Export one there.")
    try:
        data = json.loads(path.read_text())
    except ValueError as error:
        raise DeployError(
            f"{path} is not valid JSON ({error}); it may be cut off. Export the controller again."
        ) from None
    if not isinstance(data, dict) or data.get("format_version") != FORMAT_VERSION:
        version = data.get("format_version") if isinstance(data, dict) else None
        raise DeployError(f"{path} has the format {version} and {FORMAT_VERSION} is read. Export the controller again.")
    missing = [f.name for f in fields(ControllerManifest) if f.name not in data]
    missing += [name for name in ("inputs", "output") if name not in data]
    if missing:
        raise DeployError(f"{path} lacks {', '.join(missing)}. Export the controller again.")
    manifest = ControllerManifest(**{f.name: _tuples(data[f.name]) for f in fields(ControllerManifest)})
    try:
        manifest.check(path)
    except (TypeError, AttributeError) as error:
        raise DeployError(f"{path} has a value of the wrong kind ({error}). Export the controller again.") from None
    if {name: _tuples(shape) for name, shape in data["inputs"].items()} != {
        name: ("N", *shape) for name, shape in manifest.inputs.items()
    }:
        raise DeployError(f"{path}: inputs {data['inputs']} do not follow from its spec. Export the controller again.")
    return manifest


def read_network(folder: Path | str, manifest: ControllerManifest) -> bytes:
    """The bytes of ``controller.onnx``, after comparing them with the manifest's SHA-256."""
    path = Path(folder) / NETWORK_FILE
    if not path.is_file():
        raise DeployError(f"{path} is missing. Export the controller again.")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != manifest.sha256:
        raise DeployError(
            f"{path} is not the network that {MANIFEST_FILE} describes: its SHA-256 is {digest[:12]}… and "
            f"{manifest.sha256[:12]}… is expected. Export the controller again or restore the file."
        )
    return data


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples, at every depth; dictionaries stay as they are."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _finite(values: tuple[float, ...]) -> bool:
    return all(isinstance(v, int | float) and math.isfinite(v) for v in values)


def _positive(values: tuple[float, ...]) -> bool:
    return _finite(values) and all(v > 0 for v in values)
