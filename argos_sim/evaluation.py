"""Figures of a controller in simulation: targets reached, errors, torque used, and whether what was asked was done.

Every share comes with its number of episodes and a 95 % interval: Wilson's for one outcome an episode, a bootstrap over
episodes for targets, since those of one episode are not independent.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import Tensor
from tqdm import tqdm

from argos_sim.controller.network import PROPRIO, TARGET_VISION, VISION, Controller
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.mdp.events import write_joints
from argos_sim.mdp.latent_target import JOINT_TOLERANCE
from argos_sim.recovery import paired_loss
from argos_wm.evaluation import wilson_interval

MOVING = JOINT_TOLERANCE
"""A target whose joints are further away than this [rad RMS] when it is given asks for a movement; nearer ones are
within the tolerance already."""


def cluster_bootstrap(value: Tensor, cluster: Tensor, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of ``value (M,)``, resampling the episodes ``cluster (M,)`` that they come from."""
    episodes, index = torch.unique(cluster, return_inverse=True)
    total = torch.zeros(len(episodes)).index_add_(0, index, value.float())
    count = torch.zeros(len(episodes)).index_add_(0, index, torch.ones(len(value)))
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randint(len(episodes), (draws, len(episodes)), generator=generator)
    means = total[sample].sum(1) / count[sample].sum(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975])).tolist()
    return low, high


class Policy(Protocol):
    """What moves the robot while it is judged."""

    torque_limit: Tensor
    """(J,) N·m."""

    def act(self, obs: dict[str, Tensor]) -> Tensor:
        """Actions (N, J) in shares of the torque limits, for the environment's observation groups."""
        ...


class ControllerPolicy:
    """A controller's mean action."""

    def __init__(self, controller: Controller) -> None:
        self.controller, self.torque_limit = controller, controller.torque_limit

    def act(self, obs: dict[str, Tensor]) -> Tensor:
        """See ``Policy``."""
        cfg = self.controller.cfg
        shape = (cfg.patches, cfg.channels)
        vision, target_vision = (obs[k].unflatten(-1, shape) for k in (VISION, TARGET_VISION))
        return self.controller.action(vision, target_vision, *cfg.split(obs[PROPRIO])).clamp(-1, 1)


class PerfectTracking:
    """No policy but a yardstick: the joints are *put* on the way to the target, whatever the dynamics.

    What then fails is not the dynamics' doing but the planner's and the encoder's. It is no bound: where a planner is
    weak its own targets lead it astray, and a controller that keeps to what demonstrations did reaches more.
    """

    def __init__(self, env: LatentTrackingEnv) -> None:
        joints = len(env.cfg.joint_names)
        self.env, self.torque_limit = env, torch.zeros(joints, device=env.device)
        self.every = torch.arange(env.num_envs, device=env.device)

    def act(self, obs: dict[str, Tensor]) -> Tensor:
        """See ``Policy``; the torques are zero."""
        position, velocity = self.env.target.path(ahead=1).chunk(2, -1)
        write_joints(self.env, self.every, position - velocity * self.env.cfg.rates.control_dt, velocity)
        return torch.zeros_like(position)


@torch.no_grad()
def run_episodes(env: LatentTrackingEnv, policy: Policy, label: str) -> dict[str, Tensor]:
    """One episode in every environment, from reset to its end.

    Returns:
        the target command's records, joined (M,), and ``torque`` (N,) RMS [N·m], ``success`` (N,). Of an episode that
        broken physics ended there are the targets of before, no torque and no success.
    """
    target, instruction = env.target, env.instruction
    target.cfg.record = True
    obs, _ = env.reset()
    kept: list[dict[str, Tensor]] = []
    squares = torch.zeros(env.num_envs, device=env.device)
    for _ in tqdm(range(env.max_episode_length - 1), desc=label, leave=False):
        action = policy.act(cast("dict[str, Tensor]", obs))
        target.records.clear()
        squares += (action * policy.torque_limit).square().mean(-1)
        obs = env.step(action)[0]
        squares[env.reset_buf] = float("nan")  # none is at its end yet
        # Where physics broke another episode has begun since, of which neither targets nor success are this one's.
        whole = ~squares.isnan()
        kept += [{k: v[whole[record["env"]]] for k, v in record.items()} for record in target.records]
    target.records.clear()
    if not any(len(record["env"]) for record in kept):
        raise ValueError(f"{label}: physics broke in every episode before a target was judged.")
    joined = {k: torch.cat([r[k] for r in kept]).float().cpu() for k in kept[0]}
    joined["torque"] = (squares / (env.max_episode_length - 1)).sqrt().cpu()
    joined["success"] = (instruction.success & ~squares.isnan()).float().cpu()
    return joined


def controller_figures(records: dict[str, Tensor]) -> dict[str, Any]:
    """Figures of one batch of episodes, flat, with their intervals."""
    episode, episodes = records["env"], len(records["success"])
    reached, moving = records["reached"], records["joint_error_given"] > MOVING
    successes = int(records["success"].sum())
    broken = int(torch.isnan(records["torque"]).sum())
    share = records["vision_error"] / records["vision_error_given"]
    figures: dict[str, Any] = {
        "episodes": episodes,
        "targets": len(reached),
        "reached": float(reached.mean()),
        "reached_ci": _share_interval(reached, episode, episodes),
        "joint_error_rad": float(records["joint_error"].square().mean().sqrt()),
        "joint_within_tolerance": float((records["joint_error"] <= JOINT_TOLERANCE).float().mean()),
        "vision_error": float(records["vision_error"].square().mean().sqrt()),
        "vision_share_median": float(share.median()),
        "torque_rms_nm": float(records["torque"].nanmean()),
        "physics_broke": broken,
        "success": successes / episodes,
        "success_ci": wilson_interval(successes, episodes),
    }
    if bool(moving.any()):
        figures |= {
            "moving_targets": int(moving.sum()),
            "reached_moving": float(reached[moving].mean()),
            "reached_moving_ci": _share_interval(reached[moving], episode[moving], len(episode[moving].unique())),
        }
    return figures


def _share_interval(value: Tensor, cluster: Tensor, episodes: int) -> tuple[float, float]:
    """95 % interval of a share of targets; where all or none were reached, whole episodes are all that is known."""
    if bool((value == value[0]).all()):
        return wilson_interval(episodes * int(value[0]), episodes)
    return cluster_bootstrap(value, cluster)


def judge(env: LatentTrackingEnv, policy: Policy, episodes: int, seed: int, label: str) -> dict[str, Tensor]:
    """Records of at least ``episodes`` episodes, in whole batches of the environment's size.

    With one seed every policy meets the same episodes, so that two policies' records can be paired.
    """
    batches, seen = [], 0
    while seen < episodes:
        for generator, offset in ((env.generator, 0), (env.perception.generator, 1)):
            generator.manual_seed(seed * 1_000_003 + 2 * len(batches) + offset)
        torch.manual_seed(seed + len(batches))
        records = run_episodes(env, policy, label)
        records["env"] = records["env"] + seen
        seen += len(records["success"])
        batches.append(records)
    return {k: torch.cat([b[k] for b in batches]) for k in batches[0]}


def outcomes_of_episodes(records: dict[str, Tensor]) -> dict[str, Tensor]:
    """``reached (N,)``, the share of each episode's targets, and ``success (N,)``, 0 or 1."""
    return {
        "reached": _mean_per_episode(records["env"].long(), records["reached"].float(), len(records["success"])),
        "success": records["success"].float(),
    }


def paired_gain(records: dict[str, Tensor], baseline: dict[str, Tensor]) -> dict[str, Any]:
    """By how much more a policy reaches and does than ``baseline`` in the same episodes (shares, −1 … 1): ``gain`` of
    its targets, and ``success_gain``, each with its ``_ci``."""
    outcomes, others = outcomes_of_episodes(records), outcomes_of_episodes(baseline)
    figures: dict[str, Any] = {}
    for name, outcome in (("gain", "reached"), ("success_gain", "success")):
        figures[name], figures[f"{name}_ci"] = paired_difference(outcomes[outcome], others[outcome])
    return figures


def paired_difference(values: Tensor, others: Tensor) -> tuple[float, tuple[float, float]]:
    """Mean of ``values (N,)`` − ``others (N,)``, of the same N episodes, and its 95 % interval.

    The interval resamples episodes, each with both values: what makes an episode hard is in both. Of values that are 0
    or 1 it is Agresti and Min's, see ``recovery.paired_loss``.
    """
    if all(bool(((x == 0) | (x == 1)).all()) for x in (values, others)):
        return paired_loss(values, others)
    difference = values - others
    return float(difference.mean()), cluster_bootstrap(difference, torch.arange(len(difference)))


def _mean_per_episode(episode: Tensor, value: Tensor, episodes: int) -> Tensor:
    total = torch.zeros(episodes).index_add_(0, episode, value)
    return total / torch.zeros(episodes).index_add_(0, episode, torch.ones_like(value)).clamp_min(1)
