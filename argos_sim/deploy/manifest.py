"""``policy.yaml``: what an exported policy is for, whose latents it speaks, and which files it is made of.

A policy's folder holds this file and its networks as ONNX. The controller is always there; the encoders and the planner
are where the whole policy was exported. All that a robot needs to use them rightly is here: joints and their order,
limits, rates, history, how the planner samples, the encoder's hash, and the SHA-256 of every file. It is plain data:
reading it runs nothing.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from argos_sim.deploy.body import Body
from argos_sim.deploy.motor_units import MotorUnits
from argos_sim.deploy.sight_settings import SightSettings

FORMAT_VERSION, READ_VERSIONS = 4, (2, 3, 4)
"""1 was ``controller.json`` beside the controller alone; 2 had neither precisions nor tokenizers, 3 no motors."""
MANIFEST_FILE, EARLIER_FILE, TOKENIZER_FILE = "policy.yaml", "controller.json", "tokenizer.json"
WORLD_FILE = "world.json"
"""The task's scene: what a simulated arm is made of, and where the camera stood in training."""
OUTPUT = "torque"
CONTROLLER, VISION, PROPRIO, JOINTS = "controller", "vision", "proprio", "joints"
PLAN_CONTEXT, PLAN_FLOW, TEXT = "planner_context", "planner_flow", "text"
DECODER, SIGHT = "decoder", "sight"
SENSES, PLANNER = (VISION, PROPRIO, JOINTS), (PLAN_CONTEXT, PLAN_FLOW)
"""Networks of the encoders, ``joints`` being proprioception decoded, and of the planner. ``text`` is there where the
planner's text encoder is a network."""
NETWORKS = (CONTROLLER, *SENSES, *PLANNER, TEXT, DECODER, SIGHT)
"""``decoder`` draws latents for people; ``sight`` tells joints from latents, so that pictures can be doubted. Nothing
that moves the arm needs them, and earlier exports have none."""
PRECISIONS = ("fp32", "fp16", "int8")
SPEC_FIELDS = ("encoder", "encoder_hash", "rows", "cols", "channels", "proprio_dim", "joint_names", "stats_hash")
RATE_FIELDS = ("physics_hz", "control_hz", "camera_hz", "planner_period_s")
AGAIN = "Export the policy again."
MOST_STEPS, MOST_TEXT, MOST_PIXELS = 1000, 8192, 4096
"""Of a sampler, of a text encoder's sizes, and of the side of a picture [pixels]; more is a mistake, or meant to keep a
robot busy."""


class DeployError(ValueError):
    """An exported policy is missing, damaged, or does not fit."""


@dataclass(frozen=True)
class NetworkFile:
    """One network of a policy."""

    sha256: str
    inputs: dict[str, tuple[int | str, ...]]
    """Shape of each input by its name; what may vary is a word, such as ``N`` for the batch."""
    outputs: dict[str, tuple[int | str, ...]]
    difference: float
    """Largest absolute difference from torch over the data that it was exported with, in the outputs' units."""
    compared: int
    """Rows of that data."""
    precision: str = "fp32"
    """Of its weights, one of ``PRECISIONS``; inputs and outputs are as in fp32 in any case."""
    rms: float | None = None
    """Root mean square of that difference; None in exports of format 2."""
    error: dict[str, float] = field(default_factory=dict)
    """Where the precision is lower: ``largest`` and ``rms`` of the difference in the units that it was judged in."""
    torch_sha256: str | None = None
    """Of ``<name>.pt2``, the same network as a torch program, which no runtime reads; None where there is none."""


@dataclass(frozen=True)
class PlannerSettings:
    """How the planner is asked, beside its networks; see ``argos_wm.sampler.SamplerConfig``."""

    history: tuple[float, ...]
    """Offsets of the states that it remembers [s], oldest first, ending in 0."""
    text: dict[str, Any]
    """The text encoder: ``kind`` and what that needs."""
    steps: int
    solver: str
    guidance_scale: float
    guidance_interval: tuple[float, float]
    temperature: float
    shift: float
    """Of the flow's times toward noise."""


PARTS = {"planner": PlannerSettings, "body": Body, "motors": MotorUnits, "sight": SightSettings}
"""Fields of ``PolicyManifest`` that are settings by name, or None."""


@dataclass(frozen=True)
class PolicyManifest:
    """The settings of an exported policy, as stored in ``policy.yaml``."""

    spec: dict[str, Any]
    """``LatentSpec.to_json()`` of the latents that its parts share."""
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
    image_size: int = 0
    """Side of the square picture that the vision encoder takes [pixels]; 0 where it was not exported."""
    homography: tuple[float, ...] = ()
    """Of a camera that was moved: the eight numbers (``controller.alignment``) of what ``vision.onnx`` sees pictures
    through by itself. None where it was not, and not written then."""
    planner: PlannerSettings | None = None
    """None where the planner was not exported."""
    body: Body | None = None
    """The arm's, for the guard's braking and walls; None where it is not known."""
    motors: MotorUnits | None = None
    """What angles and torques are in the motors' units; None in exports before format 4, see ``motor_units``."""
    sight: SightSettings | None = None
    """What ``sight.onnx`` knows; None where it was not exported."""
    networks: dict[str, NetworkFile] = field(default_factory=dict)
    """By their names in ``NETWORKS``; each is the file ``<name>.onnx``. Filled in by the export."""
    world_sha256: str | None = None
    """Of ``world.json``; None where there is none, and in exports before it was stated. Filled in by the export."""
    licences: dict[str, str] = field(default_factory=dict)
    """Of what the weights were made from, such as the vision encoder."""
    training: dict[str, Any] = field(default_factory=dict)
    """Settings of the run that trained the controller."""
    format_version: int = FORMAT_VERSION

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input of the controller without its batch dimension, in the order of its arguments."""
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

    @property
    def motor_units(self) -> MotorUnits:
        """Those stated, or of servos that count as the joints do, for which earlier exports were made."""
        return MotorUnits.of_servos(self.joint_limits) if self.motors is None else self.motors

    def to_yaml(self) -> str:
        """What is stored."""
        plain = _lists(asdict(self))
        for name in ("homography", "sight"):  # what an earlier ARGOS does not know is left out where there is none
            if not plain[name]:
                del plain[name]
        if self.body is not None and not self.body.fingertips:
            del plain["body"]["fingertips"]
        # Lists of numbers on one line each.
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)

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
            raise DeployError(f"{source}: {problems[0]}. {AGAIN}")

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
        if not isinstance(self.history, int) or self.history < 0:
            problems.append(f"history {self.history} should be a whole number, 0 or more")
        if type(self.image_size) is not int or not 0 <= self.image_size <= MOST_PIXELS:
            problems.append(f"image_size {self.image_size} should be a whole number from 0 to {MOST_PIXELS}")
        if not isinstance(self.world_sha256, str | None):
            problems.append(f"world_sha256 {self.world_sha256} should be the SHA-256 of {WORLD_FILE}")
        unknown = [name for name in self.networks if name not in NETWORKS]
        if unknown:
            problems.append(f"there is no network {unknown[0]!r}; known are {', '.join(NETWORKS)}")
        other = [network.precision for network in self.networks.values() if network.precision not in PRECISIONS]
        if other:
            problems.append(f"there is no precision {other[0]!r}; known are {', '.join(PRECISIONS)}")
        if self.homography and (len(self.homography) != 8 or not _finite(self.homography)):
            problems.append(f"homography {self.homography} should be eight finite numbers")
        if self.homography and len(self.spec.get("cameras", ("front",))) > 1:
            problems.append("homography is of one camera, and there are several")
        problems += [] if self.body is None else self.body.problems(len(self.joint_names))
        problems += [] if self.motors is None else self.motors.problems(self.joint_limits, self.torque_limits)
        problems += [] if self.sight is None else self.sight.problems(len(self.joint_names))
        return problems + ([] if self.planner is None else self._problems_of_planner(self.planner))

    @staticmethod
    def _problems_of_planner(planner: PlannerSettings) -> list[str]:
        problems = []
        if not isinstance(planner.text, dict) or not isinstance(planner.text.get("kind"), str):
            problems.append(f"planner.text {planner.text} does not say its kind")
        else:
            sizes = {name: planner.text[name] for name in ("dim", "max_words") if name in planner.text}
            wrong = [name for name, size in sizes.items() if not isinstance(size, int) or not 1 <= size <= MOST_TEXT]
            problems += [
                f"planner.text.{name} {sizes[name]} should be a number from 1 to {MOST_TEXT}" for name in wrong
            ]
        offsets, (low, high) = planner.history, planner.guidance_interval
        if not _finite(offsets) or not offsets or offsets[-1] != 0 or list(offsets) != sorted(set(offsets)):
            problems.append(f"planner.history {offsets} should rise and end in 0")
        if planner.solver not in ("euler", "heun") or not isinstance(planner.steps, int) or planner.steps < 1:
            problems.append(f"planner.solver {planner.solver} of {planner.steps} steps should be euler or heun of one")
        elif planner.steps > MOST_STEPS:
            problems.append(f"planner.steps {planner.steps} should be {MOST_STEPS} at most")
        if not _finite((planner.guidance_scale, low, high)) or not _positive((planner.shift, planner.temperature)):
            problems.append("planner.guidance_scale, guidance_interval, temperature and shift should be finite numbers")
        return problems


def stated_in_file(manifest: PolicyManifest) -> dict[str, str]:
    """What ``controller.onnx`` states in its own metadata, for programs that read no YAML; numbers stand apart by a
    space, names by a newline."""
    numbers = {
        "history": (manifest.history,),
        "control_hz": (manifest.rates["control_hz"],),
        "torque_limits": manifest.torque_limits,
        "action_scale": manifest.action_scale,
    }
    stated = {f"argos.{name}": " ".join(map(str, values)) for name, values in numbers.items()}
    names = "\n".join(manifest.joint_names)
    return {"argos.format": str(manifest.format_version), "argos.joint_names": names} | stated


def network_file(name: str) -> str:
    """The file of a network within a policy's folder."""
    return f"{name}.onnx"


def read_manifest(folder: Path | str) -> PolicyManifest:
    """Read and check ``policy.yaml``; ``DeployError`` in one sentence if it cannot be right.

    ``world.json`` is compared with it here, since everybody who believes it has read this first.
    """
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        earlier = (Path(folder) / EARLIER_FILE).is_file()
        why = f"it has the format 1, of {EARLIER_FILE}, which is read no more" if earlier else "policy.yaml is missing"
        raise DeployError(f"There is no exported policy at {folder}: {why}. {AGAIN}")
    try:
        data = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DeployError(f"{path} is not valid YAML ({reason}); it may be cut off. {AGAIN}") from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if not isinstance(data, dict) or version not in READ_VERSIONS:
        known = f"{', '.join(map(str, READ_VERSIONS[:-1]))} and {READ_VERSIONS[-1]}"
        newer = "Export the policy again, or use the newer ARGOS that wrote it." if _newer(version) else AGAIN
        raise DeployError(f"{path} has the format {version} and {known} are read. {newer}")
    try:
        manifest = _made(PolicyManifest, data, path)
        manifest.check(path)
    except (TypeError, AttributeError, KeyError, ValueError, OverflowError) as error:
        if isinstance(error, DeployError):
            raise
        raise DeployError(f"{path} has a value of the wrong kind ({error}). {AGAIN}") from None
    world = Path(folder) / WORLD_FILE
    if manifest.world_sha256 is not None and world.is_file():  # without it a robot that is none of MuJoCo's can run
        read_hashed(world, manifest.world_sha256, "world")
    return manifest


def read_network(folder: Path | str, manifest: PolicyManifest, name: str) -> bytes:
    """The bytes of a network, after comparing them with the manifest's SHA-256."""
    if name not in manifest.networks:
        raise DeployError(f"The policy at {folder} was exported without its {name}. Export the whole policy.")
    return read_hashed(Path(folder) / network_file(name), manifest.networks[name].sha256, "network")


def read_hashed(path: Path, wanted: str, kind: str) -> bytes:
    """The bytes of a file of which the manifest says the SHA-256 that is ``wanted``; ``kind`` is for the message."""
    if not path.is_file():
        raise DeployError(f"{path} is missing. {AGAIN}")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != wanted:
        raise DeployError(
            f"{path} is not the {kind} that {MANIFEST_FILE} describes: its SHA-256 is {digest[:12]}… and "
            f"{wanted[:12]}… is expected. Export the policy again or restore the file."
        )
    return data


def _made(kind: type, data: Any, source: Any) -> Any:
    """A dataclass from plain values; a field that is missing or unknown is named."""
    if not isinstance(data, dict):
        raise DeployError(f"{source}: {data!r} should be settings by name. {AGAIN}")
    missing = [f.name for f in fields(kind) if f.name not in data and _required(f)]
    unknown = [str(name) for name in data if name not in {f.name for f in fields(kind)}]
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"has unknown fields {', '.join(unknown)}"
        raise DeployError(f"{source} {what}. {AGAIN}")
    values: dict[str, Any] = {name: v if isinstance(v, dict) else _tuples(v) for name, v in data.items()}
    if kind is PolicyManifest:
        for name, kind_of in PARTS.items():
            if values.get(name) is not None:
                values[name] = _made(kind_of, values[name], f"{source}: {name}")
        networks = values.get("networks", {})
        values["networks"] = {name: _made(NetworkFile, networks[name], f"{source}: {name}") for name in networks}
    elif kind is NetworkFile:
        for name in ("inputs", "outputs"):
            values[name] = {key: tuple(shape) for key, shape in values[name].items()}
    return kind(**values)


def _newer(version: Any) -> bool:
    return isinstance(version, int) and version > FORMAT_VERSION


def _required(f: Any) -> bool:
    return f.default is MISSING and f.default_factory is MISSING


def _tuples(value: Any) -> Any:
    """Lists as tuples, at every depth; dictionaries stay as they are."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _lists(value: Any) -> Any:
    """Tuples as lists, at every depth, as YAML has them."""
    if isinstance(value, dict):
        return {key: _lists(v) for key, v in value.items()}
    return [_lists(v) for v in value] if isinstance(value, list | tuple) else value


def _finite(values: tuple[float, ...]) -> bool:
    return all(isinstance(v, int | float) and math.isfinite(v) for v in values)


def _positive(values: tuple[float, ...]) -> bool:
    return _finite(values) and all(v > 0 for v in values)
