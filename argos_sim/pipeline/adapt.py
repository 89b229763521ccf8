"""Stages ``adapt``: the controller, deployed on shifted dynamics, adapts online, with and without protection.

``before`` records what protects it in the old conditions and judges it there; then each shift is a stage of its own.
The camera's alignment and the controller's learning run under every shift, whichever of them it asks for.
Learners of all methods and seeds practise side by side in one environment, and go on after the rounds that are on disk.
"""

from __future__ import annotations

import copy
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from argos_sim.controller.adaptation import (
    FleetPolicy,
    Replay,
    States,
    learn,
    share_of,
    views_of,
)
from argos_sim.controller.alignment import PICTURES, Posture, aligned, fit_posture
from argos_sim.controller.network import Controller, load_controller, save_controller
from argos_sim.controller.translation import InverseModel, fit_inverse, moments, translation_of
from argos_sim.evaluation import PerfectTracking
from argos_sim.pipeline.deployment import (
    EYES,
    METHODS,
    SHIFT_SEED,
    Deployment,
    Learner,
    deployment,
    fleet_size,
    history_only,
)
from argos_sim.pipeline.environment import environment_cfg, physics_identity
from argos_sim.pipeline.play import Weights
from argos_sim.pipeline.settings import Settings, SettingsError
from argos_sim.pipeline.stage import fingerprint, require_stage, run_stage
from argos_sim.randomization.shifts import SHIFTS, Shift
from argos_sim.recovery import rate, recovery
from argos_wm.checkpoint import load_into, load_tensors, save_tensors, weights_hash
from argos_wm.encoders.state import StateEncoder
from argos_wm.world_model import WorldModel

NONE = SHIFTS["none"]
OLD_SEED, ROUND_SEEDS = 20_000, 10
"""Apart from those of training, evaluation and shifts; a round's random numbers take ``ROUND_SEEDS``."""


def _inputs_before(settings: Settings) -> dict[str, Any]:
    """What decides the figures of the old conditions, whatever is learned later."""
    weights, cfg = Weights.find(settings), settings.adaptation
    encoder = StateEncoder.load(weights.encoder)
    remembering = history_only(settings, encoder)
    return {
        "history_only": None if remembering is None else weights_hash(remembering),
        "controller": weights_hash(load_controller(weights.controller, encoder.spec, "the encoder")),
        "planner": weights_hash(WorldModel.load(weights.planner)),
        "practice": [
            cfg.learning.noise,
            cfg.learning.noise_time_s,
            cfg.learning.old_rounds,
            cfg.learning.inverse_steps,
            cfg.learning.posture_steps,
        ],
        "judged": [fleet_size(cfg), cfg.episodes],
        "sampling": dataclasses.asdict(settings.controller.sampling),
        "ranges": settings.drawn_from(),
        "physics": physics_identity(settings),
        "renderer": settings.renderer,
        "task": settings.task,
        "seed": settings.seed,
    }


def adapt_before(settings: Settings) -> dict[str, Any]:
    """Into ``<run>/adapt/before``: experience of the old conditions, its inverse model, and how well all went there."""
    cfg = settings.adaptation.learning

    def work(folder: Path) -> dict[str, Any]:
        for other in folder.parent.iterdir():  # shifts were adapted to from another beginning
            if other.is_dir() and other != folder:
                shutil.rmtree(other)
        with deployment(settings) as deployed:
            seeds = (OLD_SEED + ROUND_SEEDS * k for k in range(cfg.old_rounds))
            rounds = [deployed.practise([deployed.controller], NONE, seed, "old conditions") for seed in seeds]
            episodes = settings.adaptation.episodes
            success = {"old": deployed.judge(FleetPolicy([deployed.controller]), NONE, episodes, "before")}
            if deployed.remembering is not None:
                policy = FleetPolicy([deployed.remembering])
                success["history_only"] = deployed.judge(policy, NONE, episodes, "history only")
            sizes = deployed.controller.cfg
            experience = {name: torch.cat([r[name] for r in rounds], 1) for name in rounds[0]}
            views = views_of([experience], sizes, deployed.decode)
            posture = fit_posture(views, deployed.encode, cfg.posture_steps, settings.seed)
        del experience[PICTURES]
        inverse = fit_inverse(experience, sizes, cfg.inverse_steps, settings.seed)
        save_tensors(folder / "experience.safetensors", experience)
        save_tensors(folder / "inverse.safetensors", inverse.state_dict())
        save_tensors(folder / "posture.safetensors", posture.state_dict())
        save_tensors(folder / "success.safetensors", success)
        around, _, action = moments(experience, sizes)
        figures = {
            "inverse_rms": float((inverse(around) - action).square().mean().sqrt()),
            "posture_rms_rad": posture.error.tolist(),
        }
        return rate(success["old"]) | figures

    return run_stage(
        settings.folder / "adapt" / "before", "adapt.before", _inputs_before(settings), work, settings.overwrite
    )


def make_learners(settings: Settings, controller: Controller) -> list[Learner]:
    """Method by method, seed by seed, all beginning with ``controller``."""
    protected = settings.adaptation.learning
    kinds = zip(METHODS, (protected, protected.unprotected()), strict=True)
    return [
        Learner(f"{method}.{number}", copy.deepcopy(controller), cfg, settings.seed + number)
        for method, cfg in kinds
        for number in range(settings.adaptation.seeds)
    ]


def adapt_to(settings: Settings, name: str) -> dict[str, Any]:
    """Adapt to the shift ``name`` into ``<run>/adapt/<name>``, going on after the rounds that it holds."""
    before = settings.folder / "adapt" / "before"
    record = require_stage(before, "adapt.before", "adapt.py before")
    if record["fingerprint"] != fingerprint(_inputs_before(settings)):
        raise SettingsError(
            f"{before} was made with other weights or settings. Give those, or a run_dir= of its own, or run "
            "scripts/adapt.py before with overwrite=true, which deletes what was learned of all shifts, too."
        )
    shift = SHIFTS[name]

    def work(folder: Path) -> dict[str, Any]:
        with deployment(settings) as deployed:
            fleet = Fleet(deployed, before)
            known = load_tensors(before / "success.safetensors")
            successes = {"old": known["old"], "shifted": fleet.baseline(shift, folder)}
            if deployed.remembering is not None:
                successes["history_only_old"] = known["history_only"]
                successes["history_only"] = fleet.history_only(deployed.remembering, shift, folder)
            if shift.seen:
                successes["perfect"] = fleet.perfect(shift, folder)
            for number in range(settings.adaptation.learning.rounds):
                fleet.round(number, shift, folder)
                if number + 1 in (*settings.adaptation.judged_after, settings.adaptation.learning.rounds):
                    successes |= fleet.judged(number + 1, shift, folder)
            for learner in fleet.learners:
                extra = {"settings": settings.to_dict(), "shift": name}
                save_controller(learner.controller, deployed.spec, folder / learner.name, extra)
                save_tensors(folder / learner.name / EYES, {"numbers": learner.eyes})
            looks = {f"{learner.name}.eyes": learner.eyes.tolist() for learner in fleet.learners}
        for path in folder.glob("experience_*.safetensors"):
            path.unlink()
        return adaptation_figures(settings, successes) | looks

    learning = dataclasses.asdict(settings.adaptation)
    inputs = {"before": record["fingerprint"], "shift": dataclasses.asdict(shift), "adaptation": learning}
    return run_stage(settings.folder / "adapt" / name, f"adapt.{name}", inputs, work, settings.overwrite)


class Fleet:
    """All learners of a shift, and what they share."""

    def __init__(self, deployed: Deployment, before: Path) -> None:
        self.deployed, self.learners = deployed, make_learners(deployed.settings, deployed.controller)
        old = load_tensors(before / "experience.safetensors")
        self.replay = Replay(States([old], deployed.controller))
        around, _, action = moments(old, deployed.controller.cfg)
        self.inverse = InverseModel(around[0].numel(), action.shape[1])
        path = before / "inverse.safetensors"
        load_into(self.inverse, load_tensors(path), path)
        self.inverse.eval().requires_grad_(False)
        path = before / "posture.safetensors"
        sizes = deployed.controller.cfg
        self.posture = Posture(sizes.patches * sizes.channels, sizes.joints)
        load_into(self.posture, load_tensors(path), path)
        self.posture.eval().requires_grad_(False)

    def baseline(self, shift: Shift, folder: Path) -> Tensor:
        """Successes of the deployed controller under ``shift``: no adaptation."""
        self.deployed.look_through([], None)
        policy, episodes = FleetPolicy([self.deployed.controller]), self.deployed.settings.adaptation.episodes
        return _kept(folder / "baseline.safetensors", lambda: self.deployed.judge(policy, shift, episodes, "shifted"))

    def history_only(self, controller: Controller, shift: Shift, folder: Path) -> Tensor:
        """Successes of a controller that does not adapt, but sees what just happened."""
        policy, episodes = FleetPolicy([controller]), self.deployed.settings.adaptation.episodes
        self.deployed.look_through([], None)
        return _kept(
            folder / "history_only.safetensors", lambda: self.deployed.judge(policy, shift, episodes, "history only")
        )

    def perfect(self, shift: Shift, folder: Path) -> Tensor:
        """Successes where the joints are put where the planner wants them: no dynamics, the planner and the eyes."""
        self.deployed.look_through([], None)
        policy, episodes = PerfectTracking(self.deployed.env), self.deployed.settings.adaptation.episodes // 2
        return _kept(folder / "perfect.safetensors", lambda: self.deployed.judge(policy, shift, episodes, "perfect"))

    def round(self, number: int, shift: Shift, folder: Path) -> None:
        """An episode of every robot, then learning; what is on disk is read instead."""
        controllers, cfg = [learner.controller for learner in self.learners], self.deployed.cfg
        path, weights = folder / f"experience_{number}.safetensors", folder / f"round_{number}.safetensors"
        if not path.is_file():
            seed = SHIFT_SEED + ROUND_SEEDS * (1 + number)
            self.deployed.look_through(self.learners, self.posture)
            experience = self.deployed.practise(controllers, shift, seed, f"round {number + 1} of {cfg.rounds}")
            save_tensors(path, experience)
        experience = load_tensors(path)
        for i, learner in enumerate(self.learners):
            learner.rounds.append(share_of(experience, i, len(self.learners)))
        if not weights.is_file():
            for learner in self.learners:
                self.align(learner, number)
                self.learn(learner, number)
            values = {f"{x.name}.{k}": v for x in self.learners for k, v in x.controller.state_dict().items()}
            save_tensors(weights, values | {f"eyes.{x.name}": x.eyes for x in self.learners})
        values = load_tensors(weights)
        for learner in self.learners:
            learner.eyes = values[f"eyes.{learner.name}"]
            prefix = f"{learner.name}."
            own = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
            load_into(learner.controller, own, weights)

    def align(self, learner: Learner, number: int) -> None:
        """Put right what one learner sees, if its joints say that the camera was moved."""
        deployed, seed = self.deployed, learner.seed * 1000 + number
        views = views_of(learner.rounds, learner.controller.cfg, deployed.decode)
        if not views.strange(self.posture, deployed.encode):
            learner.eyes = torch.zeros(8)
            return
        learner.eyes = aligned(views, learner.eyes, self.posture, deployed.encode, seed)
        x, y = learner.eyes[[2, 5]].tolist()
        print(f"  {learner.name}, round {number + 1}: looks {x:+.3f} to the right and {y:+.3f} down, of half a picture")

    def learn(self, learner: Learner, number: int) -> None:
        """What one learner makes of its experience so far."""
        deployed = self.deployed
        translation = translation_of(learner.rounds, self.inverse, learner.controller.cfg, deployed.decode)
        states, seed = States(learner.rounds, deployed.controller), learner.seed * 1000 + number
        figures = learn(learner.controller, states, translation, deployed.decode, self.replay, learner.cfg, seed)
        print(f"  {learner.name}, round {number + 1}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))

    def judged(self, number: int, shift: Shift, folder: Path) -> dict[str, Tensor]:
        """Successes by method and world after so many rounds, its learners sharing the environments."""
        settings = self.deployed.settings.adaptation
        episodes = settings.episodes if number == settings.learning.rounds else settings.episodes // 2
        out = {}
        for i, method in enumerate(METHODS):
            learners = self.learners[i * settings.seeds : (i + 1) * settings.seeds]
            policy = FleetPolicy([learner.controller for learner in learners])
            for world, where in (("shift", shift), ("old", NONE)):
                label = f"{method}.{number}.{world}"

                def found(policy=policy, where=where, label=label, learners=learners) -> Tensor:
                    self.deployed.look_through(learners, self.posture)
                    return self.deployed.judge(policy, where, episodes, label)

                out[label] = _kept(folder / f"{label}.safetensors", found)
                print(f"  {label}: {100 * float(out[label].mean()):.0f} % ({len(out[label])} episodes)", flush=True)
        return out


def _kept(path: Path, find: Any) -> Tensor:
    """Successes that are in ``path``, found and written if they are not."""
    if not path.is_file():
        save_tensors(path, {"success": find()})
    return load_tensors(path)["success"]


def adaptation_figures(settings: Settings, successes: dict[str, Tensor]) -> dict[str, Any]:
    """Figures of a shift by stable names, ``<method>.<round>.<world>.success`` and the like."""
    cfg, env_cfg = settings.adaptation, environment_cfg(settings, 1)
    episode = env_cfg.episode_length_s - env_cfg.rates.control_dt  # its last control step is not acted in
    figures: dict[str, Any] = {}
    for label, success in successes.items():
        figures |= {f"{label}.{k}": v for k, v in rate(success).items()}
    rounds = sorted({int(label.split(".")[1]) for label in successes if "." in label})
    for number in rounds:
        figures[f"minutes.{number}"] = round(number * cfg.learning.robots * episode / 60, 3)
        for method in METHODS:
            after, old = (successes[f"{method}.{number}.{world}"] for world in ("shift", "old"))
            found = recovery(successes["old"], successes["shifted"], after, old)
            figures |= {f"{method}.{number}.{k}": v for k, v in found.items()}
            # Batches of as many episodes as there are robots, a seed's learner moving each share of them.
            shares = after.view(-1, cfg.seeds, fleet_size(cfg) // cfg.seeds)
            figures[f"{method}.{number}.shift.success_by_seed"] = shares.mean((0, 2)).tolist()
    return figures
