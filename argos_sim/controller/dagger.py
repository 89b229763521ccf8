"""DAgger (Ross 2011, arXiv 1011.0686): the controller acts, the expert says what it would have done there.

Imitation sees the states that experts come to; a controller that is a little off comes to others. In each round the
controller acts in most environments (the expert in the rest), following the planner's targets, while the expert, which
knows where everything truly is, labels every step; then the controller learns from all rounds and the demonstrations
together. The expert's movement is timed, so that its label is how to be back where an episode should be by now.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from tqdm import tqdm

from argos_sim.configs import DaggerConfig
from argos_sim.controller.imitation import ImitationData, torque_loss
from argos_sim.controller.network import PROPRIO, TARGET_VISION, VISION, Controller
from argos_sim.evaluation import ControllerPolicy
from argos_sim.experts import TaskExpert
from argos_wm.checkpoint import load_tensors, save_tensors
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, fit

if TYPE_CHECKING:
    from argos_sim.envs.latent_tracking_env import LatentTrackingEnv

GROUPS = (PROPRIO, VISION, TARGET_VISION)
LABEL = "label"


@torch.no_grad()
def visit(
    env: LatentTrackingEnv, controller: Controller, expert: TaskExpert, cfg: DaggerConfig, seed: int
) -> dict[str, Tensor]:
    """One episode in every environment: what was sensed (M, …), and the expert's action there (M, J), float16."""
    generator = torch.Generator().manual_seed(seed)
    taught = torch.rand(env.num_envs, 1, generator=generator) < cfg.expert_share
    taught = taught.to(env.device)
    obs, _ = env.reset_from(seed)
    expert.motion.reseed(seed)  # whichever rounds were visited by this process
    expert.begin(torch.arange(env.num_envs, device=env.device))
    policy = ControllerPolicy(controller)
    kept: dict[str, list[Tensor]] = {name: [] for name in (*GROUPS, LABEL)}
    alive = torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
    for step in tqdm(range(env.max_episode_length - 1), desc="visiting", leave=False):
        groups = cast("dict[str, Tensor]", obs)
        label = (expert.torque() / expert.motion.torque_limit).clamp(-1, 1)
        if step % cfg.stride == 0:
            for name in GROUPS:
                kept[name].append(groups[name][alive].half().cpu())
            kept[LABEL].append(label[alive].half().cpu())
        obs = env.step(torch.where(taught, label, policy.act(groups)))[0]
        alive &= ~env.reset_buf  # where physics broke another episode has begun, which the expert knows nothing of
    return {name: torch.cat(parts) for name, parts in kept.items()}


class VisitedData:
    """Draws batches from the rounds so far and from the demonstrations."""

    def __init__(self, rounds: list[dict[str, Tensor]], demonstrations: ImitationData, controller: Controller) -> None:
        self.data = {name: torch.cat([visited[name] for visited in rounds]) for name in rounds[0]}
        self.demonstrations, self.cfg = demonstrations, controller.cfg

    def batch(self, size: int, share: float) -> tuple[tuple[Tensor, ...], Tensor]:
        """(inputs of the controller, actions (size, J)), a ``share`` of them from the demonstrations."""
        shown, actions = self.demonstrations.batch(round(size * share))
        index = torch.randint(len(self.data[LABEL]), (size - len(actions),))
        groups = {name: values[index].float() for name, values in self.data.items()}
        shape = (self.cfg.patches, self.cfg.channels)
        history, target, last, time_to_go = self.cfg.split(groups[PROPRIO])
        own = (
            groups[VISION].unflatten(-1, shape),
            groups[TARGET_VISION].unflatten(-1, shape),
            history,
            target,
            torch.zeros_like(last),  # as in imitation: to copy the last action is a shortcut
            time_to_go,
        )
        inputs = tuple(torch.cat(pair) for pair in zip(shown, own, strict=True))
        return inputs, torch.cat([actions, groups[LABEL]])


def dagger(
    controller: Controller,
    visit_round: Callable[[Controller, int], dict[str, Tensor]],
    demonstrations: ImitationData,
    cfg: DaggerConfig,
    out_dir: Path,
    logger: Callable[[int], RunLogger],
) -> Controller:
    """All rounds, going on after those that ``out_dir`` holds; returns the last controller.

    Args:
        visit_round: gives what ``visit`` does, for a controller and a round's number.
        logger: makes one for a round.
    """
    device, rounds = controller.torque_limit.device, []
    for number in range(cfg.rounds):
        folder = out_dir / f"round_{number}"
        visited = folder / "visited.safetensors"
        if not visited.is_file():
            save_tensors(visited, visit_round(controller, number))
        rounds.append(load_tensors(visited))
        data = VisitedData(rounds, demonstrations, controller)

        def loss(
            _: Forward, step: int, data: VisitedData = data, student: Controller = controller
        ) -> dict[str, Tensor]:
            inputs, action = data.batch(cfg.loop.rows, cfg.demonstrations)
            return torque_loss(student, tuple(x.to(device) for x in inputs), action.to(device))

        log = logger(number)
        trained = fit(controller, loss, cfg.loop, folder, log, f"dagger {number}")
        log.close()
        assert isinstance(trained, Controller)
        controller = trained
    return controller
