"""Laws of the exported controller: it is the torch network, it remembers, and it never acts on what it cannot trust."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from argos_sim.compared import difference
from argos_sim.deploy.export import export_controller, export_policy
from argos_sim.deploy.manifest import CONTROLLER, DeployError, PolicyManifest, read_manifest
from argos_sim.deploy.motor_units import MotorUnits
from argos_sim.deploy.network import Network
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.traced import traced_controller

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
ROWS, CHANNELS, DIM, HISTORY = 4, 16, 16, 3
MANIFEST = PolicyManifest(
    spec={
        "encoder": "small-vit",
        "encoder_hash": "0123456789abcdef",
        "rows": ROWS,
        "cols": ROWS,
        "channels": CHANNELS,
        "proprio_dim": DIM,
        "joint_names": list(JOINTS),
        "stats_hash": "fedcba9876543210",
    },
    joint_names=JOINTS,
    joint_limits=((-1.5, 1.5),) * 6,
    torque_limits=(2.94,) * 6,
    velocity_limits=(4.9,) * 6,
    rates={"physics_hz": 200, "control_hz": 50, "camera_hz": 10, "planner_period_s": 0.8},
    history=HISTORY,
    action_scale=(2.94,) * 6,
)


class StandIn(nn.Module):
    """Attention over current and target patches beside the history: the operators of the real controller."""

    def __init__(self, width: int = 48):
        super().__init__()
        self.patch = nn.Linear(3 * CHANNELS, width)
        self.query = nn.Linear((HISTORY + 2) * DIM + 6 + 1, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(2 * width, 128), nn.ELU(), nn.Linear(128, 6))

    def forward(
        self,
        vision: Tensor,
        target_vision: Tensor,
        proprio: Tensor,
        target_proprio: Tensor,
        last_action: Tensor,
        time_to_go: Tensor,
    ) -> Tensor:
        patches = self.norm(self.patch(torch.cat([vision, target_vision, target_vision - vision], -1)))  # (N, P, W)
        query = self.query(torch.cat([proprio.flatten(1), target_proprio, last_action, time_to_go], -1))  # (N, W)
        key, value = self.key_value(patches).unflatten(-1, (2, 4, -1)).permute(2, 0, 3, 1, 4)  # (N, 4, P, W / 4)
        heads = query.unflatten(-1, (4, 1, -1))  # (N, 4, 1, W / 4)
        seen = nn.functional.scaled_dot_product_attention(heads, key, value).flatten(1)  # (N, W)
        return 2.94 * self.head(torch.cat([query, seen], -1)).clamp(-1, 1)


def observations(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((n, *shape), dtype=np.float32) for name, shape in MANIFEST.inputs.items()}


def one_step(seed: int = 0) -> dict[str, np.ndarray | float]:
    """The arguments of one ``ControllerRuntime.step``."""
    values = {name: value[0] for name, value in observations(1, seed).items()}
    names = ("vision", "target_vision", "target_proprio")
    return {name: values[name] for name in names} | {"proprio": values["proprio"][-1], "time_to_go": 0.4}


@pytest.fixture(scope="module")
def actor() -> StandIn:
    torch.manual_seed(0)
    return StandIn()


@pytest.fixture(scope="module")
def exported(actor: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "policy"
    export_controller(actor, MANIFEST, folder)
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "policy"))


def stored(folder: Path) -> dict:
    return yaml.safe_load((folder / "policy.yaml").read_text())


def edit(folder: Path, **changes: object) -> None:
    (folder / "policy.yaml").write_text(yaml.safe_dump(stored(folder) | changes))


def tensors(n: int, seed: int) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in observations(n, seed).items()}


def test_onnxruntime_computes_what_torch_does_for_any_batch(actor: StandIn, exported: Path) -> None:
    network = Network(exported, read_manifest(exported), CONTROLLER)
    for n in (1, 2, 7, 1000):
        apart = difference(traced_controller(actor, tensors(n, n)), network)
        assert 0 <= apart.rms <= apart.largest < 1e-4


def test_a_network_that_differs_from_torch_is_not_written(actor: StandIn, tmp_path: Path) -> None:
    class Other(StandIn):
        def forward(
            self,
            vision: Tensor,
            target_vision: Tensor,
            proprio: Tensor,
            target_proprio: Tensor,
            last_action: Tensor,
            time_to_go: Tensor,
        ) -> Tensor:
            torque = super().forward(vision, target_vision, proprio, target_proprio, last_action, time_to_go)
            return torque + 1e-3 if torch.compiler.is_exporting() else torque

    torch.manual_seed(0)
    with pytest.raises(DeployError, match=r"controller differs from torch by up to [\d.]+e-0\d, more than 1e-04"):
        export_policy([traced_controller(Other(), tensors(9, 1))], MANIFEST, tmp_path / "policy")
    assert not list(tmp_path.iterdir())


def test_every_camera_has_its_patches() -> None:
    both = replace(MANIFEST, spec=MANIFEST.spec | {"cameras": ["front", "wrist"]})
    assert MANIFEST.inputs["vision"] == (ROWS**2, CHANNELS) and both.inputs["vision"] == (2 * ROWS**2, CHANNELS)


def test_the_export_is_a_network_and_its_manifest(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["controller.onnx", "policy.yaml"]
    assert not exported.with_name("policy.tmp").exists()
    network = stored(exported)["networks"]["controller"]
    assert network["sha256"] == hashlib.sha256((exported / "controller.onnx").read_bytes()).hexdigest()
    assert network["inputs"]["vision"] == ["N", 16, 16] and network["outputs"] == {"torque": ["N", 6]}
    assert 0 <= network["rms"] <= network["difference"] < 1e-4 and network["compared"] == 256
    assert str(Path.cwd()).encode() not in (exported / "controller.onnx").read_bytes(), "nor where it was made"
    again = ControllerRuntime(exported).manifest
    assert replace(again, networks={}) == MANIFEST, "what is stored is what was given"


def test_a_failed_export_leaves_the_earlier_one(copy: Path) -> None:
    five_torques = StandIn()
    five_torques.head = nn.Sequential(nn.Linear(96, 5))
    before = (copy / "controller.onnx").read_bytes()
    with pytest.raises(DeployError, match=r"gives \{'torque': \('N', 5\)\}, and .* follow from its spec"):
        export_controller(five_torques, MANIFEST, copy)
    assert (copy / "controller.onnx").read_bytes() == before and not copy.with_name("policy.tmp").exists()


def test_the_history_starts_full_of_the_first_reading_and_ends_with_the_newest(actor: StandIn, exported: Path) -> None:
    runtime = ControllerRuntime(exported)
    steps = [one_step(seed) for seed in range(HISTORY + 3)]
    seen, last_action = [np.asarray(steps[0]["proprio"])] * HISTORY, torch.zeros(1, 6)
    for step in steps:
        seen = [*seen, np.asarray(step["proprio"])][-HISTORY - 1 :]
        inputs = {
            k: torch.as_tensor(v, dtype=torch.float32).reshape(1, *MANIFEST.inputs[k][-2:])
            for k, v in step.items()
            if k != "proprio"
        }
        with torch.inference_mode():
            expected = actor(**inputs, proprio=torch.from_numpy(np.stack(seen))[None], last_action=last_action)
        torque = runtime.step(**step)  # pyright: ignore[reportArgumentType]
        np.testing.assert_allclose(torque, expected[0].numpy(), atol=1e-4)
        last_action = expected / 2.94


def test_after_a_reset_the_past_does_not_matter(exported: Path) -> None:
    runtime, fresh = ControllerRuntime(exported), ControllerRuntime(exported)
    for seed in range(5):
        runtime.step(**one_step(seed))  # pyright: ignore[reportArgumentType]
    runtime.reset()
    step = one_step(9)
    np.testing.assert_array_equal(runtime.step(**step), fresh.step(**step))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["vision", "proprio", "target_vision", "target_proprio", "time_to_go"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_gives_no_torque_and_leaves_no_trace(exported: Path, name: str, bad: float) -> None:
    runtime, clean = ControllerRuntime(exported), ControllerRuntime(exported)
    good, spoiled = one_step(1), one_step(2)
    spoiled[name] = np.array(spoiled[name], dtype=np.float32)
    spoiled[name].flat[-1] = bad  # pyright: ignore[reportAttributeAccessIssue]
    for each in (runtime, clean):
        each.step(**good)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=f"^{name} holds 1 values that are NaN or infinite"):
        runtime.step(**spoiled)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(runtime.step(**good), clean.step(**good))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["vision", "proprio", "target_vision", "target_proprio"])
def test_another_shape_is_refused_by_name(exported: Path, name: str) -> None:
    step = one_step()
    step[name] = np.asarray(step[name])[:-1]
    with pytest.raises(ValueError, match=f"^{name} has the shape .* and should be"):
        ControllerRuntime(exported).step(**step)  # pyright: ignore[reportArgumentType]


def test_a_tampered_or_missing_network_is_refused(copy: Path) -> None:
    path = copy / "controller.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DeployError, match="is not the network that policy.yaml describes"):
        ControllerRuntime(copy)
    path.unlink()
    with pytest.raises(DeployError, match="controller.onnx is missing"):
        ControllerRuntime(copy)


def test_a_network_of_other_sizes_is_refused(copy: Path) -> None:
    edit(copy, history=5)
    with pytest.raises(DeployError, match="follow from its spec and history"):
        ControllerRuntime(copy)
    networks = stored(copy)["networks"]
    networks["controller"]["inputs"]["proprio"] = ["N", 6, 16]
    edit(copy, networks=networks)
    with pytest.raises(DeployError, match="takes .* and its manifest says"):
        ControllerRuntime(copy)


NETWORK = {"sha256": "", "inputs": {}, "outputs": {}, "difference": 0.0, "compared": 1}
SIGHT = {"centre": [0.0] * 6, "spread": [0.3] * 6, "error": [0.1] * 6}
MOTORS = {"signs": [1] * 6, "middles": [0.0] * 6, "full": [2.94] * 6}
PLANNER = {
    "history": [-0.8, 0.0],
    "text": {"kind": "hashed-ngram", "dim": 64, "max_words": 16},
    "steps": 5,
    "solver": "heun",
    "guidance_scale": 1.0,
    "guidance_interval": [0.0, 1.0],
    "temperature": 0.3,
    "shift": 1.0,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format_version": 5},
            r"has the format 5 and 2, 3 and 4 are read\. Export the policy again, or use the newer ARGOS",
        ),
        ({"torque_limits": [2.94] * 5}, "torque_limits has 5 entries for 6 joints"),
        ({"torque_limits": [2.94] * 5 + [-1]}, "torque_limits .* above zero"),
        ({"joint_limits": [[1, -1]] * 6}, "joint_limits"),
        ({"rates": {}}, "rates lacks physics_hz"),
        ({"spec": {}}, "spec lacks encoder"),
        ({"joint_limits": 3}, "wrong kind"),
        ({"colour": "red"}, "has unknown fields colour"),
        ({"motors": MOTORS | {"signs": [1] * 5 + [0]}}, "motors.signs .* should each be 1 or -1"),
        ({"motors": MOTORS | {"signs": [1] * 5}}, "motors.signs has 5 entries for 6 joints"),
        ({"motors": MOTORS | {"middles": [1.6] + [0.0] * 5}}, "motors.middles .* within the joints' limits"),
        ({"motors": MOTORS | {"middles": [float("nan")] * 6}}, "motors.middles .* within the joints' limits"),
        ({"motors": MOTORS | {"full": [0.0] * 6}}, "motors.full .* above zero"),
        ({"motors": MOTORS | {"full": [2.94] * 5 + [0.3]}}, r"motors.full .*0\.3\) is less than the torque limits"),
        ({"motors": {"signs": [1] * 6}}, "motors lacks middles, full"),
        ({"motors": MOTORS | {"full": [10**400] * 6}}, "wrong kind"),
        ({"image_size": None}, "image_size None should be a whole number from 0 to 4096"),
        ({"image_size": -1}, "image_size -1 should be a whole number"),
        ({"networks": {"arm": {"sha256": "", "inputs": {}, "outputs": {}, "difference": 0, "compared": 0}}}, "'arm'"),
        ({"networks": {"controller": {}}}, "controller lacks sha256, inputs"),
        ({"networks": {"controller": NETWORK | {"precision": "fp8"}}}, "no precision 'fp8'; known are fp32, fp16"),
        ({"networks": 7}, "wrong kind"),
        ({"sight": SIGHT | {"spread": [0.0] * 6}}, "sight.spread .* above zero"),
        ({"sight": SIGHT | {"error": [0.1] * 5}}, "sight.error has 5 entries for 6 joints"),
        ({"sight": {"centre": [0.0] * 6}}, "sight lacks spread, error"),
        ({"world_sha256": 7}, "world_sha256 7 should be the SHA-256 of world.json"),
        ({"planner": PLANNER | {"history": [0.0, -0.8]}}, "planner.history .* should rise and end in 0"),
        ({"planner": PLANNER | {"solver": "rk4"}}, "planner.solver rk4"),
        ({"planner": PLANNER | {"steps": 0}}, "planner.solver heun of 0 steps"),
        ({"planner": PLANNER | {"temperature": float("nan")}}, "temperature and shift should be finite"),
        ({"planner": PLANNER | {"guidance_interval": [0.0]}}, "wrong kind"),
    ],
)
def test_a_manifest_that_cannot_be_right_names_the_field(copy: Path, changes: dict, message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(DeployError, match=message):
        ControllerRuntime(copy)


def test_a_world_that_is_not_the_exports_is_refused(actor: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    written = export_policy([traced_controller(actor, tensors(4, 0))], MANIFEST, folder, world={"aperture": 20.0})
    assert read_manifest(folder) == written and written.world_sha256 is not None
    world = folder / "world.json"
    world.write_text(world.read_text().replace("20.0", "21.0"))
    with pytest.raises(DeployError, match="world.json is not the world that policy.yaml describes"):
        read_manifest(folder)
    stated = stored(folder)
    del stated["world_sha256"]
    (folder / "policy.yaml").write_text(yaml.safe_dump(stated))
    assert read_manifest(folder).world_sha256 is None, "exports that do not state it are read"
    edit(folder, world_sha256=written.world_sha256)
    world.unlink()
    read_manifest(folder)


def test_an_export_of_the_format_before_still_moves_the_arm() -> None:
    runtime = ControllerRuntime(Path(__file__).with_name("format_2"))
    assert runtime.manifest.format_version == 2
    network = runtime.manifest.networks["controller"]
    assert (network.precision, network.rms, network.torch_sha256) == ("fp32", None, None)

    def ramp(*shape: int) -> np.ndarray:
        return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)

    torque = runtime.step(ramp(16, 4), ramp(8), -ramp(16, 4), -ramp(8), 0.4)
    np.testing.assert_allclose(torque, [-0.04107144, -0.04684539, 0.219522], atol=1e-5)  # what it said when it was new


def test_a_torque_limit_may_be_beyond_what_the_motor_gives_by_a_tenth(copy: Path) -> None:
    limit = float(read_manifest(copy).torque_limits[0])
    for share, fits in ((1.0, True), (0.91, True), (0.89, False), (40.0, True)):
        edit(copy, motors=MOTORS | {"full": [share * limit] * 6})
        if fits:
            assert read_manifest(copy).motor_units.full[0] == share * limit
            continue
        with pytest.raises(DeployError, match="which such motors cannot give"):
            read_manifest(copy)


def test_an_export_of_format_3_has_the_units_of_servos(copy: Path) -> None:
    edit(copy, format_version=3, motors=None)
    manifest = ControllerRuntime(copy).manifest
    assert manifest.motors is None and manifest.motor_units == MotorUnits.of_servos(manifest.joint_limits)
    assert manifest.motor_units.middles[0] == pytest.approx(np.mean(manifest.joint_limits[0]))


def test_a_missing_cut_off_or_earlier_manifest_is_one_sentence(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="There is no exported policy"):
        ControllerRuntime(tmp_path / "nowhere")
    (tmp_path / "controller.json").write_text("{}")
    with pytest.raises(DeployError, match=r"it has the format 1, of controller\.json, which is read no more"):
        ControllerRuntime(tmp_path)
    path = copy / "policy.yaml"
    path.write_text(path.read_text()[:100])
    with pytest.raises(DeployError, match="not valid YAML|has the format None"):
        ControllerRuntime(copy)


def test_a_manifest_runs_nothing(copy: Path, tmp_path: Path) -> None:
    path = copy / "policy.yaml"
    path.write_text(path.read_text() + f"training: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(DeployError, match="not valid YAML"):
        ControllerRuntime(copy)
    assert not (tmp_path / "made").exists()


def test_the_runtime_imports_nothing_that_trains_and_runs_without_warnings(exported: Path) -> None:
    code = """
import sys
import numpy as np
from argos_sim.deploy import encoders, live, planner, robots, runtime, safety
controller = runtime.ControllerRuntime(sys.argv[1])
zeros = np.zeros
print(controller.step(zeros((16, 16)), zeros(16), zeros((16, 16)), zeros(16), 0.8).shape)
heavy = {"torch", "isaaclab", "transformers", "lerobot", "mujoco", "argos_wm"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(6,)\n", "")
