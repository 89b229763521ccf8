"""Stages ``latents`` and ``planner``: encode the demonstrations, then train the world model and its baseline."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from argos_sim.pipeline.encoder import load_encoder
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings
from argos_sim.pipeline.stage import require_stage, run_stage
from argos_wm.data.episodes import check_dataset, read_episodes
from argos_wm.data.latent_cache import LatentCache, encode_episodes
from argos_wm.encoders.text import load_text_encoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import deciding
from argos_wm.training.planner import train_planner
from argos_wm.training.self_forcing import SelfForcingConfig
from argos_wm.world_model import WorldModel


def instruction_groups(settings: Settings) -> dict[str, str]:
    """Instruction → object that it names."""
    phrasings = environment_cfg(settings, 1).commands.instruction.phrasings
    return {text: name for name, texts in phrasings.items() for text in texts}


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
    check_dataset(dataset)

    def work(folder: Path) -> dict[str, Any]:
        encoder = load_encoder(settings)
        episodes = read_episodes(dataset, joint_names=encoder.joint_names)
        cache = encode_episodes(episodes, encoder, torque_limits(settings))
        cache.save(folder)
        return {"episodes": len(cache), "frames": len(cache.vision)}

    inputs = {"demos": demos["fingerprint"], "encoder": encoder_record["fingerprint"]}
    return run_stage(settings.folder / "latents", "latents", inputs, work, settings.overwrite)


def load_cache(settings: Settings) -> LatentCache:
    """The run's encoded demonstrations."""
    return LatentCache.load(settings.folder / "latents", load_encoder(settings).spec)


def train_planner_stage(settings: Settings) -> dict[str, Any]:
    """Train the world model into ``<run>/planner`` and the mean-predicting baseline into ``<run>/planner_mean``."""
    latents = encode_demos(settings)
    cfg = settings.planner
    record: dict[str, Any] = {}
    mean_model = dataclasses.replace(cfg.model, objective="mean")
    mean_loop = dataclasses.replace(cfg.loop, steps=cfg.mean_steps)
    for name, model, loop in (("planner_mean", mean_model, mean_loop), ("planner", cfg.model, cfg.loop)):
        forcing = cfg.self_forcing if model.objective == "flow" else SelfForcingConfig()
        inputs = {
            "latents": latents["fingerprint"],
            "model": dataclasses.asdict(model),
            "loop": deciding(loop),
            "windows": dataclasses.asdict(cfg.windows),
            "text_encoder": cfg.text_encoder,
            "self_forcing": dataclasses.asdict(forcing),
        }

        def work(folder: Path, name=name, model=model, loop=loop, forcing=forcing) -> dict[str, Any]:
            logger = RunLogger(folder, settings.logger, f"{settings.preset}-{name}", settings.to_dict())
            trained = train_planner(
                load_cache(settings),
                load_text_encoder(cfg.text_encoder),
                model,
                cfg.windows,
                loop,
                folder,
                logger,
                instruction_groups(settings),
                settings.resolved_device(),
                name,
                self_forcing=forcing,
            )
            logger.close()
            trained.save(folder, {"text_encoder": cfg.text_encoder, "settings": settings.to_dict()})
            return {"parameters": sum(p.numel() for p in trained.parameters())}

        record = run_stage(settings.folder / name, name, inputs, work, settings.overwrite)
    return record


def load_planner(settings: Settings, name: str = "planner") -> WorldModel:
    """The run's world model, checked against its encoder."""
    folder = settings.folder / name
    model = WorldModel.load(folder, settings.resolved_device())
    encoder = load_encoder(settings)
    model.spec.require(encoder.spec, f"the planner {folder}", f"the encoder {settings.folder / 'encoder'}")
    return model
