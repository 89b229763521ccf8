"""Plans drawn beforehand: a source of targets that asks the planner once for many episodes.

A plan holds for the state that it was made from, so the bank keeps both: where arm and objects were when an episode
began, what was asked for, and all targets of that episode, imagined one after the other. Later episodes begin there and
are asked for the same. What is saved is most of the planning; what is lost is that a planner looks again at every tick:
targets after the first are imagined from imagined states, not from where the robot then is.

The bank fills with the first episodes that begin, and from then on a small share of the beginnings replaces its oldest
entries, so that its refreshing costs as much at any time. Background, light, camera and dynamics are the new episode's
own, as with demonstrations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from argos_sim.envs import distractors
from argos_sim.mdp import events
from argos_sim.randomization import dynamics
from argos_sim.targets import GIVEN, PlannerTargets
from argos_wm.latents import LatentState


@dataclass
class Entries:
    """M beginnings of episodes, and their plans of T targets."""

    joints: Tensor
    """(M, J) [rad]."""
    objects: Tensor
    """(M, O, 7) positions [m, environment frame] and quaternions, x, y, z, w."""
    table: Tensor
    """(M,) height of the table's top above the robot's foot [m]."""
    phrase: Tensor
    """(M,) index of the instruction."""
    vision: Tensor
    """(M, T, P, C)."""
    proprio: Tensor
    """(M, T, D)."""


class BankTargets:
    """Targets from plans of whole episodes, drawn beforehand.

    Args:
        planner: draws the plans.
        capacity: entries; fewer are in it until as many episodes began.
        refresh: share of the beginnings that draw a new plan although the bank is full.
    """

    def __init__(self, planner: PlannerTargets, capacity: int = 1024, refresh: float = 0.1, seed: int = 0) -> None:
        if capacity < 1 or not 0 <= refresh <= 1:
            raise ValueError(f"A bank of {capacity} plans of which {refresh} are drawn anew is none; see BankTargets.")
        self.planner, self.capacity, self.refresh = planner, capacity, refresh
        self.device = planner.planner.device
        self.generator = torch.Generator(device=self.device)
        self.entries: Entries | None = None
        self.drawn = 0
        """Plans drawn since the bank was empty."""
        self._entry = self._fresh = self._placed_at = torch.zeros(0, dtype=torch.long, device=self.device)
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """See ``TargetSource``; the bank is empty again, so that what follows depends on the seed alone."""
        self.generator.manual_seed(seed)
        self.drawn = 0

    @property
    def held(self) -> int:
        """Entries that are in the bank."""
        return min(self.drawn, self.capacity)

    def begin(self, env, ids: Tensor) -> None:
        """Choose which of the episodes of ``ids`` begin as an entry did, and which will be a new entry."""
        if len(self._entry) != env.num_envs:
            self._entry = torch.zeros(env.num_envs, dtype=torch.long, device=self.device)
            self._fresh = torch.ones(env.num_envs, dtype=torch.bool, device=self.device)
            self._placed_at = torch.zeros_like(self._entry)
        self._placed_at[ids] = env.episode_length_buf[ids]
        draw = torch.rand(2, len(ids), generator=self.generator, device=self.device)
        self._fresh[ids] = draw[0] < self.refresh if self.held == self.capacity else True
        self._entry[ids] = (draw[1] * self.held).long().clamp(max=max(self.held - 1, 0))
        known = ids[~self._fresh[ids]]
        if len(known):
            assert self.entries is not None, "an empty bank restores nothing"
            # New plans take the places of the ring while these episodes last.
            own = self.capacity + known
            for kept in vars(self.entries).values():
                kept[own] = kept[self._entry[known]]
            self._entry[known] = own
            self._restore(env, known)

    def aged(self, env) -> None:
        """Episodes stand where they began, and were given other ages."""
        self._placed_at = env.episode_length_buf.clone()

    def _restore(self, env, ids: Tensor) -> None:
        kept, entry = self.entries, self._entry[ids]
        assert kept is not None, "an empty bank restores nothing"
        env.instruction.phrase[ids] = kept.phrase[entry]
        events.write_joints(env, ids, kept.joints[entry], torch.zeros_like(kept.joints[entry]))
        dynamics.set_table(env, ids, kept.table[entry])
        if env.cfg.distractors:
            distractors.set_aside(env, ids)
        if env.widening is not None:
            env.widening.leave_out(ids, GIVEN)
        events.restore_objects(env, ids, kept.objects[entry])

    def targets(self, env, ids: Tensor, horizon: Tensor) -> LatentState:
        """See ``TargetSource``; episodes without a plan are given one, and the bank keeps it."""
        new = ids[self._fresh[ids]]
        if len(new):
            self._draw(env, new)
        kept = self.entries
        assert kept is not None, "begin() comes first"
        # The state whose time is nearest to when it is due; beyond the plan its last one stays wanted.
        rates, passed = env.cfg.rates, env.episode_length_buf[ids] - self._placed_at[ids]
        periods = (passed + horizon / rates.control_dt) / rates.control_per_plan
        entry, due = self._entry[ids], (periods.round().long() - 1).clamp(0, kept.vision.shape[1] - 1)
        return LatentState(kept.vision[entry, due], kept.proprio[entry, due], horizon)

    def _draw(self, env, ids: Tensor) -> None:
        """Plan the episodes of ``ids`` and put them, with their beginnings, in place of the oldest entries."""
        made = self._plan(env, ids)
        if self.entries is None:
            empty = {k: v.new_zeros(self.capacity + env.num_envs, *v.shape[1:]) for k, v in vars(made).items()}
            self.entries = Entries(**empty)
        # Beyond the ring of entries every environment has a place of its own, which nobody overwrites during its
        # episode, be it new or begun as an entry did; what the ring keeps is a copy.
        own = self.capacity + ids
        ring = (self.drawn + torch.arange(len(ids), device=self.device)) % self.capacity
        for name, value in vars(made).items():
            kept = getattr(self.entries, name)
            kept[own] = value
            kept[ring[-self.capacity :]] = value[-self.capacity :]
        self._entry[ids], self._fresh[ids] = own, False
        self.drawn += len(ids)

    @torch.no_grad()
    def _plan(self, env, ids: Tensor) -> Entries:
        rates, model = env.cfg.rates, self.planner.planner
        history, mask = env.perception.history(model.world_model.config.history, ids)
        texts, parts = env.instruction.text(ids), []
        for part in torch.arange(len(ids), device=env.device).split(self.planner.batch):
            seed = int(torch.randint(2**31, (1,), generator=self.generator, device=self.device))
            said = [texts[i] for i in part.tolist()]
            plan = model.plan(history[part], mask[part], said, env.cfg.plans_per_episode, rates.planner_period_s, seed)
            parts.append((plan.targets.vision, plan.targets.proprio))
        vision, proprio = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        robot, origins = env.scene["robot"].data, env.scene.env_origins[ids]
        position, rotation = (values[ids] for values in env.instruction.object_poses())
        foot = robot.root_pos_w.torch[ids, 2] - origins[:, 2]
        return Entries(
            joints=robot.joint_pos.torch[ids].clone(),
            objects=torch.cat([position - origins[:, None], rotation], -1),
            table=robot.default_root_pose.torch[ids, 2] - foot,
            phrase=env.instruction.phrase[ids],
            vision=vision,
            proprio=proprio,
        )
