"""Adaptation: a deployed controller learns from its own experience, and keeps what it knew.

Neither reward nor expert is needed, so that it works on a robot as it is. After each round of episodes the robot knows
which commands its old self would have needed for the movements that it made, and which it gave (``translation.py``).
The controller then learns, in the states that it came to, what the deployed one would have commanded there, translated.
A camera that was moved is put right in its picture before that (``alignment.py``).

Two things protect what was known. A *replay* holds states of the old conditions, in which it goes on doing what it did;
what tells the two conditions apart is its history and its last action. A *trust region* bounds how far from that it
may come: the replay weighs more while the controller is beyond, and less while it is within, so that it learns along
the region's edge; where a round ends beyond all the same, it is cut to the part of its way that lies inside.

Learners, say of several seeds, share one environment: each owns an equal share of its robots.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from tqdm import tqdm

from argos_sim.configs import AdaptationConfig
from argos_sim.controller.alignment import PICTURES, Views
from argos_sim.controller.network import PROPRIO, TARGET_VISION, VISION, Controller, ControllerConfig
from argos_sim.controller.translation import ACTION, ALIVE, Experience, Translation
from argos_sim.evaluation import ControllerPolicy

if TYPE_CHECKING:
    from argos_sim.envs.latent_tracking_env import LatentTrackingEnv

GROUPS = (PROPRIO, VISION, TARGET_VISION)
STD = 0.1
"""Unit of the distance between two controllers' actions, in shares of the torque limit: what PPO explores with."""
LOOKED, STEP = 5, 1.5
"""Updates after which the replay's weight is multiplied or divided, and by what."""


class FleetPolicy:
    """Several controllers, each of which moves an equal share of the environments, in their order."""

    def __init__(self, controllers: list[Controller]) -> None:
        self.policies = [ControllerPolicy(controller) for controller in controllers]
        self.torque_limit = controllers[0].torque_limit

    @torch.no_grad()
    def act(self, obs: dict[str, Tensor]) -> Tensor:
        """See ``evaluation.Policy``."""
        shares = zip(*(obs[name].chunk(len(self.policies)) for name in GROUPS), strict=True)
        parts = [p.act(dict(zip(GROUPS, share, strict=True))) for p, share in zip(self.policies, shares, strict=True)]
        return torch.cat(parts)


@torch.no_grad()
def practise(env: LatentTrackingEnv, policy: FleetPolicy, cfg: AdaptationConfig, seed: int, label: str) -> Experience:
    """One episode in every environment, with exploration; all random numbers come from ``seed``.

    Returns:
        what was sensed (T, N, …) and done (T, N, J), float16, whether the episode was still the first (T, N), and the
        camera's frames (F, N, 3, H, W) uint8.
    """
    generator = torch.Generator().manual_seed(seed)
    obs, _ = env.reset_from(seed)
    kept: dict[str, list[Tensor]] = {name: [] for name in (*GROUPS, ACTION, ALIVE, PICTURES)}
    alive = torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
    noise, decay = 0.0, 1 - env.cfg.rates.control_dt / cfg.noise_time_s
    for step in tqdm(range(env.max_episode_length - 1), desc=label, leave=False):
        groups = cast("dict[str, Tensor]", obs)
        action = policy.act(groups)
        draw = torch.randn(action.shape, generator=generator).to(action.device)
        noise = decay * noise + cfg.noise * (1 - decay**2) ** 0.5 * draw
        action = (action + noise).clamp(-1, 1)
        for name in GROUPS:
            kept[name].append(groups[name].half().cpu())
        kept[ACTION].append(action.half().cpu())
        kept[ALIVE].append(alive.cpu().clone())
        if step % env.cfg.rates.control_per_frame == 0:
            kept[PICTURES].append(env.perception.exposed.cpu().clone())
        obs = env.step(action)[0]
        alive &= ~env.reset_buf  # where physics broke another episode has begun, of which this one's is no part
    return {name: torch.stack(parts) for name, parts in kept.items()}


def share_of(experience: Experience, index: int, count: int) -> Experience:
    """The part of an experience that learner ``index`` of ``count`` made."""
    return {name: value.chunk(count, 1)[index] for name, value in experience.items()}


def frames(experience: Experience, cfg: ControllerConfig, decode: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """What was seen and read whenever the camera took a frame, in whichever episode.

    Args:
        decode: proprioceptive latents (…, D) → joint states (…, 2J).

    Returns:
        pictures (F, N, 3, H, W), those that were late or lost on their way, too, and joint angles (F, N, J) [rad].
    """
    pictures, steps = experience[PICTURES], len(experience[ACTION])
    moments = slice(None, None, -(-steps // len(pictures)))
    history, *_ = cfg.split(experience[PROPRIO][moments].float())
    return pictures, decode(history[:, :, -1]).chunk(2, -1)[0]


def views_of(rounds: list[Experience], cfg: ControllerConfig, decode: Callable[[Tensor], Tensor]) -> Views:
    """All pictures of some rounds, with the joints at the time."""
    pictures, joints = (torch.cat(parts, 1) for parts in zip(*(frames(r, cfg, decode) for r in rounds), strict=True))
    episode = torch.arange(pictures.shape[1]).expand(len(pictures), -1)
    return Views(pictures.flatten(0, 1), joints.flatten(0, 1), episode.flatten())


class States:
    """What was sensed in rounds of experience, as inputs of a controller, drawn at random."""

    def __init__(self, rounds: list[Experience], deployed: Controller) -> None:
        self.cfg = deployed.cfg
        self.data = {name: torch.cat([r[name][r[ALIVE]] for r in rounds]) for name in GROUPS}
        with torch.no_grad():
            parts = [deployed.action(*self.inputs(i)).clamp(-1, 1) for i in torch.arange(len(self)).split(4096)]
        self.action = torch.cat(parts)
        """What the deployed controller does there (M, J)."""

    def __len__(self) -> int:
        return len(self.data[PROPRIO])

    def inputs(self, index: Tensor) -> tuple[Tensor, ...]:
        """Inputs of the controller in the states ``index (B,)``."""
        shape = (self.cfg.patches, self.cfg.channels)
        vision, target_vision = (self.data[k][index].float().unflatten(-1, shape) for k in (VISION, TARGET_VISION))
        return vision, target_vision, *self.cfg.split(self.data[PROPRIO][index].float())

    def latents(self) -> Tensor:
        """Proprioceptive latents (M, D) of the moments."""
        return self.cfg.split(self.data[PROPRIO].float())[0][:, -1]

    def apart(self, controller: Controller, wanted: Tensor, index: Tensor) -> Tensor:
        """Mean squared distance of ``controller`` from the actions ``wanted (M, J)`` in states ``index``, in STD²."""
        return ((controller.action(*self.inputs(index)) - wanted[index]) / STD).square().mean()


class Replay:
    """States of the old conditions, and what the deployed controller does there; some are kept for judging."""

    def __init__(self, states: States, judged: int = 1024) -> None:
        order = torch.randperm(len(states), generator=torch.Generator().manual_seed(0))
        count = min(judged, len(states) // 5)
        self.states, self.judged, self.learned = states, order[:count], order[count:]

    def loss(self, controller: Controller, size: int) -> Tensor:
        """Mean squared distance from what was done, in ``size`` random states, in STD²."""
        index = self.learned[torch.randint(len(self.learned), (size,))]
        return self.states.apart(controller, self.states.action, index)

    @torch.no_grad()
    def distance(self, controller: Controller) -> float:
        """RMS distance over the states kept for judging, in STD."""
        return float(self.states.apart(controller, self.states.action, self.judged).sqrt())


@torch.no_grad()
def cut_to_region(controller: Controller, before: dict[str, Tensor], replay: Replay, radius: float | None) -> float:
    """Leave ``controller`` the part of its way from the weights ``before`` that ends within the trust region.

    Returns:
        that share of the way; 1 where it ends inside anyway.
    """
    if radius is None or replay.distance(controller) <= radius:
        return 1.0
    after = copy.deepcopy(controller.state_dict())
    inside, outside = 0.0, 1.0
    for _ in range(8):
        share = 0.5 * (inside + outside)
        controller.load_state_dict({k: before[k].lerp(after[k], share) for k in after})
        inside, outside = (share, outside) if replay.distance(controller) <= radius else (inside, share)
    controller.load_state_dict({k: before[k].lerp(after[k], inside) for k in after})
    return inside


def learn(
    controller: Controller,
    states: States,
    translation: Translation,
    decode: Callable[[Tensor], Tensor],
    replay: Replay,
    cfg: AdaptationConfig,
    seed: int,
) -> dict[str, float]:
    """One round of learning, in place; all random numbers come from ``seed``.

    Args:
        states: that the learner came to, with what the deployed controller does there.
        decode: proprioceptive latents (M, D) → joint states (M, 2J).

    Raises:
        FloatingPointError: a loss or a weight became not finite; the controller has the weights of before the round.
    """
    torch.manual_seed(seed)
    wanted = translation(decode(states.latents()), states.action)
    before = copy.deepcopy(controller.state_dict())
    # Begun anew in each round: what lasts is in the weights and in the experience.
    optimizer = torch.optim.Adam(controller.parameters(), cfg.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg.updates)
    total, weight = 0.0, cfg.replay
    for update in range(1, cfg.updates + 1):
        if cfg.radius is not None and update % LOOKED == 0:
            weight *= STEP if replay.distance(controller) > cfg.radius else 1 / STEP
        loss = states.apart(controller, wanted, torch.randint(len(states), (cfg.batch_size,)))
        total += float(loss.detach()) / cfg.updates
        if weight > 0:
            loss = loss + weight * replay.loss(controller, cfg.batch_size)
        _require_finite([loss], "loss", update, controller, before)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(controller.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    _require_finite(controller.parameters(), "controller", cfg.updates, controller, before)
    kept = cut_to_region(controller, before, replay, cfg.radius)
    return {"loss": total, "kept": kept, "distance": replay.distance(controller), "weight": weight}


def _require_finite(
    values: Iterable[Tensor], name: str, update: int, controller: Controller, before: dict[str, Tensor]
) -> None:
    """Give ``controller`` its weights ``before`` back and stop, if one of ``values`` is not finite."""
    if all(bool(value.isfinite().all()) for value in values):
        return
    controller.load_state_dict(before)
    raise FloatingPointError(
        f"In update {update} of a round of adaptation the {name} became not finite; the weights of the round before "
        "are kept. Lower adaptation.learning.learning_rate."
    )
