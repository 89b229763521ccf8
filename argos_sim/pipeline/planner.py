"""Stages ``latents`` and ``planner``: encode what is learned from, then train the world model and its baseline."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import require_stage, run_stage
from argos_wm.checkpoint import weights_hash
from argos_wm.data.corpus import encode_source, windows_of
from argos_wm.data.episodes import check_dataset, read_episodes
from argos_wm.data.instructions import Instructions
from argos_wm.data.latent_cache import LatentCache, encode_episodes
from argos_wm.data.sources import RobotWindows, Source
from argos_wm.encoders.text import load_text_encoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig, deciding
from argos_wm.training.mixture import train_on_mixture
from argos_wm.training.parallel import Parallel
from argos_wm.training.planner import VALIDATION_SHARE, Probe, train_planner
from argos_wm.training.self_forcing import SelfForcingConfig
from argos_wm.world_model import WorldModel, WorldModelConfig, load_extra

DEMOS = "demos"
"""Name of the run's own demonstrations among the sources."""


def instruction_groups(settings: Settings) -> dict[str, str]:
    """Instruction → what it asks for."""
    phrasings = environment_cfg(settings, 1).commands.instruction.phrasings()
    return {text: goal for goal, texts in phrasings.items() for text in texts}


def torque_limits(settings: Settings) -> torch.Tensor:
    """Torque of an action of one (J,) [N·m]."""
    cfg = environment_cfg(settings, 1)
    scale: Any = cfg.actions.torque.scale
    return torch.tensor([float(scale[name]) for name in cfg.joint_names])


def encode_demos(settings: Settings) -> dict[str, Any]:
    """Encode the demonstrations into ``<run>/latents``."""
    demos = require_stage(settings.folder / "demos", "demos", "collect_demos.py")
    encoder_record = require_stage(settings.folder / "encoder", "encoder", "train_encoder.py")
    dataset = settings.folder / "demos" / "dataset"
    encoder = load_encoder(settings).accelerate()
    check_dataset(dataset, encoder.cameras)

    def work(folder: Path) -> dict[str, Any]:
        episodes = read_episodes(dataset, encoder.cameras, encoder.joint_names)
        cache = encode_episodes(episodes, encoder, torque_limits(settings), folder)
        return {"episodes": len(cache), "frames": len(cache.vision)}

    inputs = {"demos": demos["fingerprint"], "encoder": encoder_record["fingerprint"], "layout": "shards"}
    return run_stage(settings.folder / "latents", "latents", inputs, work, settings.overwrite)


def load_cache(settings: Settings) -> LatentCache:
    """The run's encoded demonstrations."""
    return LatentCache.load(settings.folder / "latents", load_encoder(settings).spec)


def encode_sources(settings: Settings) -> dict[str, dict[str, Any]]:
    """Encode what the planner learns from besides the demonstrations, each into ``<run>/sources/<name>``."""
    encoder_record = require_stage(settings.folder / "encoder", "encoder", "train_encoder.py")
    cfg, records = settings.planner, {}
    for name, source in cfg.sources.items():
        if name == DEMOS:
            raise ValueError(f"The name {DEMOS!r} is taken by the demonstrations; give the source another.")

        def work(folder: Path, source=source) -> dict[str, Any]:
            encoder = load_encoder(settings).first_camera().accelerate()
            figures = encode_source(
                source, encoder.encode_vision, settings.encoder.image_size, encoder.spec, folder, cfg.encode_batch
            )
            print(f"  {figures}")
            return figures

        inputs = {"encoder": encoder_record["fingerprint"], "source": source.decides()}
        records[name] = run_stage(
            settings.folder / "sources" / name, f"sources/{name}", inputs, work, settings.overwrite
        )
    return records


def train_planner_stage(settings: Settings) -> dict[str, Any]:
    """Train the world model into ``<run>/planner`` and the mean-predicting baseline into ``<run>/planner_mean``.

    All processes that ``torchrun`` or ``accelerate launch`` started train together; the first of them encodes.
    """
    _check_start(settings)
    parallel = Parallel.launched(settings.resolved_device().split(":")[0])
    latents = parallel.agreed(encode_demos(settings) if parallel.main else None)
    encoded = parallel.agreed(encode_sources(settings) if parallel.main else None)
    cfg = settings.planner
    record: dict[str, Any] = {}
    mean_model = dataclasses.replace(cfg.model, objective="mean")
    mean_loop = dataclasses.replace(cfg.loop, steps=cfg.mean_steps)
    for name, model, loop in (("planner_mean", mean_model, mean_loop), ("planner", cfg.model, cfg.loop)):
        forcing = cfg.self_forcing if model.objective == "flow" else SelfForcingConfig()
        first = Path(cfg.start_from) if cfg.start_from and model.objective == "flow" else None
        inputs = {
            "latents": latents["fingerprint"],
            "model": dataclasses.asdict(model),
            "loop": deciding(loop),
            "windows": dataclasses.asdict(cfg.windows),
            "text_encoder": cfg.text_encoder,
            "self_forcing": dataclasses.asdict(forcing),
        }
        if first is not None:
            inputs["start_from"] = weights_hash(WorldModel.load(first))
        if encoded:
            inputs["sources"] = {k: (v["fingerprint"], cfg.sources[k].weight) for k, v in encoded.items()}
            inputs["demos_weight"] = cfg.demos_weight

        def work(folder: Path, name=name, model=model, loop=loop, forcing=forcing, first=first) -> dict[str, Any]:
            logger = RunLogger(folder, settings.logger, f"{settings.preset}-{name}", settings.to_dict(), parallel)
            trained = _train(settings, model, loop, forcing, first, folder, logger, name, parallel)
            logger.close()
            if parallel.main:
                trained.save(folder, {"text_encoder": cfg.text_encoder, "settings": settings.to_dict()})
            return {"parameters": sum(p.numel() for p in trained.parameters())}

        record = run_stage(settings.folder / name, name, inputs, work, settings.overwrite, parallel)
    return record


def _check_start(settings: Settings) -> None:
    """What is to be trained further is there, was told things by the same encoder, and lies elsewhere: a stage whose
    settings changed is emptied first."""
    wanted = settings.planner.start_from
    if wanted is None:
        return
    own, first = (settings.folder / "planner").resolve(), Path(wanted).resolve()
    if own in (first, *first.parents):
        raise ValueError(f"{wanted} is where this run's planner is written; train it further in another run_dir.")
    spoken = load_extra(first).get("text_encoder")
    if spoken != settings.planner.text_encoder:
        raise ValueError(
            f"The planner {wanted} was told things by {spoken}, and this run by {settings.planner.text_encoder}; set "
            f"planner.text_encoder={spoken}."
        )


def _train(
    settings: Settings,
    model: WorldModelConfig,
    loop: LoopConfig,
    forcing: SelfForcingConfig,
    first: Path | None,
    folder: Path,
    logger: RunLogger,
    name: str,
    parallel: Parallel,
) -> WorldModel:
    """On the demonstrations, or on a mixture of them with the sources."""
    cfg, cache, text_encoder = settings.planner, load_cache(settings), load_text_encoder(settings.planner.text_encoder)
    groups, device = instruction_groups(settings), parallel.device or settings.resolved_device()
    if not cfg.sources:
        return train_planner(
            cache,
            text_encoder,
            model,
            cfg.windows,
            loop,
            folder,
            logger,
            groups,
            device,
            name,
            parallel,
            forcing,
            first,
        )
    if forcing.share > 0:
        raise ValueError("Self-forcing rolls out demonstrations and mixes with no sources; set one of them aside.")
    torch.manual_seed(loop.seed)
    network = WorldModel(model, cache.spec, text_encoder.dim, cache.actions.shape[1]).to(device)
    if first is not None:
        network.start_from(first)
    training, validation = cache.split(VALIDATION_SHARE)
    spec, cameras = load_encoder(settings).first_camera().spec, len(cache.spec.cameras)
    sources: dict[str, Source] = {DEMOS: RobotWindows(cache, training, cfg.windows, model.history, model.action_steps)}
    for key, source in cfg.sources.items():
        encoded = settings.folder / "sources" / key
        sources[key] = windows_of(source, encoded, spec, cfg.windows, model.history, model.action_steps, cameras)
    weights = {DEMOS: cfg.demos_weight} | {key: source.weight for key, source in cfg.sources.items()}
    probe = Probe(cache, validation, cfg.windows, model, Instructions(cache.instructions, text_encoder, groups))
    return train_on_mixture(network, sources, weights, text_encoder, loop, folder, logger, name, parallel, look=probe)


def load_planner(settings: Settings, name: str = "planner") -> WorldModel:
    """The run's world model, checked against its encoder."""
    folder = settings.folder / name
    model = WorldModel.load(folder, settings.resolved_device())
    encoder = load_encoder(settings)
    model.spec.require(encoder.spec, f"the planner {folder}", f"the encoder {settings.folder / 'encoder'}")
    return model
