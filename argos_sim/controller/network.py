"""The torque controller: where I am, where I was, where the planner wants me next → joint torques.

A few learned queries, conditioned on proprioception, attend over patches that each carry the current latent, the
target's, and their difference; what they find joins the proprioceptive history in an MLP. Small on purpose: it runs
500 times a second on one core.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from argos_wm.checkpoint import CheckpointError, load_into, load_json, load_tensors, save_json, save_tensors
from argos_wm.latents import LatentSpec

WEIGHTS, SETTINGS = "controller.safetensors", "controller.json"
PROPRIO, VISION, TARGET_VISION = "proprio", "vision", "target_vision"
"""Observation groups that the actor takes, see ``argos_sim.mdp.observations``."""
Senses = Literal["both", "proprioception", "vision"]
"""What the controller takes of where it is and where it shall be; the rest it sees as zeros, which tells it nothing."""
INPUTS = ("vision", "target_vision", "proprio", "target_proprio", "last_action", "time_to_go")
"""Order of the controller's inputs, in torch and in its export."""


@dataclass(frozen=True)
class ControllerConfig:
    """Sizes of the controller; the first five follow from the latent spec and the environment."""

    patches: int
    """P."""
    channels: int
    """C."""
    proprio_dim: int
    """D."""
    joints: int
    """J."""
    history: int
    """K, past control steps beside the current one."""
    attention_width: int = 64
    queries: int = 4
    hidden: tuple[int, ...] = (256, 256)
    senses: Senses = "both"

    def split(self, proprio: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take the flat proprio group (N, …) apart: history (N, K+1, D), target (N, D), last action, time to go.

        The oldest comes first, so that of an environment that remembers more than K steps it takes the end.

        Raises:
            ValueError: the environment remembers less.
        """
        sizes = ((self.history + 1) * self.proprio_dim, self.proprio_dim, self.joints, 1)
        if proprio.shape[-1] < sum(sizes):
            raise ValueError(
                f"The controller sees {self.history} past steps (controller.history), more than this environment keeps."
            )
        history, target, action, time = proprio[..., -sum(sizes) :].split(sizes, -1)
        return history.unflatten(-1, (self.history + 1, self.proprio_dim)), target, action, time


class ControllerFeatures(nn.Module):
    """From the controller's inputs to one feature vector (N, ``width``)."""

    def __init__(self, cfg: ControllerConfig) -> None:
        super().__init__()
        # Plain numbers, which TorchScript can keep.
        self.queries, self.scale = cfg.queries, cfg.attention_width**-0.5
        self.sees, self.feels = cfg.senses != "proprioception", cfg.senses != "vision"
        w = cfg.attention_width
        self.patch = nn.Linear(3 * cfg.channels, w)
        self.position = nn.Parameter(0.02 * torch.randn(cfg.patches, w))
        self.key_value = nn.Linear(w, 2 * w)
        self.query = nn.Linear(2 * cfg.proprio_dim, cfg.queries * w)
        body = (cfg.history + 1) * cfg.proprio_dim + 2 * cfg.proprio_dim + 4
        self.body = nn.Linear(body, cfg.hidden[0])
        # Imitation leaves the last action out: copying it is a shortcut that fails once errors add up (de Haan 2019).
        # From zero, reinforcement learning may take it in.
        self.last_action = nn.Linear(cfg.joints, cfg.hidden[0], bias=False)
        nn.init.zeros_(self.last_action.weight)
        self.width = cfg.hidden[0] + cfg.queries * w

    def forward(
        self,
        vision: Tensor,
        target_vision: Tensor,
        proprio: Tensor,
        target_proprio: Tensor,
        last_action: Tensor,
        time_to_go: Tensor,
    ) -> Tensor:
        """See ``Controller.forward`` for the inputs."""
        if not self.sees:
            vision, target_vision = torch.zeros_like(vision), torch.zeros_like(target_vision)
        if not self.feels:
            proprio, target_proprio = torch.zeros_like(proprio), torch.zeros_like(target_proprio)
        n, current = vision.shape[0], proprio[:, -1]
        # A product with (now, then, then - now), but without the difference and the three side by side, which would be
        # the largest tensors of PPO's learning.
        now, then, change = self.patch.weight.chunk(3, -1)  # (W, C) each
        seen = F.linear(vision, now - change) + F.linear(target_vision, then + change, self.patch.bias)
        tokens = F.gelu(seen + self.position)  # (N, P, W)
        key, value = self.key_value(tokens).chunk(2, -1)
        query = self.query(torch.cat([current, target_proprio], -1)).view(n, self.queries, -1)
        scores = query @ key.transpose(1, 2) * self.scale  # (N, Q, P)
        found = (scores.softmax(-1) @ value).flatten(1)  # (N, Q W)
        clock = torch.cat([time_to_go, time_to_go.square(), 0.1 / (0.1 + time_to_go), 0.02 / (0.02 + time_to_go)], -1)
        body = torch.cat([proprio.flatten(1), target_proprio, target_proprio - current, clock], -1)
        return torch.cat([F.elu(self.body(body) + self.last_action(last_action)), found], -1)


class Controller(nn.Module):
    """The deterministic policy, as it is imitated and exported.

    Args:
        cfg: sizes.
        torque_limit: (J,) N·m; an action of ±1 commands it.
    """

    torque_limit: Tensor

    def __init__(self, cfg: ControllerConfig, torque_limit: Tensor) -> None:
        super().__init__()
        self.cfg = cfg
        self.features = ControllerFeatures(cfg)
        layers: list[nn.Module] = []
        width = self.features.width
        for hidden in cfg.hidden[1:]:
            layers += [nn.Linear(width, hidden), nn.ELU()]
            width = hidden
        self.mlp = nn.Sequential(*layers, nn.Linear(width, cfg.joints))
        self.register_buffer("torque_limit", torque_limit.float())

    def action(self, *inputs: Tensor) -> Tensor:
        """The action before clipping (N, J), in shares of the torque limits."""
        return self.mlp(self.features(*inputs))

    def forward(
        self,
        vision: Tensor,
        target_vision: Tensor,
        proprio: Tensor,
        target_proprio: Tensor,
        last_action: Tensor,
        time_to_go: Tensor,
    ) -> Tensor:
        """Torques within the limits.

        Args:
            vision, target_vision: (N, P, C) standardised patch latents.
            proprio: (N, K + 1, D) standardised proprioceptive latents, oldest first.
            target_proprio: (N, D).
            last_action: (N, J) in shares of the torque limits.
            time_to_go: (N, 1) s.

        Returns:
            (N, J) N·m.
        """
        action = self.action(vision, target_vision, proprio, target_proprio, last_action, time_to_go)
        return action.clamp(-1.0, 1.0) * self.torque_limit

    def settings(self) -> dict:
        """What ``from_settings`` needs to build it again."""
        return asdict(self.cfg) | {"torque_limit": self.torque_limit.tolist()}


def from_settings(settings: dict[str, Any]) -> Controller:
    """An untrained controller of the sizes in ``Controller.settings()``."""
    known = dict(settings)
    limit = torch.tensor(known.pop("torque_limit"))
    known["hidden"] = tuple(known["hidden"])
    return Controller(ControllerConfig(**known), limit)


def save_controller(controller: Controller, spec: LatentSpec, folder: Path, extra: dict[str, Any]) -> None:
    """Write a controller with the spec of the latents that it takes."""
    save_tensors(folder / WEIGHTS, controller.state_dict())
    save_json(folder / SETTINGS, {"controller": controller.settings(), "spec": spec.to_json(), "extra": extra})


def load_weights(folder: Path) -> Controller:
    """Read a controller, whatever its latents."""
    settings = load_json(folder / SETTINGS)
    if {"controller", "spec"} - set(settings):
        raise CheckpointError(f"{folder / SETTINGS} lacks its sizes or its latent spec. Train the controller again.")
    controller = from_settings(settings["controller"])
    load_into(controller, load_tensors(folder / WEIGHTS), folder / WEIGHTS)
    return controller.eval()


def load_controller(folder: Path, spec: LatentSpec, whose: str) -> Controller:
    """Read a controller; one made for other latents than ``spec`` (of the part called ``whose``) is refused."""
    controller = load_weights(folder)
    own = LatentSpec.from_json(load_json(folder / SETTINGS)["spec"])
    own.require(spec, f"the controller {folder}", whose)
    return controller
