"""The controller in C++ (``assets/cpp``) does what the one in Python does, where it can be compiled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from argos_sim.deploy.export import export_controller
from argos_sim.deploy.manifest import read_manifest
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.paths import ROOT
from tests.argos_sim.deploy.test_runtime import MANIFEST, StandIn

PLACES = (os.environ.get("ONNXRUNTIME_INCLUDE", ""), "/usr/include/onnxruntime", "/usr/local/include/onnxruntime")
HEADERS = [place for place in PLACES if place and (Path(place) / "onnxruntime_cxx_api.h").is_file()]
LIBRARY = list((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))

pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") and HEADERS and LIBRARY),
    reason="g++ and onnxruntime's C++ headers are needed; ONNXRUNTIME_INCLUDE names their folder",
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(LIBRARY[0])
    source = Path(__file__).with_name("replay_controller.cpp")
    options = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-isystem", HEADERS[0], f"-I{ROOT / 'assets/cpp'}"]
    linked = [f"-L{folder}", "-lonnxruntime", f"-Wl,-rpath,{folder}"]
    built = subprocess.run(
        ["g++", *options, str(source), *linked, "-o", str(folder / "replay")], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return folder / "replay"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A controller with random weights everywhere, so that its last action matters, too."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("export") / "policy"
    export_controller(StandIn(), MANIFEST, folder)
    return folder


def replay(program: Path, policy: Path, steps: list[list[np.ndarray]], folder: Path) -> np.ndarray:
    """(T, 1 + J): whether each step was taken, and its torque."""
    manifest = read_manifest(policy)
    given, found = folder / "given.bin", folder / "found.bin"
    given.write_bytes(b"".join(np.asarray(x, np.float32).tobytes() for step in steps for x in step))
    sizes = [str(int(np.prod(manifest.inputs["vision"]))), str(manifest.spec["proprio_dim"])]
    done = subprocess.run(
        [str(program), str(policy / "controller.onnx"), str(given), str(found), *sizes], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{manifest.rates['control_hz']:g} Hz, {manifest.joint_names[0]} first"), done.stdout
    return np.fromfile(found, np.float32).reshape(len(steps), -1)


def test_it_does_what_the_runtime_does(program: Path, exported: Path, tmp_path: Path) -> None:
    runtime, rng = ControllerRuntime(exported), np.random.default_rng(0)
    shapes = runtime.manifest.inputs
    kinds = [shapes["vision"], shapes["target_proprio"], shapes["vision"], shapes["target_proprio"], ()]
    steps = [[rng.standard_normal(shape, dtype=np.float32) for shape in kinds] for _ in range(20)]
    steps[5][1] = steps[5][1].copy()
    steps[5][1][2] = np.nan
    steps[9][4] = np.float32(np.inf)
    found, before = replay(program, exported, steps, tmp_path), np.zeros(6)
    for number, (step, row) in enumerate(zip(steps, found, strict=True)):
        vision, proprio, target_vision, target_proprio, to_go = step
        if number in (5, 9):
            with pytest.raises(ValueError, match="NaN or infinite"):
                runtime.step(vision, proprio, target_vision, target_proprio, float(to_go))
            assert row[0] == 0 and np.array_equal(row[1:], before), "it is refused, and leaves all as it was"
            continue
        wanted = runtime.step(vision, proprio, target_vision, target_proprio, float(to_go))
        assert row[0] == 1
        np.testing.assert_allclose(row[1:], wanted, atol=1e-6)
        before = row[1:]


@pytest.fixture(scope="module")
def ros_controller() -> str:
    """The ros2_control controller of the docs."""
    blocks = (ROOT / "docs/onnx_contract.md").read_text().split("```cpp\n")[1:]
    assert len(blocks) == 1
    return blocks[0].split("```")[0]


def compiled(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "controller.cpp").write_text(source)
    options = ["-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-isystem", HEADERS[0]]
    places = [f"-I{ROOT / 'assets/cpp'}", f"-I{Path(__file__).with_name('ros2_control')}"]
    command = ["g++", *options, *places, str(folder / "controller.cpp")]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_docs_controller_of_ros_compiles(ros_controller: str, tmp_path: Path) -> None:
    whole = "static_assert(!std::is_abstract_v<ArgosController>);\n"
    built = compiled(ros_controller + whole, tmp_path)
    assert built.returncode == 0, built.stderr


@pytest.mark.parametrize(
    ("now", "then", "message"),
    [
        (
            "state_interfaces_[2 * j].get_optional()",
            "std::optional(state_interfaces_[2 * j].get_value())",
            "deprecated",
        ),
        ("static_cast<double>(torque_[j])", "torque_[j]", "an effort is a double"),
        ("controller_->reset();  // what takes", "controller_->restart();  // what takes", "has no member"),
        ("target.vision, target.proprio,\n", "target.vision,\n", "no matching function|cannot convert"),
        (
            "(const rclcpp::Time& time, const rclcpp::Duration&) override",
            "(const rclcpp::Time& time) override",
            "override",
        ),
    ],
)
def test_what_the_headers_do_not_have_does_not_compile(
    ros_controller: str, tmp_path: Path, now: str, then: str, message: str
) -> None:
    assert ros_controller.count(now) == 1
    built = compiled(ros_controller.replace(now, then), tmp_path)
    assert built.returncode != 0 and re.search(message, built.stderr), built.stderr


def test_an_export_that_states_nothing_is_refused(program: Path) -> None:
    earlier = Path(__file__).with_name("format_2") / "controller.onnx"
    done = subprocess.run(
        [str(program), str(earlier), "/dev/null", "/dev/null", "64", "8"], capture_output=True, text=True
    )
    assert done.returncode == 1 and "does not state its joints" in done.stderr


@pytest.mark.parametrize("limit", ["0", "-2.94", "nan"])
def test_limits_that_are_none_are_refused(program: Path, exported: Path, tmp_path: Path, limit: str) -> None:
    model = onnx.load(exported / "controller.onnx")
    stated = next(entry for entry in model.metadata_props if entry.key == "argos.torque_limits")
    stated.value = " ".join([limit, *stated.value.split()[1:]])
    onnx.save(model, tmp_path / "controller.onnx")
    done = subprocess.run(
        [str(program), str(tmp_path / "controller.onnx"), "/dev/null", "/dev/null", "64", "8"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "does not state its joints" in done.stderr
