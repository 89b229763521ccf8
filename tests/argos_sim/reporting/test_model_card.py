"""Laws of the model card: it says what is exported, whose it is, and what was measured, and nothing that was not."""

from __future__ import annotations

from pathlib import Path

from argos_sim.deploy.manifest import NetworkFile, PolicyManifest
from argos_sim.reporting.model_card import write_card

MANIFEST = PolicyManifest(
    spec={},
    joint_names=("pan", "lift"),
    joint_limits=((-1.0, 1.0),) * 2,
    torque_limits=(2.0,) * 2,
    velocity_limits=(4.0,) * 2,
    rates={"physics_hz": 200, "control_hz": 50, "camera_hz": 10, "planner_period_s": 0.8},
    history=0,
    action_scale=(2.0,) * 2,
    image_size=64,
    networks={
        "planner_context": NetworkFile(
            "0" * 64, {"words": ("N", "words", 64)}, {"bias": ("N", 1), "keys_values_0": ("N", 4), "keys_values_1": ()},
            3.2e-6, 256,
        ),
        "planner_flow": NetworkFile("1" * 64, {"time": ("N",)}, {"vision": ("N", 1)}, 0.15, 256, "int8", 0.015),
    },
    licences={"small-vit": "trained from nothing by this run"},
)  # fmt: skip


def test_the_card_names_networks_licences_and_what_was_measured(tmp_path: Path) -> None:
    metrics = {"closed_loop.success": 0.977, "closed_loop.success_ci": [0.95, 0.99]}
    text = write_card(tmp_path, MANIFEST, "Argos-Reach-SO100-v0", metrics).read_text()
    assert "# Policy for Argos-Reach-SO100-v0" in text and "2 joints (pan, lift)" in text
    assert "| `planner_flow.onnx` | int8 | time (N) | vision (N, 1) | 1.5e-01, rms 1.5e-02 (256 rows) |" in text
    assert (
        "| `planner_context.onnx` | fp32 | words (N, words, 64) | bias (N, 1), keys_values_0 (N, 4) | 3.2e-06 (256"
        in text
    )
    assert "- as trained: 98 % [95, 99]" in text and "unseen" not in text, "what was not measured is not mentioned"
    assert "- small-vit: trained from nothing by this run" in text
    assert "Done what was asked" not in write_card(tmp_path, MANIFEST, "a task", {}).read_text()
