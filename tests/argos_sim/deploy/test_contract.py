"""The contract as it is written (``docs/onnx_contract.md``): its own code, run, does what the runtime does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from argos_sim.deploy.encoders import EncoderRuntime
from argos_sim.deploy.manifest import read_manifest
from argos_sim.deploy.planner import PlannerRuntime
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.deploy.text import load_text
from argos_sim.paths import ROOT
from tests.argos_sim.deploy.tiny import SIZE, STATES

CONTRACT = (ROOT / "docs" / "onnx_contract.md").read_text()
TYPES = {"tensor(float)": "float", "tensor(uint8)": "uint8", "tensor(bool)": "bool", "tensor(int64)": "int64"}


@pytest.mark.parametrize("text", ["touch the red block", ""])
def test_the_code_of_the_contract_moves_the_arm_as_the_runtime_does(policy: Path, text: str) -> None:
    manifest, rng = read_manifest(policy), np.random.default_rng(1)
    pictures = rng.integers(0, 256, (STATES, 3, SIZE, SIZE), dtype=np.uint8)
    readings, coming = (rng.standard_normal((n, 6), dtype=np.float32) for n in (STATES, 4))
    words, words_known = load_text(policy, manifest)(text)
    known = np.array([False, True])
    given: dict[str, Any] = {
        "folder": policy, "pictures": pictures, "readings": readings, "coming": coming, "known": known,
        "words": words, "words_known": words_known, "rng": np.random.default_rng(7),
    }  # fmt: skip
    (code,) = re.findall(r"```python\n(.*?)```", CONTRACT, re.DOTALL)
    exec(compile(code, "docs/onnx_contract.md", "exec"), given)

    senses, controller = EncoderRuntime(policy, manifest), ControllerRuntime(policy)
    seen = np.stack([senses.see(picture.transpose(1, 2, 0)) for picture in pictures])
    felt = np.stack([senses.feel(joints) for joints in readings])
    asked = (seen, felt, known, text, 0.8, np.random.default_rng(7))
    vision, proprio = PlannerRuntime(policy, manifest).next_state(*asked)
    np.testing.assert_allclose(given["x"][0][0], vision, atol=1e-5)
    for step, joints in enumerate(coming):
        torque = controller.step(seen[-1], senses.feel(joints), vision, proprio, 0.8 - step / 50)
        np.testing.assert_allclose(given["torques"][step], torque, atol=1e-5)


def test_every_input_and_output_is_in_the_contract_with_its_type(policy: Path) -> None:
    table, name, said = CONTRACT.split("## Order")[0], "", {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 4 and cells[0] != "network":
            name = (re.match(r"`(\w+)`", cells[0]) or [name, name])[1]
            kinds = re.findall(r"float|uint8|bool|int64", cells[2])
            names = re.findall(r"`(\w+)`", cells[1])
            said |= {(name, found): kinds[min(i, len(kinds) - 1)] for i, found in enumerate(names)}
    for network in read_manifest(policy).networks:
        session = onnxruntime.InferenceSession(policy / f"{network}.onnx")
        nodes = [*session.get_inputs(), *session.get_outputs()]
        if network == "planner_context":  # whose outputs are handed on by name, whatever they are
            nodes = session.get_inputs()
        for node in nodes:
            passed_on = network == "planner_flow" and (network, node.name) not in said
            if not passed_on:
                assert said[network, node.name] == TYPES[node.type], (network, node.name)
            else:
                outputs = [x.name for x in onnxruntime.InferenceSession(policy / "planner_context.onnx").get_outputs()]
                assert node.name in outputs
