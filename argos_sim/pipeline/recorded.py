"""What a policy met: data on which its export must agree with torch.

From the run's own demonstrations, or, for weights without a run such as the shipped ones, from episodes that they play
on MuJoCo.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from argos_sim.compared import TorchNetwork
from argos_sim.configs import ImitationConfig
from argos_sim.controller.imitation import ImitationData
from argos_sim.controller.network import INPUTS, Controller
from argos_sim.deploy.manifest import CONTROLLER, PolicyManifest
from argos_sim.deploy.planner import Parts
from argos_sim.mujoco_c.loop import BatchedController, Loop
from argos_sim.mujoco_c.policy import BatchedPolicy
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.planner import load_cache
from argos_sim.pipeline.settings import Settings
from argos_sim.traced import Traced, traced_controller, traced_encoder, traced_planner
from argos_wm.encoders.state import StateEncoder
from argos_wm.latents import LatentState
from argos_wm.planner import Planner
from argos_wm.training.encoder import EncoderViews

OBSERVATIONS, SEEN = 1000, 256
"""Observations of the controller, and pictures and moments of the other parts."""
ARMS = 8


@dataclass
class Recorded:
    """Inputs of all parts of a policy.

    Attributes:
        observations: of the controller by their names, (M, …).
        images: (K, 3, S, S) uint8, or (K, V, 3, S, S).
        joints: (K, 2J) positions and speeds [rad, rad/s].
        history: (K, S, …), and which of its states are ``known`` (K, S).
        texts: K instructions.
        horizon: (K,) [s].
    """

    observations: dict[str, Tensor]
    images: Tensor
    joints: Tensor
    history: LatentState
    known: Tensor
    texts: list[str]
    horizon: Tensor


def from_demonstrations(
    settings: Settings, encoder: StateEncoder, planner: Planner, controller: Controller
) -> Recorded:
    """The run's own, drawn by torch's default generator; previous actions are random."""
    cache, rates = load_cache(settings), environment_cfg(settings, 1).rates
    data = ImitationData(cache, controller, encoder.encode_proprio, rates.frames_per_plan, ImitationConfig())
    inputs, _ = data.batch(OBSERVATIONS)
    observations: dict[str, Tensor] = dict(zip(INPUTS, inputs, strict=True))
    observations["last_action"] = 2 * torch.rand_like(observations["last_action"]) - 1
    images = EncoderViews.load(settings.folder / "views" / "views.safetensors").image_a[:SEEN]
    frames = torch.randint(len(cache.time), (len(images),))
    frames = torch.minimum(frames, cache.end(frames) - 1)
    model = planner.world_model
    windows = cache.windows(frames, torch.ones_like(frames), model.config.history, model.config.action_steps)
    return Recorded(
        observations,
        images,
        encoder.decode_proprio(cache.proprio[frames].float()),
        windows.history,
        windows.history_mask,
        [cache.instructions[i] for i in windows.episode.tolist()],
        torch.empty(len(frames)).uniform_(0.1, rates.planner_period_s),
    )


def in_torch(
    manifest: PolicyManifest, encoder: StateEncoder, planner: Planner, controller: Controller
) -> tuple[BatchedPolicy, BatchedController]:
    """What MuJoCo's loop runs, before it is exported as ``manifest`` says."""
    networks = {each.name: TorchNetwork(each) for each in _traced(manifest, encoder, planner, controller)}

    def reads(text: str) -> Parts:
        said = planner.features([text])
        return said.tokens[0].numpy(), said.mask[0].numpy()

    policy = BatchedPolicy(manifest, networks, reads)
    return policy, BatchedController(lambda inputs: networks[CONTROLLER](inputs)[0], manifest)


class _Watched:
    """A controller that moves arms, and what it and the other parts could be asked at each of its steps."""

    def __init__(self, controller: BatchedController) -> None:
        self.controller = controller
        self.observations: list[dict[str, np.ndarray]] = []
        self.images: list[np.ndarray] = []
        self.joints: list[np.ndarray] = []
        self.moments: list[tuple[Parts, np.ndarray, list[str], float]] = []
        infer = controller.infer
        controller.infer = lambda inputs: (self.observations.append(inputs), infer(inputs))[1]

    def reset(self) -> None:
        """See ``mujoco_c.loop.Drive``."""
        self.controller.reset()

    def torques(self, loop: Loop) -> np.ndarray:
        """See ``mujoco_c.loop.Drive``."""
        self.images.append(loop.senses.images)
        self.joints.append(loop.arms.joints())
        texts = [loop.arms.world.texts[i] for i in loop.arms.asked]
        self.moments.append((*loop.senses.history(), texts, loop.time_to_go))
        return self.controller.torques(loop)


def from_mujoco(
    settings: Settings, manifest: PolicyManifest, encoder: StateEncoder, planner: Planner, controller: Controller
) -> Recorded:
    """Of an episode of ``ARMS`` arms that the policy plays; ``manifest`` is that of the export to be."""
    world = World.of(environment_cfg(settings, 1))
    policy, moving = in_torch(manifest, encoder, planner, controller)
    watched = _Watched(moving)
    loop = Loop(world, settings.ranges("nominal"), policy, ARMS, seed=settings.seed)
    loop.run(watched, ARMS, "recorded for the export")
    every = {name: _joined(feed[name] for feed in watched.observations) for name in INPUTS}
    chosen = torch.randperm(len(every["time_to_go"]))[:OBSERVATIONS]
    few = torch.randperm(len(chosen))[:SEEN]
    vision, proprio = (_joined(moment[0][i] for moment in watched.moments) for i in range(2))
    time = torch.tensor(policy.planner.history).expand(len(few), -1)
    texts = [text for moment in watched.moments for text in moment[2]]
    return Recorded(
        {name: value[chosen] for name, value in every.items()},
        _joined(watched.images)[few],
        _joined(watched.joints).float()[few],
        LatentState(vision[few], proprio[few], time),
        _joined(moment[1] for moment in watched.moments)[few],
        [texts[i] for i in few.tolist()],
        torch.cat([torch.full((ARMS,), moment[3]) for moment in watched.moments])[few].clamp_min(0.1),
    )


def _traced(manifest: PolicyManifest, encoder: StateEncoder, planner: Planner, controller: Controller) -> list[Traced]:
    """Encoders, planner and controller, with zeros where recorded values belong."""
    size, spec = manifest.image_size, encoder.spec
    observations = {name: torch.zeros(2, *shape) for name, shape in manifest.inputs.items()}
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    time = torch.tensor(planner.world_model.config.history).expand(2, -1)
    history = LatentState(
        torch.zeros(*time.shape, spec.patches, spec.channels), torch.zeros(*time.shape, spec.proprio_dim), time
    )
    words, known = planner.features(["", ""]), torch.ones_like(time, dtype=torch.bool)
    return [
        traced_controller(controller, observations),
        *traced_encoder(encoder, images, torch.zeros(2, 2 * len(manifest.joint_names))),
        *traced_planner(planner.world_model, history, known, words, torch.ones(2)),
    ]


def _joined(arrays: Iterable[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(list(arrays)))
