"""Laws of precisions: less is taken only where it is measured to be near enough, and the planner by what it draws."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from argos_sim import lowering
from argos_sim.compared import Difference, TorchNetwork, difference, target_difference
from argos_sim.deploy.export import export_controller, export_policy
from argos_sim.deploy.manifest import CONTROLLER, DECODER, PlannerSettings, PolicyManifest, read_manifest
from argos_sim.deploy.network import Network
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.precision import ExportConfig, Limit, PrecisionLimits, write_lower
from argos_sim.traced import Traced, traced_controller, traced_decoder, traced_planner
from argos_wm.encoders.text import HashedNGramEncoder
from tests.argos_sim.deploy.test_runtime import MANIFEST, StandIn, one_step, tensors
from tests.argos_sim.deploy.tiny import make_decoder, make_encoder, make_model, moments

ANY = PrecisionLimits(torque=Limit(1.0, 1.0))


@pytest.fixture(scope="module")
def traced() -> Traced:
    torch.manual_seed(0)
    return traced_controller(StandIn().eval(), tensors(64, 1))


@pytest.fixture(scope="module")
def fp32(traced: Traced, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "policy"
    export_policy([traced], MANIFEST, folder)
    return folder


@pytest.fixture
def folder(fp32: Path, tmp_path: Path) -> Path:
    for path in fp32.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def lowered(traced: Traced, folder: Path, config: ExportConfig) -> PolicyManifest:
    manifest = lowering.lower_networks([traced], read_manifest(folder), folder, config)
    (folder / "policy.yaml").write_text(manifest.to_yaml())
    return read_manifest(folder)


@pytest.mark.parametrize(("precision", "share", "apart"), [("fp16", 0.7, 5e-3), ("int8", 0.6, 0.1)])
def test_a_lower_precision_is_smaller_near_and_takes_what_was_taken(
    traced: Traced, folder: Path, precision: str, share: float, apart: float
) -> None:
    before = (folder / "controller.onnx").stat().st_size
    manifest = lowered(traced, folder, ExportConfig(precision=precision, limits=ANY))  # pyright: ignore[reportArgumentType]
    entry, data = manifest.networks[CONTROLLER], (folder / "controller.onnx").read_bytes()
    assert entry.precision == precision and len(data) < share * before
    assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert not (folder / precision).exists(), "what was tried is cleared away"
    found = difference(traced, Network(folder, manifest, CONTROLLER))
    assert 1e-6 < entry.difference < apart and entry.difference == pytest.approx(found.largest)
    assert entry.rms == pytest.approx(found.rms)
    assert entry.error["rms"] == pytest.approx(found.rms / 2.94, rel=1e-3), "in units of the torque limit"
    stated = {p.key: p.value for p in onnx.load_from_string(data).metadata_props}
    assert stated["argos.history"] == "3" and stated["argos.torque_limits"].split() == ["2.94"] * 6
    types = {x.type.tensor_type.elem_type for x in (*onnx.load_from_string(data).graph.input,)}
    assert types == {onnx.TensorProto.FLOAT}
    assert np.isfinite(ControllerRuntime(folder).step(**one_step())).all()  # pyright: ignore[reportArgumentType]


def test_what_people_look_at_stays_fp32(traced: Traced, tmp_path: Path) -> None:
    decoder = traced_decoder(make_decoder(), torch.randn(6, 16, 4))
    config = ExportConfig(precision="fp16", limits=ANY)
    manifest = export_policy([traced, decoder], MANIFEST, tmp_path / "policy", config)
    assert {name: network.precision for name, network in manifest.networks.items()} == {
        CONTROLLER: "fp16",
        DECODER: "fp32",
    }
    Network(tmp_path / "policy", manifest, DECODER)


def test_what_misses_its_limit_stays_fp32_and_says_so(
    traced: Traced, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "controller.onnx").read_bytes()
    for limit in (Limit(1e-6, 1.0), Limit(1e-6, 1e-6)):
        config = ExportConfig(precision="int8", limits=PrecisionLimits(torque=limit))
        entry = lowered(traced, folder, config).networks[CONTROLLER]
        assert entry.precision == "fp32" and not entry.error and (folder / "controller.onnx").read_bytes() == before
        assert "controller is fp32" in (said := capsys.readouterr().out) and ", more than 1e-06" in said


def test_one_large_error_is_enough_to_stay_fp32(traced: Traced, folder: Path, tmp_path: Path) -> None:
    found = export_policy([traced], MANIFEST, tmp_path / "any", ExportConfig("int8", ANY)).networks[CONTROLLER].error
    assert found["largest"] > 1.5 * found["rms"]
    limit = Limit(1.1 * found["rms"], 1.2 * found["rms"])
    entry = lowered(traced, folder, ExportConfig("int8", PrecisionLimits(torque=limit))).networks[CONTROLLER]
    assert entry.precision == "fp32"
    enough = Limit(1.1 * found["rms"], 1.1 * found["largest"])
    entry = lowered(traced, folder, ExportConfig("int8", PrecisionLimits(torque=enough))).networks[CONTROLLER]
    assert entry.precision == "int8"


@pytest.mark.parametrize(
    ("times", "chosen"),
    [({"fp16": 0.5, "int8": 0.4}, "int8"), ({"fp16": 0.3, "int8": 0.4}, "fp16"), ({"fp16": 2.0, "int8": 0.95}, "fp32")],
)
def test_auto_takes_the_fastest_where_it_is_much_faster(
    traced: Traced, folder: Path, monkeypatch: pytest.MonkeyPatch, times: dict, chosen: str
) -> None:
    monkeypatch.setattr(
        lowering, "_times", lambda networks, _: {name: (times | {"fp32": 1.0})[name] for name in networks}
    )
    assert lowered(traced, folder, ExportConfig("auto", ANY)).networks[CONTROLLER].precision == chosen


def test_auto_never_takes_the_fastest_that_misses_its_limit(
    traced: Traced, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        lowering, "_times", lambda networks, _: {name: 1.0 if name == "fp32" else 0.1 for name in networks}
    )
    config = ExportConfig("auto", PrecisionLimits(torque=Limit(1e-9, 1e-9)))
    assert lowered(traced, folder, config).networks[CONTROLLER].precision == "fp32"


def test_a_whole_export_takes_it_and_a_failed_one_leaves_the_earlier(
    traced: Traced, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder / "whole"
    export_policy([traced], MANIFEST, target, ExportConfig("int8", ANY))
    assert sorted(path.name for path in target.iterdir()) == ["controller.onnx", "policy.yaml"]
    assert read_manifest(target).networks[CONTROLLER].precision == "int8"

    def breaks(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(lowering, "write_lower", breaks)
    before = (target / "controller.onnx").read_bytes()
    with pytest.raises(OSError, match="No space"):
        export_policy([traced], MANIFEST, target, ExportConfig("int8", ANY))
    assert (target / "controller.onnx").read_bytes() == before and not target.with_name("whole.tmp").exists()


def test_a_network_of_nan_is_not_taken(traced: Traced, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(source: Path, precision: str, target: Path) -> None:
        write_lower(source, "fp16", target)
        model = onnx.load(target)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT16:
                tensor.raw_data = np.full(tuple(tensor.dims), np.nan, np.float16).tobytes()
        onnx.save(model, target)

    monkeypatch.setattr(lowering, "write_lower", spoilt)
    assert lowered(traced, folder, ExportConfig("fp16", ANY)).networks[CONTROLLER].precision == "fp32"


class Off:
    """The planner's flow in torch, whose guess of the clean vision is off by as much everywhere."""

    def __init__(self, network: TorchNetwork, by: float) -> None:
        self.network, self.by, self.outputs = network, by, network.outputs

    def __call__(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        vision, proprio = self.network(inputs)
        return [vision + self.by, proprio]


def test_a_planner_is_judged_by_the_targets_that_it_draws() -> None:
    encoder = make_encoder()
    model, (history, known) = make_model(encoder), moments(encoder, 6)
    words = HashedNGramEncoder()(["touch the red block"] * 6)
    context, flow = traced_planner(model, history, known, words, torch.linspace(0.1, 0.8, 6))
    halves = TorchNetwork(context), TorchNetwork(flow)
    asked = PlannerSettings((-0.8, 0.0), {}, 1, "euler", 1.0, (0.0, 1.0), 0.3, 1.0)
    assert target_difference(halves, halves, context, asked) == Difference(0.0, 0.0)
    rng, now = np.random.default_rng(0), history.vision[:, -1].numpy()
    noise = [torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32)) for x in (now, history.proprio[:, -1])]
    drawn = model.sample(
        history, known, words, torch.linspace(0.1, 0.8, 6), noise=(noise[0], noise[1]), steps=1, solver="euler",
        temperature=0.3,
    )  # fmt: skip
    moved = np.sqrt(np.mean((drawn.vision.numpy() - now) ** 2))
    # Euler's one step to time 0 gives the guess itself: of one off by d, a target off by d.
    off = target_difference(halves, (halves[0], Off(halves[1], 0.01)), context, asked)
    assert off.rms == pytest.approx(0.01 / moved, rel=1e-3) and off.largest == pytest.approx(off.rms, rel=1e-3)
    assert not target_difference(halves, (halves[0], Off(halves[1], np.nan)), context, asked).rms <= 1e9


@pytest.mark.parametrize("limit", [Limit(0.0, 1.0), Limit(0.2, 0.1), Limit(-1.0, 1.0), Limit(0.1, float("inf"))])
def test_limits_that_cannot_be_are_refused_by_name(limit: Limit) -> None:
    with pytest.raises(ValueError, match="export.limits.torque .* 0 < rms <= largest"):
        PrecisionLimits(torque=limit)


def test_export_controller_stays_fp32(tmp_path: Path) -> None:
    manifest = export_controller(StandIn(), MANIFEST, tmp_path / "policy")
    assert manifest.networks[CONTROLLER].precision == "fp32"
