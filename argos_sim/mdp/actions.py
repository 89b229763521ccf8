"""The action term of ARGOS: joint torques, sent over a bus that may lose a command or bring it late."""

# Isaac Lab types a term's configuration and environment more loosely than they are.
# pyright: reportIncompatibleVariableOverride=false

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from isaaclab.envs.mdp import JointEffortActionCfg
from isaaclab.envs.mdp.actions.joint_actions import JointEffortAction
from isaaclab.utils import configclass
from torch import Tensor

from argos_sim.randomization.dynamics import uniform

if TYPE_CHECKING:
    from argos_sim.envs.latent_tracking_env import LatentTrackingEnv


class TorqueAction(JointEffortAction):
    """Torques in shares of each motor's limit; how good the bus is, ``dynamics.randomize_motors`` draws.

    Attributes:
        loss: probability (N,) that a command is lost; the motors then keep the one before.
        delay: age (N,) of a command when it acts [physics steps].
        jitter: most (N,) by which an age grows, anew for each command.
    """

    cfg: TorqueActionCfg
    _env: LatentTrackingEnv

    def __init__(self, cfg: TorqueActionCfg, env: LatentTrackingEnv) -> None:
        super().__init__(cfg, env)
        order = self._joint_ids
        if isinstance(order, Tensor) and order.tolist() == list(range(self._asset.num_joints)):
            # All in order: Isaac Lab would look them up at each physics step, since an order was asked for.
            self._joint_ids = slice(None)
        self.loss = torch.zeros(self.num_envs, device=self.device)
        self.delay = torch.zeros(self.num_envs, dtype=torch.int, device=self.device)
        self.jitter = torch.zeros_like(self.delay)

    def process_actions(self, actions: Tensor) -> None:
        """Scale and clip; what is lost is replaced by what was sent before, what is late comes late."""
        env, before = self._env, self.processed_actions
        super().process_actions(actions)
        if env.draws.may("action_loss"):
            lost = uniform(env, (0.0, 1.0), self.num_envs) < self.loss
            self._processed_actions = torch.where(lost[:, None], before, self.processed_actions)
        if env.draws.may("action_jitter"):
            late = (uniform(env, (0.0, 1.0), self.num_envs) * (self.jitter + 1)).int()
            # In place, not by ``set_delay``, which would make a GPU wait at each step to check what ``dynamics`` did.
            env.motors.delay.copy_(self.delay + torch.minimum(late, self.jitter))

    def reset(self, env_ids: Sequence[int] | Tensor | slice | None = None) -> None:
        """Forget the commands of environments ``env_ids``: what comes before a new episode's first is no torque."""
        super().reset(env_ids)  # pyright: ignore[reportArgumentType]
        self._processed_actions[slice(None) if env_ids is None else env_ids] = 0.0


@configclass
class TorqueActionCfg(JointEffortActionCfg):
    """See ``TorqueAction``."""

    class_type: type = TorqueAction
