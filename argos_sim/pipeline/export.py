"""Stage ``export``: the policy as one folder that a robot can run, and the proof that it is the same policy."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from argos_sim.actuators import per_joint
from argos_sim.configs import ImitationConfig
from argos_sim.controller.imitation import ImitationData
from argos_sim.controller.network import INPUTS, Controller, load_controller
from argos_sim.deploy.export import export_controller, export_policy, time_inference
from argos_sim.deploy.manifest import CONTROLLER, PlannerSettings, PolicyManifest
from argos_sim.deploy.planner import PlannerRuntime
from argos_sim.deploy.text import HASHED
from argos_sim.deploy.traced import Traced, traced_controller, traced_encoder, traced_planner
from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.planner import load_cache
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import require_stage, run_stage
from argos_sim.reporting.model_card import write_card
from argos_wm.data.latent_cache import LatentCache
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.planner import Planner
from argos_wm.training.encoder import EncoderViews

OBSERVATIONS, SEEN = 1000, 256
"""Recorded observations of the controller, and recorded pictures and moments of the rest, on which the export must
agree with torch."""
PLANS = 50
"""Targets drawn to time the planner."""


def export_stage(settings: Settings) -> dict[str, Any]:
    """Write ``<run>/export``: the networks, ``policy.yaml`` and a model card."""
    trial = require_stage(settings.folder / "controller", "trial", "train_controller.py")
    planner = require_stage(settings.folder / "planner", "planner", "train_planner.py")

    def work(folder: Path) -> dict[str, Any]:
        torch.manual_seed(settings.seed)
        manifest, networks = policy_of(settings)
        manifest = export_policy(networks, manifest, folder)
        write_card(folder, manifest, settings)
        for name, network in manifest.networks.items():
            print(f"  {name}: torch and onnxruntime differ by at most {network.difference:.1e} ({network.compared})")
        p50, p99 = time_inference(folder, settings.evaluation.inference_calls)
        print(f"  one inference of the controller on one core: median {p50:.3f} ms, 99th percentile {p99:.3f} ms")
        figures = {
            "max_difference_nm": manifest.networks[CONTROLLER].difference,
            "observations": OBSERVATIONS,
            "inference_p50_ms": p50,
            "inference_p99_ms": p99,
            "bytes": sum(f.stat().st_size for f in folder.iterdir() if f.is_file()),
        } | {f"difference.{name}": network.difference for name, network in manifest.networks.items()}
        if manifest.planner is not None:
            figures["plan_p50_ms"] = time_plans(folder, manifest)
            print(f"  one target of the planner on one core: median {figures['plan_p50_ms']:.1f} ms")
        return figures

    inputs = {
        "controller": trial["fingerprint"],
        "planner": planner["fingerprint"],
        "sampling": dataclasses.asdict(settings.controller.sampling),
        "calls": settings.evaluation.inference_calls,
    }
    return run_stage(settings.folder / "export", "export", inputs, work, settings.overwrite)


def policy_of(settings: Settings) -> tuple[PolicyManifest, list[Traced]]:
    """The run's policy: its manifest, and its networks with recorded data."""
    encoder, planner = load_encoder(settings).to("cpu"), load_planner(settings)
    controller = load_controller(settings.folder / "controller", encoder.spec, "the encoder")
    cache, cfg = load_cache(settings), environment_cfg(settings, 1)
    data = ImitationData(
        cache, controller, lambda raw: encoder.encode_proprio(raw), cfg.rates.frames_per_plan, ImitationConfig()
    )
    images = EncoderViews.load(settings.folder / "views" / "views.safetensors").image_a[:SEEN]
    frames = torch.randint(len(cache.time), (len(images),))
    joints = encoder.decode_proprio(cache.proprio[frames].float())
    manifest = dataclasses.replace(
        manifest_of(settings, encoder, controller),
        image_size=images.shape[-1],
        licences={encoder.spec.encoder: licence_of(encoder)},
        training=settings.to_dict(),
    )
    networks = [traced_controller(controller, recorded_observations(data)), *traced_encoder(encoder, images, joints)]
    text = planner.text_encoder
    if not isinstance(text, HashedNGramEncoder):
        print(f"  The planner's text encoder {text.name} cannot be exported, so the planner is left out.")
        return manifest, networks
    asked = PlannerSettings(
        history=planner.world_model.config.history,
        text={"kind": HASHED, "dim": text.dim, "max_words": text.max_words},
        shift=planner.world_model.shift,
        **dataclasses.asdict(planner.sampler),
    )
    return dataclasses.replace(manifest, planner=asked), networks + recorded_plans(planner, cache, frames)


def load_planner(settings: Settings) -> Planner:
    """The run's planner on the CPU, asked as its controller asks it."""
    return Planner.load(settings.folder / "planner", settings.controller.sampling)


def manifest_of(settings: Settings, encoder: StateEncoder, controller: Controller) -> PolicyManifest:
    """What a robot must know of the controller."""
    cfg = environment_cfg(settings, 1)
    motors: Any = cfg.scene.robot.actuators["motors"]
    return PolicyManifest(
        spec=encoder.spec.to_json(),
        joint_names=tuple(cfg.joint_names),
        joint_limits=tuple(cfg.joint_limits[name] for name in cfg.joint_names),
        torque_limits=tuple(controller.torque_limit.tolist()),
        velocity_limits=tuple(per_joint(motors.actuator_velocity_limit, cfg.joint_names)),
        rates=dataclasses.asdict(cfg.rates),
        history=controller.cfg.history,
        action_scale=tuple(controller.torque_limit.tolist()),
    )


def export_trained(settings: Settings, stage: str, folder: Path) -> Controller:
    """Write the controller of a finished stage, alone, as a robot takes it into ``folder``, and return it."""
    encoder = load_encoder(settings)
    controller = load_controller(settings.folder / stage, encoder.spec, "the encoder")
    export_controller(controller, manifest_of(settings, encoder, controller), folder)
    return controller


def recorded_observations(data: ImitationData) -> dict[str, Tensor]:
    """Recorded observations by the names of the controller's inputs; previous actions are random."""
    inputs, _ = data.batch(OBSERVATIONS)
    named: dict[str, Tensor] = dict(zip(INPUTS, inputs, strict=True))
    named["last_action"] = 2 * torch.rand_like(named["last_action"]) - 1
    return named


def recorded_plans(planner: Planner, cache: LatentCache, frames: Tensor) -> list[Traced]:
    """The planner's networks with moments of demonstrations, up to a planner period ahead."""
    frames = torch.minimum(frames, cache.end(frames) - 1)
    model = planner.world_model
    windows = cache.windows(frames, torch.ones_like(frames), model.config.history, model.config.action_steps)
    text = planner.features([cache.instructions[i] for i in windows.episode.tolist()])
    horizon = torch.empty(len(frames)).uniform_(0.1, 0.8)
    return traced_planner(model, windows.history, windows.history_mask, text, horizon)


def time_plans(folder: Path, manifest: PolicyManifest) -> float:
    """Median time of a target on one thread [ms]."""
    planner, rng, durations = PlannerRuntime(folder, manifest), np.random.default_rng(0), []
    states, shapes = len(planner.settings.history), manifest.inputs
    vision = rng.standard_normal((states, *shapes["vision"]), dtype=np.float32)
    proprio = rng.standard_normal((states, *shapes["target_proprio"]), dtype=np.float32)
    for _ in range(PLANS):
        begin = time.perf_counter()
        planner.next_state(vision, proprio, np.ones(states, dtype=bool), "touch the red block", 0.8, rng)
        durations.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(durations[PLANS // 10 :]))


def licence_of(encoder: StateEncoder) -> str:
    """Under which licence the vision encoder's weights are."""
    name = encoder.vision.name.lower()
    if encoder.vision.settings()["kind"] == "small-vit":
        return "trained from nothing by this run"
    if "dinov3" in name:
        return "DINOv3 License; the exported file holds Meta's weights and may be passed on under its terms only"
    return "Apache-2.0" if "dinov2" in name else f"that of {encoder.vision.name}"
