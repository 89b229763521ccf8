"""The torque controller: where I am, where I was, where the planner wants me next → joint torques.

A few learned queries, conditioned on proprioception, attend over patches that each carry the current latent, the
target's, and their difference; what they find joins the proprioceptive history in an MLP. Small on purpose: it runs
500 times a second on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from rsl_rl.models import MLPModel
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F

PROPRIO, VISION, TARGET_VISION = "proprio", "vision", "target_vision"
"""Observation groups that the actor takes, see ``argos_sim.mdp.observations``."""
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

    def split(self, proprio: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take the flat proprio group (N, …) apart: history (N, K+1, D), target (N, D), last action, time to go."""
        sizes = ((self.history + 1) * self.proprio_dim, self.proprio_dim, self.joints, 1)
        history, target, action, time = proprio.split(sizes, -1)
        return history.unflatten(-1, (self.history + 1, self.proprio_dim)), target, action, time


class ControllerFeatures(nn.Module):
    """From the controller's inputs to one feature vector (N, ``width``)."""

    def __init__(self, cfg: ControllerConfig) -> None:
        super().__init__()
        self.cfg = cfg
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
        n, current = vision.shape[0], proprio[:, -1]
        patches = torch.cat([vision, target_vision, target_vision - vision], -1)  # (N, P, 3C)
        tokens = F.gelu(self.patch(patches) + self.position)  # (N, P, W)
        key, value = self.key_value(tokens).chunk(2, -1)
        query = self.query(torch.cat([current, target_proprio], -1)).view(n, self.cfg.queries, -1)
        scores = query @ key.transpose(1, 2) / self.cfg.attention_width**0.5  # (N, Q, P)
        seen = (scores.softmax(-1) @ value).flatten(1)  # (N, Q W)
        clock = torch.cat([time_to_go, time_to_go.square(), 0.1 / (0.1 + time_to_go), 0.02 / (0.02 + time_to_go)], -1)
        body = torch.cat([proprio.flatten(1), target_proprio, target_proprio - current, clock], -1)
        return torch.cat([F.elu(self.body(body) + self.last_action(last_action)), seen], -1)


class Controller(nn.Module):
    """The deterministic policy, as it is imitated and exported.

    Args:
        cfg: sizes.
        torque_limit: (J,) N·m; an action of ±1 commands it.
    """

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

    @staticmethod
    def from_settings(settings: dict) -> Controller:
        """Inverse of ``settings``."""
        known = dict(settings)
        limit = torch.tensor(known.pop("torque_limit"))
        return Controller(ControllerConfig(**(known | {"hidden": tuple(known["hidden"])})), limit)


class ControllerModel(MLPModel):
    """The controller as rsl_rl's actor: the same features and head, with a Gaussian around the action."""

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        controller: dict,
        distribution_cfg: dict,
        activation: str = "elu",
        hidden_dims: Sequence[int] = (),
    ) -> None:
        """``controller`` is ``Controller.settings()``; it decides the layers, so ``hidden_dims`` stays unused."""
        template = Controller.from_settings(controller)
        # Read by the base class before modules may be assigned.
        object.__setattr__(self, "_feature_width", template.features.width)
        super().__init__(obs, obs_groups, obs_set, output_dim, [16], activation, False, distribution_cfg)
        self.controller_cfg = template.cfg
        self.features, self.mlp = template.features, template.mlp

    def _get_latent_dim(self) -> int:
        return self._feature_width

    def get_latent(self, obs: TensorDict, masks: Tensor | None = None, hidden_state=None) -> Tensor:
        """Features of a batch of observation groups."""
        cfg = self.controller_cfg
        vision = obs[VISION].unflatten(-1, (cfg.patches, cfg.channels))
        target_vision = obs[TARGET_VISION].unflatten(-1, (cfg.patches, cfg.channels))
        return self.features(vision, target_vision, *cfg.split(obs[PROPRIO]))

    def load_controller(self, controller: Controller) -> None:
        """Start from an imitated controller."""
        self.features.load_state_dict(controller.features.state_dict())
        self.mlp.load_state_dict(controller.mlp.state_dict())

    def to_controller(self, torque_limit: Tensor) -> Controller:
        """The policy's mean as a ``Controller``."""
        controller = Controller(self.controller_cfg, torque_limit)
        controller.features.load_state_dict(self.features.state_dict())
        controller.mlp.load_state_dict(self.mlp.state_dict())
        return controller.eval()
