"""The controller as rsl_rl's actor."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from rsl_rl.models import MLPModel
from tensordict import TensorDict
from torch import Tensor, nn

from argos_sim.controller.network import PROPRIO, TARGET_VISION, VISION, Controller, from_settings, load_weights


class ControllerModel(MLPModel):
    """The controller as rsl_rl's actor: the same features and head, with a Gaussian around the action."""

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        controller: dict[str, Any] | str,
        distribution_cfg: dict,
        activation: str = "elu",
        **_: Any,
    ) -> None:
        """
        Args:
            controller: ``Controller.settings()``, or the folder of a saved controller to start from.
            _: rsl_rl's settings of plain MLPs, which the controller's own sizes replace.
        """
        template = load_weights(Path(controller)) if isinstance(controller, str) else from_settings(controller)
        # Read by the base class before modules may be assigned.
        self._feature_width: int
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

    def as_jit(self) -> nn.Module:
        """For ``isaaclab play``: one flat observation in, the mean action out."""
        return _FlatController(self)

    def as_onnx(self, verbose: bool = False) -> nn.Module:
        """As ``as_jit``; ``argos_sim.deploy.export`` writes the export that robots use, with named inputs."""
        return _FlatController(self)


class _FlatController(nn.Module):
    """The actor on the concatenation of its observation groups, as rsl_rl's exporters expect it."""

    is_recurrent: bool = False

    def __init__(self, model: ControllerModel) -> None:
        super().__init__()
        cfg = model.controller_cfg
        self.features, self.mlp = copy.deepcopy(model.features), copy.deepcopy(model.mlp)
        self.patches, self.channels, self.steps, self.dim = cfg.patches, cfg.channels, cfg.history + 1, cfg.proprio_dim
        self.joints = cfg.joints
        self.input_names, self.output_names = ["obs"], ["actions"]

    def forward(self, obs: Tensor) -> Tensor:
        """(N, proprio + 2 P C) to (N, J)."""
        image = self.patches * self.channels
        sizes = [self.steps * self.dim, self.dim, self.joints, 1, image, image]
        newest = obs[:, obs.shape[1] - sum(sizes) :]  # see ControllerConfig.split
        history, wanted, action, time, vision, target = newest.split(sizes, dim=-1)
        shape = [-1, self.patches, self.channels]
        past = history.reshape([-1, self.steps, self.dim])
        return self.mlp(self.features(vision.reshape(shape), target.reshape(shape), past, wanted, action, time))

    def get_dummy_inputs(self) -> tuple[Tensor]:
        """For tracing."""
        size = (self.steps + 1) * self.dim + self.joints + 1 + 2 * self.patches * self.channels
        return (torch.zeros(1, size),)

    @torch.jit.export
    def reset(self) -> None:
        """Nothing is kept between steps."""
