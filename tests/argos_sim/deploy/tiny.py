"""A tiny policy of a few joints, whole, for the tests of what runs on a robot."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from argos_sim.controller.network import Controller, ControllerConfig
from argos_sim.deploy.export import export_policy
from argos_sim.deploy.manifest import NETWORKS, PlannerSettings, PolicyManifest
from argos_sim.deploy.sight_settings import SightSettings
from argos_sim.traced import traced_controller, traced_decoder, traced_encoder, traced_planner, traced_sight
from argos_wm.decoder import DecoderConfig, LatentDecoder
from argos_wm.encoders.proprio import ProprioEncoder
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.encoders.vision import SmallViT, SmallViTConfig
from argos_wm.latents import LatentState, LatentStats
from argos_wm.sampler import SamplerConfig
from argos_wm.world_model import WorldModel, WorldModelConfig

NAMES = ("pan", "lift", "grip")
CAMERAS = ("front", "wrist")
"""Of the policy with two."""
SIZE, ROWS, STATES = 32, 4, 2
TEXTS = ("touch the red block", "", "push the green one to the left")


def make_encoder(cameras: tuple[str, ...] = ("front",), names: tuple[str, ...] = NAMES) -> StateEncoder:
    torch.manual_seed(0)
    vision = SmallViT(SmallViTConfig(image_size=SIZE, stem=(8, 16), width=32, depth=1, channels=4)).eval()
    proprio = ProprioEncoder(len(names), max(8, 2 * len(names)))
    stats = LatentStats.measure(
        torch.randn(50, len(cameras) * ROWS**2, 4),
        proprio.encode(torch.randn(50, 2 * len(names))).detach(),
        per_position=True,
    )
    return StateEncoder(vision, proprio, stats, names, precision="float32", cameras=cameras)


def make_model(encoder: StateEncoder) -> WorldModel:
    """Moved away from the initialisation, at which everything is the identity."""
    torch.manual_seed(1)
    config = WorldModelConfig(width=32, depth=2, context_depth=1, heads=2, precision="fp32", time_shift=1.7)
    model = WorldModel(config, encoder.spec, HashedNGramEncoder().dim, len(encoder.joint_names))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def make_decoder() -> LatentDecoder:
    torch.manual_seed(4)
    return LatentDecoder(DecoderConfig(ROWS, ROWS, channels=4, image_size=SIZE, width=16)).eval()


class Told(nn.Module):
    """Angles of all joints from latents: zero before pictures like ``shown``, and 2 rad before those like ``other``."""

    weight: Tensor
    bias: Tensor

    def __init__(self, encoder: StateEncoder, shown: Tensor, other: Tensor) -> None:
        super().__init__()
        latents = encoder.encode_vision(torch.cat([shown, other])).flatten(1)
        wanted = torch.cat([torch.zeros(len(shown)), torch.full((len(other),), 2.0)])
        fitted = torch.linalg.lstsq(F.pad(latents, (0, 1), value=1.0), wanted[:, None].repeat(1, 3)).solution
        self.register_buffer("weight", fitted[:-1])
        self.register_buffer("bias", fitted[-1])

    def forward(self, vision: Tensor) -> Tensor:
        return vision.flatten(1) @ self.weight + self.bias


SEES = SightSettings(centre=(0.0,) * 3, spread=(1.0,) * 3, error=(0.1, 0.1, 1.0))
"""All but the last joint are known well."""


def make_sight(encoder: StateEncoder) -> Told:
    """Before noise as the stand-in's camera has it, of the whole picture or half of it, against dark noise."""
    noise = pictures(400)
    half = F.interpolate(noise[:200, :, : SIZE // 2, : SIZE // 2].float(), SIZE, mode="bilinear").to(torch.uint8)
    return Told(encoder, torch.cat([noise[:200], half]), noise[200:] // 8)


def pictures(count: int, cameras: int = 1) -> torch.Tensor:
    shape = (count, 3, SIZE, SIZE) if cameras == 1 else (count, cameras, 3, SIZE, SIZE)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def moments(encoder: StateEncoder, count: int) -> tuple[LatentState, torch.Tensor]:
    """Histories (M, S, …) and which of their states are known."""
    generator = torch.Generator().manual_seed(3)
    spec = encoder.spec
    vision = torch.randn(count, STATES, spec.patches, spec.channels, generator=generator)
    time = torch.tensor([-0.8, 0.0]).expand(count, -1).clone()
    known = torch.ones(count, STATES, dtype=torch.bool)
    known[::2, 0] = False
    return LatentState(vision, torch.randn(count, STATES, spec.proprio_dim, generator=generator), time), known


def write(
    folder: Path,
    encoder: StateEncoder,
    model: WorldModel,
    only: tuple[str, ...] = NETWORKS,
    eyes: tuple[float, ...] = (),
    sight: Told | None = None,
) -> PolicyManifest:
    spec, joints = encoder.spec, len(encoder.joint_names)
    sizes = ControllerConfig(spec.patches, spec.channels, spec.proprio_dim, joints, history=1, hidden=(32, 32))
    controller = Controller(sizes, torch.full((joints,), 2.0))
    manifest = PolicyManifest(
        spec=spec.to_json(),
        joint_names=encoder.joint_names,
        joint_limits=((-1.0, 1.0),) * joints,
        torque_limits=(2.0,) * joints,
        velocity_limits=(4.0,) * joints,
        rates={"physics_hz": 200, "control_hz": 50, "camera_hz": 10, "planner_period_s": 0.8},
        history=1,
        action_scale=(2.0,) * joints,
        image_size=SIZE,
        homography=eyes,
        planner=PlannerSettings(
            history=model.config.history,
            text={"kind": "hashed-ngram", "dim": 64, "max_words": 16},
            shift=model.shift,
            **asdict(SamplerConfig()),
        ),
    )
    count = 6
    observations = {name: torch.randn(count, *shape) for name, shape in manifest.inputs.items()}
    history, known = moments(encoder, count)
    text = HashedNGramEncoder()([TEXTS[i % 3] for i in range(count)])
    networks = [
        traced_controller(controller, observations),
        *traced_encoder(encoder, pictures(count, len(encoder.cameras)), torch.randn(count, 2 * joints), eyes),
        traced_decoder(make_decoder(), history.vision[:, -1]),
        *traced_planner(model, history, known, text, torch.linspace(0.1, 0.8, count)),
    ]
    if sight is not None:
        networks.append(traced_sight(sight, history.vision[:, -1]))
        manifest = replace(manifest, sight=SEES)
    return export_policy([x for x in networks if x.name in only], manifest, folder)
