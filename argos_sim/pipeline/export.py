"""Stage ``export``: the controller as one folder that a robot can run, and the proof that it is the same controller."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from argos_sim.actuators import per_joint
from argos_sim.configs import ImitationConfig
from argos_sim.controller.imitation import ImitationData
from argos_sim.controller.network import INPUTS, Controller, load_controller
from argos_sim.deploy.export import export_controller, time_inference, verify_export
from argos_sim.deploy.manifest import ControllerManifest
from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.planner import load_cache
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import require_stage, run_stage

OBSERVATIONS = 1000
"""Recorded observations on which the export must agree with torch."""


def export_stage(settings: Settings) -> dict[str, Any]:
    """Write ``<run>/export``: controller.onnx and controller.json."""
    trial = require_stage(settings.folder / "controller", "trial", "train_controller.py")

    def work(folder: Path) -> dict[str, Any]:
        encoder, cfg = load_encoder(settings), environment_cfg(settings, 1)
        controller = export_trained(settings, "controller", folder)
        data = ImitationData(
            load_cache(settings), controller, lambda raw: encoder.encode_proprio(raw).cpu(),
            cfg.rates.frames_per_plan, ImitationConfig(),
        )  # fmt: skip
        torch.manual_seed(settings.seed)
        difference = verify_export(controller, folder, recorded_observations(data))
        p50, p99 = time_inference(folder, settings.evaluation.inference_calls)
        print(f"  torch and onnxruntime differ by at most {difference:.1e} N·m over {OBSERVATIONS} observations")
        print(f"  one inference on one core: median {p50:.3f} ms, 99th percentile {p99:.3f} ms")
        return {
            "max_difference_nm": difference,
            "observations": OBSERVATIONS,
            "inference_p50_ms": p50,
            "inference_p99_ms": p99,
            "bytes": sum(f.stat().st_size for f in folder.iterdir() if f.is_file()),
        }

    inputs = {"controller": trial["fingerprint"], "calls": settings.evaluation.inference_calls}
    return run_stage(settings.folder / "export", "export", inputs, work, settings.overwrite)


def export_trained(settings: Settings, stage: str, folder: Path) -> Controller:
    """Write the controller of a finished stage as a robot takes it into ``folder``, and return it."""
    spec, cfg = load_encoder(settings).spec, environment_cfg(settings, 1)
    controller = load_controller(settings.folder / stage, spec, "the encoder")
    motors: Any = cfg.scene.robot.actuators["motors"]
    manifest = ControllerManifest(
        spec=spec.to_json(),
        joint_names=tuple(cfg.joint_names),
        joint_limits=tuple(cfg.joint_limits[name] for name in cfg.joint_names),
        torque_limits=tuple(controller.torque_limit.tolist()),
        velocity_limits=tuple(per_joint(motors.actuator_velocity_limit, cfg.joint_names)),
        rates=dataclasses.asdict(cfg.rates),
        history=controller.cfg.history,
        action_scale=tuple(controller.torque_limit.tolist()),
    )
    export_controller(controller, manifest, folder)
    return controller


def recorded_observations(data: ImitationData) -> dict[str, Tensor]:
    """Recorded observations by the names of the controller's inputs; previous actions are random."""
    inputs, _ = data.batch(OBSERVATIONS)
    named: dict[str, Tensor] = dict(zip(INPUTS, inputs, strict=True))
    named["last_action"] = 2 * torch.rand_like(named["last_action"]) - 1
    return named
