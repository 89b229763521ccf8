"""The closed loop on MuJoCo: every 0.8 s the planner imagines a target, every 20 ms the controller commands torques.

Episodes, targets and their judgement are those of ``argos_sim.mdp.latent_target`` and ``argos_sim.evaluation``, so that
the records have the same figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.kinematics import cubic_path
from argos_sim.mujoco_c import motors, scene, senses
from argos_sim.mujoco_c.arms import Arms
from argos_sim.mujoco_c.policy import BatchedPolicy
from argos_sim.mujoco_c.senses import Senses
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.ranges import RandomizationRanges, range_names
from argos_wm.latents import LatentSpec

JOINT_TOLERANCE, VISION_SHARE = 0.10, 0.5
"""When a target counts as reached: rad RMS, and the share of the initial vision error that may remain."""
KNOWN = (*scene.RANGES, *motors.RANGES, *senses.RANGES)
"""Ranges that this loop can draw."""


def require_known(ranges: RandomizationRanges) -> None:
    """Refuse ranges with axes that this loop does not have."""
    nominal = RandomizationRanges()
    other = [n for n in range_names() if n not in KNOWN and getattr(ranges, n) != getattr(nominal, n)]
    if other:
        raise ValueError(
            f"MuJoCo's loop cannot randomize {', '.join(other)}. Name other evaluation.transfer_conditions, or judge "
            "on Isaac Lab's engines alone (transfer_own, transfer_other)."
        )


Infer = Callable[[dict[str, np.ndarray]], np.ndarray]
"""A controller: its inputs by name, N rows each, to torques (N, J) [N·m]; see ``ControllerRuntime.infer``."""


class Drive(Protocol):
    """What moves the arms."""

    def reset(self) -> None:
        """New episodes begin."""
        ...

    def torques(self, loop: Loop) -> np.ndarray:
        """(N, J) [N·m], for this control step."""
        ...


class BatchedController:
    """A controller, with the history of each arm's episode; what ``ControllerRuntime`` is to one robot."""

    def __init__(self, infer: Infer, manifest: PolicyManifest) -> None:
        self.infer, self.manifest = infer, manifest
        self._scale = np.asarray(manifest.action_scale, dtype=np.float32)

    @staticmethod
    def load(folder: Path | str, policy: BatchedPolicy) -> BatchedController:
        """That of an export; ``SpecMismatch`` if it was made for other latents than ``policy`` has."""
        runtime = ControllerRuntime(folder)
        made_for, given = (LatentSpec.from_json(x.manifest.spec) for x in (runtime, policy))
        made_for.require(given, f"the exported controller {folder}", "the exported encoder")
        return BatchedController(runtime.infer, runtime.manifest)

    def reset(self) -> None:
        """See ``Drive``: the next observation fills the whole history, and the last action is zero."""
        self._history: np.ndarray | None = None

    def torques(self, loop: Loop) -> np.ndarray:
        """See ``Drive``."""
        vision, proprio = loop.senses.vision, loop.senses.proprio
        if self._history is None:
            self._history = np.repeat(proprio[:, None], self.manifest.history + 1, 1)
            self._last_action = np.zeros((len(proprio), len(self._scale)), dtype=np.float32)
        self._history = np.concatenate([self._history[:, 1:], proprio[:, None]], 1)
        torque = self.infer(
            {
                "vision": vision,
                "target_vision": loop.target[0],
                "proprio": self._history,
                "target_proprio": loop.target[1],
                "last_action": self._last_action,
                "time_to_go": np.full((len(proprio), 1), loop.time_to_go, dtype=np.float32),
            }
        )
        self._last_action = torque / self._scale
        return torque


class NoTorque:
    """Limp arms: what this reaches, the scene does by itself."""

    def reset(self) -> None:
        """See ``Drive``."""

    def torques(self, loop: Loop) -> np.ndarray:
        """See ``Drive``."""
        return np.zeros((len(loop.arms), len(loop.arms.world.joint_names)))


class PerfectTracking(NoTorque):
    """The joints are put on the way to the target, as by ``argos_sim.evaluation.PerfectTracking``."""

    def torques(self, loop: Loop) -> np.ndarray:
        """See ``Drive``; the torques are zero."""
        dt, period = loop.arms.world.rates.control_dt, loop.arms.world.rates.planner_period_s
        count = len(loop.arms)
        phase = torch.full((count,), 1 - (loop.time_to_go - dt) / period)
        start, target = (torch.from_numpy(raw) for raw in (loop.start_raw, loop.target_raw))
        position, velocity = cubic_path(start, target, torch.full((count,), period), phase)
        loop.arms.put_joints(torch.cat([position - velocity * dt, velocity], -1).numpy())
        return super().torques(loop)


class Loop:
    """Episodes of N arms at a time.

    Attributes:
        target: the wanted states, vision (N, P, C) and proprio (N, D), and ...
        time_to_go: ... until they are due [s].

    Args:
        policy: sees, feels and plans.
        ranges: randomization; axes that this loop does not have are refused.
        light: light each episode by an unseen lamp.
    """

    def __init__(
        self,
        world: World,
        ranges: RandomizationRanges,
        policy: BatchedPolicy,
        arms: int,
        light: bool = False,
        seed: int = 0,
    ) -> None:
        """``DeployError`` or ``ValueError`` in one sentence if policy, world and ranges do not go together."""
        require_known(ranges)
        _require_made_for(world, policy)
        self.ranges, self.policy, self.seed = ranges, policy, seed
        self.arms = Arms(world, arms)
        self.senses = Senses(self.arms, policy, ranges, light, seed)

    def run(self, drive: Drive, episodes: int, label: str) -> dict[str, Tensor]:
        """Records of ``episodes`` episodes, N at a time, as ``argos_sim.evaluation.judge`` has them.

        With one seed every drive meets the same episodes.
        """
        batches, seen = [], 0
        with tqdm(total=episodes, desc=label, leave=False) as bar:
            while seen < episodes:
                records = self._episodes(drive, len(batches))
                records["env"] = records["env"] + seen
                seen += len(self.arms)
                batches.append(records)
                bar.update(len(self.arms))
        return {k: torch.cat([b[k] for b in batches]) for k in batches[0]}

    def begin(self, batch: int = 0) -> None:
        """Reset all arms to the episodes of ``batch``."""
        rng = np.random.default_rng((self.seed, batch))
        self.arms.reset(self.ranges, rng)
        self.senses.reset(rng, self.seed * 1_000_003 + batch)
        self._noise = np.random.default_rng((self.seed, batch, 1))  # its own, whatever else is drawn

    def _episodes(self, drive: Drive, batch: int) -> dict[str, Tensor]:
        arms, rates = self.arms, self.arms.world.rates
        self.begin(batch)
        drive.reset()
        squares, judged = np.zeros(len(arms)), []
        for step in range(arms.world.steps):
            self.sense(step)
            if step % rates.control_per_plan == 0:
                if step:
                    judged.append(self._judge())
                self._plan()
            torque = drive.torques(self)
            squares += np.square(torque).mean(1)
            arms.step(torque)
        records = {k: torch.cat([j[k] for j in judged]) for k in judged[0]}
        torque = np.where(arms.broken, np.nan, np.sqrt(squares / arms.world.steps))
        return records | {
            "torque": torch.from_numpy(torque).float(),
            "success": torch.from_numpy(arms.success()).float(),
        }

    def sense(self, step: int) -> None:
        """Read and, if a frame is due, look, at control step ``step`` of the episodes."""
        rates = self.arms.world.rates
        self.time_to_go = (rates.control_per_plan - step % rates.control_per_plan) * rates.control_dt
        self.senses.read()
        if step % rates.control_per_frame == 0:
            self.senses.look()

    def _plan(self) -> None:
        """Imagine the next target from what was seen, felt and said."""
        history, known = self.senses.history()
        texts = [self.arms.world.texts[i] for i in self.arms.asked]
        horizon = np.full(len(self.arms), self.time_to_go)
        self.target = self.policy.plan(history, known, texts, horizon, self._noise)
        self.target_raw = self.policy.joints(self.target[1])
        self.start_raw = self.arms.joints().astype(np.float32)
        self.given_vision, self.given_joints = self._vision_error(), self._joint_error()

    def _judge(self) -> dict[str, Tensor]:
        joints, vision = self._joint_error(), self._vision_error()
        reached = (joints <= JOINT_TOLERANCE) & (vision <= VISION_SHARE * self.given_vision)
        found = {
            "env": np.arange(len(self.arms)),
            "reached": reached,
            "joint_error": joints,
            "joint_error_given": self.given_joints,
            "vision_error": vision,
            "vision_error_given": self.given_vision,
        }
        return {name: torch.from_numpy(value).float() for name, value in found.items()}

    def _vision_error(self) -> np.ndarray:
        return np.sqrt(np.square(self.senses.vision - self.target[0]).mean((1, 2)))

    def _joint_error(self) -> np.ndarray:
        joints = self.target_raw.shape[1] // 2
        return np.sqrt(np.square((self.arms.joints() - self.target_raw)[:, :joints]).mean(1))


def _require_made_for(world: World, policy: BatchedPolicy) -> None:
    """Refuse a policy of another robot, of other clocks, or of several cameras."""
    manifest = policy.manifest
    cameras = LatentSpec.from_json(manifest.spec).cameras
    if len(cameras) > 1:
        raise DeployError(f"The policy has the cameras {', '.join(cameras)}, and MuJoCo's loop has one.")
    for what, mine, its in (
        ("joints", world.joint_names, manifest.joint_names),
        ("rates", dataclasses.asdict(world.rates), manifest.rates),
    ):
        if mine != its:
            raise DeployError(f"The robot's {what} are {mine}, the policy's {its}.")
