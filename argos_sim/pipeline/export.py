"""Stage ``export``: the policy as one folder that a robot can run, and the proof that it is the same policy."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from argos_sim.actuators import per_joint
from argos_sim.controller.network import Controller, load_controller
from argos_sim.deploy.body import Body
from argos_sim.deploy.export import export_controller, export_policy
from argos_sim.deploy.manifest import CONTROLLER, FORMAT_VERSION, PlannerSettings, PolicyManifest
from argos_sim.deploy.motor_units import MotorUnits
from argos_sim.deploy.planner import PlannerRuntime
from argos_sim.deploy.text import HASHED
from argos_sim.deploy.timing import time_inference
from argos_sim.experts import Arm
from argos_sim.mujoco_c.world import World
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline.deployment import EYES
from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.evaluate import write_metrics
from argos_sim.pipeline.play import Weights
from argos_sim.pipeline.recorded import from_demonstrations, from_mujoco
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.pipeline.sight import sight_of
from argos_sim.pipeline.stage import RECORD, UPSTREAM, require_stage, run_stage
from argos_sim.reporting.model_card import write_card
from argos_sim.traced import Traced, traced_controller, traced_decoder, traced_encoder, traced_planner
from argos_sim.traced_text import ExportedText, TextError, exported_text
from argos_wm.checkpoint import load_json, load_tensors, weights_hash
from argos_wm.decoder import LatentDecoder
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.planner import Planner
from argos_wm.world_model import WorldModel

PLANS = 50
"""Targets drawn to time the planner."""


def export_stage(settings: Settings) -> dict[str, Any]:
    """Write ``<run>/export``: the networks, ``policy.yaml``, a model card, and the world that a simulated robot needs.

    Of the run's weights, or of the shipped ones where the run has none.
    """
    weights, made_from, own = exported_weights(settings)
    adapted, target, name = settings.export.adapted, settings.folder / "export", "export"
    if adapted is not None:
        target, name = weights.controller / "export", f"adapt.{adapted.replace('/', '.')}.export"

    def work(folder: Path) -> dict[str, Any]:
        torch.manual_seed(settings.seed)
        manifest, networks, text = policy_of(settings, weights, own)
        manifest = with_sight(settings, weights, own, manifest, networks)
        manifest = export_policy(networks, manifest, folder, settings.export, text, world_of(settings))
        metrics = load_json(write_metrics(settings) if own else PRETRAINED / "metrics.json")
        # What was measured was the controller before it adapted.
        write_card(folder, manifest, settings.task, {} if adapted else metrics)
        for name, network in manifest.networks.items():
            apart = f"at most {network.difference:.1e}, rms {network.rms:.1e} ({network.compared})"
            print(f"  {name}, {network.precision}: torch and onnxruntime differ by {apart}")
        p50, p99 = time_inference(folder, settings.evaluation.inference_calls)
        print(f"  one inference of the controller on one core: median {p50:.3f} ms, 99th percentile {p99:.3f} ms")
        figures = {
            "max_difference_nm": manifest.networks[CONTROLLER].difference,
            "observations": manifest.networks[CONTROLLER].compared,
            "inference_p50_ms": p50,
            "inference_p99_ms": p99,
            "bytes": sum(f.stat().st_size for f in folder.iterdir() if f.is_file()),
        } | {f"difference.{name}": network.difference for name, network in manifest.networks.items()}
        if manifest.planner is not None:
            figures["plan_p50_ms"] = time_plans(folder, manifest)
            print(f"  one target of the planner on one core: median {figures['plan_p50_ms']:.1f} ms")
        return figures

    sampling = dataclasses.asdict(settings.controller.sampling)
    inputs = made_from | {"sampling": sampling, "calls": settings.evaluation.inference_calls}
    # Exports of before there was this setting are what they were.
    export = {key: value for key, value in dataclasses.asdict(settings.export).items() if key != "adapted"}
    inputs |= {"format": FORMAT_VERSION, "export": export}
    return run_stage(target, name, inputs, work, settings.overwrite, replaces=True)


def exported_weights(settings: Settings) -> tuple[Weights, dict[str, Any], bool]:
    """What is exported, what it was made from, for a fingerprint, and whether it is the run's own."""
    own = any(
        (settings.folder / name / RECORD).is_file() for name in UPSTREAM
    )  # a run that is not at its end is refused
    if own:
        stages = (("planner", "planner", "train_planner.py"), ("controller", "trial", "train_controller.py"))
        made_from = {folder: require_stage(settings.folder / folder, *rest)["fingerprint"] for folder, *rest in stages}
    weights = Weights.of(settings.folder if own else PRETRAINED)
    if not own:
        made_from = {"weights": weights.hash(), "task": settings.task, "rates": dataclasses.asdict(rates_of(settings))}
    if settings.export.adapted is not None:
        weights, of_shift = adapted_weights(settings, weights)
        made_from |= {"adapted": of_shift}
    return weights, made_from, own


def adapted_weights(settings: Settings, weights: Weights) -> tuple[Weights, str]:
    """``weights`` with the controller that ``export.adapted`` names, and the fingerprint of the shift that made it.

    Raises:
        SettingsError: there is none of that name, or it adapted others than ``weights``.
        CheckpointError: its shift is not finished.
    """
    shift, _, learner = str(settings.export.adapted).partition("/")
    folder = settings.folder / "adapt"
    known = sorted(str(path.parent.relative_to(folder)) for path in folder.glob(f"*/*/{EYES}"))
    if settings.export.adapted not in known:
        raise SettingsError(
            f"export.adapted is {settings.export.adapted!r}, and {folder} has {', '.join(known) or 'none'}; "
            "scripts/adapt.py makes them."
        )
    record = require_stage(folder / shift, f"adapt.{shift}", f"adapt.py {shift}")
    began = require_stage(folder / "before", "adapt.before", "adapt.py before")["made_from"]
    spec = StateEncoder.load(weights.encoder).spec
    if began != {
        "controller": weights_hash(load_controller(weights.controller, spec, "the encoder")),
        "planner": weights_hash(WorldModel.load(weights.planner)),
    }:
        raise SettingsError(f"{folder / shift} adapted other weights than there are now. Run scripts/adapt.py again.")
    return dataclasses.replace(weights, controller=folder / shift / learner), record["fingerprint"]


def eyes_of(controller: Path) -> tuple[float, ...]:
    """The homography that a controller looks through, eight numbers; none where it looks at the bare picture."""
    if not (controller / EYES).is_file():
        return ()
    numbers = tuple(load_tensors(controller / EYES)["numbers"].tolist())
    return numbers if any(numbers) else ()


def rates_of(settings: Settings) -> Any:
    """The task's clocks."""
    return environment_cfg(settings, 1).rates


def policy_of(
    settings: Settings, weights: Weights, own: bool
) -> tuple[PolicyManifest, list[Traced], ExportedText | None]:
    """A policy: its manifest, its networks with recorded data, and its text encoder where that is one of them; ``own``
    says that the run has demonstrations."""
    encoder = StateEncoder.load(weights.encoder)
    planner = Planner.load(weights.planner, settings.controller.sampling)
    controller = load_controller(weights.controller, encoder.spec, f"the encoder {weights.encoder}")
    planner.spec.require(encoder.spec, f"the planner {weights.planner}", f"the encoder {weights.encoder}")
    model = planner.world_model
    sampler = dataclasses.asdict(planner.sampler)
    asked = PlannerSettings(history=model.config.history, text={}, shift=model.shift, **sampler)
    eyes = eyes_of(weights.controller)
    manifest = dataclasses.replace(
        manifest_of(settings, encoder, controller),
        image_size=encoder.vision.image_size,
        planner=asked,
        homography=eyes,
        licences={encoder.spec.encoder: licence_of(encoder)},
        training=load_json(weights.controller / "controller.json").get("extra", {}).get("settings", {}),
    )
    if own:
        met = from_demonstrations(settings, encoder, planner, controller)
        manifest = dataclasses.replace(manifest, image_size=met.images.shape[-1])
    else:
        met = from_mujoco(settings, manifest, encoder, planner, controller)
    networks = [traced_controller(controller, met.observations), *traced_encoder(encoder, met.images, met.joints, eyes)]
    if (weights.encoder / "decoder.safetensors").is_file():
        networks.append(traced_decoder(LatentDecoder.load(weights.encoder), met.history.vision[:, -1]))
    try:
        said, text = text_of(settings, planner)
    except TextError as error:
        print(f"  The planner is left out, since its text encoder cannot be exported: {error}.")
        return dataclasses.replace(manifest, planner=None), networks, None
    plans = traced_planner(model, met.history, met.known, planner.features(met.texts), met.horizon)
    plans += [] if text is None else [text.traced]
    return dataclasses.replace(manifest, planner=dataclasses.replace(asked, text=said)), networks + plans, text


def with_sight(
    settings: Settings, weights: Weights, own: bool, manifest: PolicyManifest, networks: list[Traced]
) -> PolicyManifest:
    """``manifest`` with what the policy's sight knows, which joins ``networks``; as it was where that is nothing."""
    if settings.export.sight_episodes == 0 or (manifest.planner is None and not own):
        return manifest
    traced, sight = sight_of(settings, weights, own, manifest)
    errors = zip(manifest.joint_names, sight.known(), sight.error, strict=True)
    known = [f"{name} to {error:.2f} rad" for name, there, error in errors if there]
    if not known:
        print("  No joint is told well from pictures, so that nothing compares the two on a robot.")
        return manifest
    print(f"  From pictures are told {', '.join(known)}.")
    networks.append(traced)
    return dataclasses.replace(manifest, sight=sight)


def text_of(settings: Settings, planner: Planner) -> tuple[dict[str, Any], ExportedText | None]:
    """What the manifest says of a planner's text encoder, and the encoder where it is a network; else ``TextError``."""
    encoder = planner.text_encoder
    if isinstance(encoder, HashedNGramEncoder):
        return {"kind": HASHED, "dim": encoder.dim, "max_words": encoder.max_words}, None
    cfg: Any = environment_cfg(settings, 1)
    phrasings = cfg.commands.instruction.phrasings().values()
    text = exported_text(encoder, [text for texts in phrasings for text in texts])
    return text.settings, text


def world_of(settings: Settings) -> dict[str, Any] | None:
    """What ``world.json`` says; None, and a word about it, of a robot that MuJoCo's loop does not know."""
    try:
        return World.of(environment_cfg(settings, 1)).to_json()
    except ValueError as error:
        print(f"  {error} So the policy cannot be run on a simulated robot.")
        return None


def manifest_of(settings: Settings, encoder: StateEncoder, controller: Controller) -> PolicyManifest:
    """What a robot must know of the controller."""
    cfg: Any = environment_cfg(settings, 1)
    motors = cfg.scene.robot.actuators["motors"]
    return PolicyManifest(
        spec=encoder.spec.to_json(),
        joint_names=tuple(cfg.joint_names),
        joint_limits=tuple(cfg.joint_limits[name] for name in cfg.joint_names),
        torque_limits=tuple(controller.torque_limit.tolist()),
        velocity_limits=tuple(per_joint(motors.actuator_velocity_limit, cfg.joint_names)),
        rates=dataclasses.asdict(cfg.rates),
        history=controller.cfg.history,
        action_scale=tuple(controller.torque_limit.tolist()),
        body=body_of(cfg.robot.arm("cpu"), fingertips=cfg.robot.fingertips),
        motors=motors_of(cfg.robot, per_joint(motors.stall_torque, cfg.joint_names)),
    )


def motors_of(robot: Any, full: Sequence[float]) -> MotorUnits:
    """What a robot's file says of its motors (``tasks.robot.Robot``), and their torque at full duty."""
    middles = {name: 0.5 * (low + high) for name, (low, high) in robot.joint_limits.items()} | robot.motor_middles
    signs = dict.fromkeys(robot.joint_limits, 1) | robot.motor_signs
    return MotorUnits(tuple(signs.values()), tuple(map(float, middles.values())), tuple(full))


def body_of(arm: Arm, postures: int = 2000, fingertips: Mapping[str, tuple[float, float, float]] | None = None) -> Body:
    """What a guard must know of an arm; inertia and gravity are those of random postures.

    Args:
        fingertips: see ``tasks.robot.Robot``.
    """
    links, generator = arm.chain.links, torch.Generator().manual_seed(0)
    low, high = arm.limits.T
    q = low + (high - low) * torch.rand(postures, len(links), generator=generator)
    gravity, inertia = arm.chain.gravity_and_inertia(q)
    moved = inertia.diagonal(dim1=1, dim2=2) + arm.armature
    names = [link.name for link in links]
    return Body(
        positions=tuple(map(_numbers, (link.position for link in links))),
        quaternions=tuple(map(_numbers, (link.quaternion for link in links))),
        axes=tuple(map(_numbers, (link.axis for link in links))),
        parents=tuple(link.parent for link in links),
        slides=tuple(link.slides for link in links),
        tip=arm.chain.tip_offset,
        tip_link=arm.chain.tip_link,
        inertia=tuple(zip(moved.amin(0).tolist(), moved.amax(0).tolist(), strict=True)),
        gravity=tuple(gravity.abs().amax(0).tolist()),
        fingertips=tuple((names.index(link), _numbers(end)) for link, end in (fingertips or {}).items()),
    )


def _numbers(values: Iterable[float]) -> Any:
    """Plain numbers, as YAML takes them."""
    return tuple(float(x) for x in values)


def export_trained(settings: Settings, stage: str, folder: Path) -> None:
    """Write the controller of a finished stage, alone, as a robot takes it into ``folder``."""
    encoder = load_encoder(settings)
    controller = load_controller(settings.folder / stage, encoder.spec, "the encoder")
    export_controller(controller, manifest_of(settings, encoder, controller), folder)


def export_whole(settings: Settings, stage: str, folder: Path) -> None:
    """Write the run's encoder and planner, and the controller of a finished stage, as a robot takes them into
    ``folder``; compared with torch on an episode that they play on MuJoCo.

    Raises:
        SettingsError: the planner cannot leave, since its text encoder cannot.
    """
    parts = (settings.folder / name for name in ("encoder", "planner", stage))
    manifest, networks, text = policy_of(settings, Weights(*parts, owner=str(settings.folder)), own=False)
    if manifest.planner is None:
        raise SettingsError(
            "MuJoCo's loop runs what was exported, and this planner cannot be. Judge on Isaac Lab's engines alone "
            "(transfer_own, transfer_other)."
        )
    export_policy(networks, manifest, folder, text=text)


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
