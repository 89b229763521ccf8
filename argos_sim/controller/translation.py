"""From the torque that the robot as it was would have needed to the one that the robot as it is now needs.

Two fits, after grounded action transformation (Hanna & Stone 2017). An *inverse model* is learned beforehand, in the
old conditions: from the joints' states around a moment, the torque that was commanded there. Asked about a movement
under new conditions it says which command would have led to it before; what was truly commanded stands beside it. The
*translation* between the two is a ridge regression, whose terms are what dynamics are made of: a constant, gravity in
the joints' angles, speed and its sign for friction, and the command itself for motors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from argos_sim.controller.network import PROPRIO, ControllerConfig

BEFORE, AFTER = 1, 3
"""Control steps around a command from which the inverse model tells it: commands and read-outs come up to two late."""
SLOW, SMALL = 0.1, 0.03
"""Speed [rad/s] and command [shares of the limit] from which on their signs count as known."""
RIDGE = 1e-3
"""Weight of the squared coefficients, in units of standardised terms."""
ACTION, ALIVE = "action", "alive"
"""Of an experience, beside the controller's observation groups: what was done, and whether physics still held."""
Experience = dict[str, Tensor]
"""Tensors (T, N, …): step by step, robot by robot, one episode of each; pictures (F, N, …) frame by frame."""


def moments(experience: Experience, cfg: ControllerConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Every moment of an experience that has its surroundings.

    Returns:
        proprioceptive latents around it (M, W, D), that of the moment (M, D), and the action (M, J). None crosses the
        end of an episode, nor the step in which physics broke.
    """
    history, *_ = cfg.split(experience[PROPRIO].float())
    latent, steps = history[:, :, -1], len(history)
    inner = slice(BEFORE, steps - AFTER)
    around = torch.stack([latent[k : steps - BEFORE - AFTER + k] for k in range(BEFORE + AFTER + 1)], 2)
    alive = experience[ALIVE][BEFORE + AFTER :]
    return around[alive], latent[inner][alive], experience[ACTION][inner].float()[alive]


class InverseModel(nn.Module):
    """Proprioceptive latents around a moment (M, W, D) → the action (M, J) commanded in it.

    Attributes:
        centre, scale: (W D,) of the latents that it was fitted to: a workspace is a small part of what joints can do.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, inputs: int, joints: int, width: int = 128) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.linear = nn.Linear(inputs, joints)
        self.mlp = nn.Sequential(
            nn.Linear(inputs, width), nn.ELU(), nn.Linear(width, width), nn.ELU(), nn.Linear(width, joints)
        )

    def forward(self, around: Tensor) -> Tensor:
        """See the class."""
        flat = (around.flatten(1) - self.centre) / self.scale
        return self.linear(flat) + self.mlp(flat)


def fit_inverse(experience: Experience, cfg: ControllerConfig, steps: int, seed: int) -> InverseModel:
    """The inverse model of the conditions in which ``experience`` was made."""
    torch.manual_seed(seed)
    around, _, action = moments(experience, cfg)
    model = InverseModel(around[0].numel(), action.shape[1])
    model.centre, model.scale = around.flatten(1).mean(0), around.flatten(1).std(0).clamp_min(1e-3)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        index = torch.randint(len(action), (512,))
        loss = (model(around[index]) - action[index]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Translation:
    """Actions of the old conditions → actions of the new ones.

    Attributes:
        centre: (J,) angles about which gravity is expanded [rad].
        weights: (F, J) of the terms.
    """

    centre: Tensor
    weights: Tensor

    def __call__(self, state: Tensor, action: Tensor) -> Tensor:
        """The translated action (M, J), within ±1, for joint states ``state (M, 2J)`` [rad, rad/s]."""
        return (action + terms(state, action, self.centre) @ self.weights).clamp(-1, 1)


def terms(state: Tensor, action: Tensor, centre: Tensor) -> Tensor:
    """The terms (M, F) of the regression: 1, angles and their products, speeds and commands and their signs."""
    position, speed = state.chunk(2, -1)
    position = position - centre
    row, column = torch.triu_indices(position.shape[1], position.shape[1])
    products = position[:, row] * position[:, column]
    parts = [torch.ones_like(position[:, :1]), position, products, speed, torch.tanh(speed / SLOW)]
    return torch.cat([*parts, action, torch.tanh(action / SMALL)], -1)


def fit_translation(state: Tensor, before: Tensor, now: Tensor) -> Translation:
    """From M moments: joint states (M, 2J), the actions that would have been needed before, and those needed now."""
    centre = state.chunk(2, -1)[0].mean(0)
    matrix = terms(state, before, centre)
    scale = matrix.std(0).clamp_min(1e-3)
    scale[0] = 1.0
    matrix = matrix / scale
    normal = matrix.T @ matrix / len(matrix) + RIDGE * torch.eye(matrix.shape[1])
    weights = torch.linalg.solve(normal, matrix.T @ (now - before) / len(matrix))
    return Translation(centre, weights / scale[:, None])


def translation_of(
    rounds: list[Experience], inverse: InverseModel, cfg: ControllerConfig, decode: Callable[[Tensor], Tensor]
) -> Translation:
    """The translation that the rounds of one robot's experience ask for.

    Args:
        decode: proprioceptive latents (M, D) → joint states (M, 2J).
    """
    around, latent, action = (torch.cat(parts) for parts in zip(*(moments(r, cfg) for r in rounds), strict=True))
    return fit_translation(decode(latent), inverse(around), action)
