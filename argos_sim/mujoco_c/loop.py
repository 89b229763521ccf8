"""The closed loop on MuJoCo: every 0.8 s the planner imagines a target, every 20 ms the controller commands torques.

Episodes, targets and their judgement are those of ``argos_sim.mdp.latent_target`` and ``argos_sim.evaluation``, so that
the records have the same figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.kinematics import cubic_path
from argos_sim.mujoco_c import motors, scene, senses
from argos_sim.mujoco_c.arms import Arms
from argos_sim.mujoco_c.senses import Senses
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.ranges import RandomizationRanges, range_names
from argos_wm.encoders.state import StateEncoder
from argos_wm.latents import LatentSpec, LatentState
from argos_wm.planner import Planner

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


class Drive(Protocol):
    """What moves the arms."""

    def reset(self) -> None:
        """New episodes begin."""
        ...

    def torques(self, loop: Loop) -> np.ndarray:
        """(N, J) [N·m], for this control step."""
        ...


class ExportedController:
    """One runtime an arm, each with the history of its own episode: the exported network as on a robot."""

    def __init__(self, folder: Path, arms: int, spec: LatentSpec) -> None:
        """``folder`` is an export; one made for other latents than ``spec`` is refused."""
        self.runtimes = [ControllerRuntime(folder) for _ in range(arms)]
        made_for = LatentSpec.from_json(self.runtimes[0].manifest.spec)
        made_for.require(spec, f"the exported controller {folder}", "the encoder")

    def reset(self) -> None:
        """See ``Drive``."""
        for runtime in self.runtimes:
            runtime.reset()

    def torques(self, loop: Loop) -> np.ndarray:
        """See ``Drive``."""
        now, target = loop.senses, loop.target
        each = (now.vision, now.proprio, target.vision, target.proprio)
        vision, proprio, target_vision, target_proprio = (x.numpy() for x in each)
        return np.stack(
            [
                runtime.step(vision[i], proprio[i], target_vision[i], target_proprio[i], loop.time_to_go)
                for i, runtime in enumerate(self.runtimes)
            ]
        )


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
        position, velocity = cubic_path(loop.start_raw, loop.target_raw, torch.full((count,), period), phase)
        loop.arms.put_joints(torch.cat([position - velocity * dt, velocity], -1).numpy())
        return super().torques(loop)


class Loop:
    """Episodes of N arms at a time.

    Args:
        ranges: randomization; axes that this loop does not have are refused.
        light: light each episode by an unseen lamp.
    """

    def __init__(
        self,
        world: World,
        ranges: RandomizationRanges,
        encoder: StateEncoder,
        planner: Planner,
        arms: int,
        light: bool = False,
        seed: int = 0,
    ) -> None:
        require_known(ranges)
        planner.spec.require(encoder.spec, "the planner", "the encoder")
        if world.joint_names != encoder.spec.joint_names:
            raise ValueError(f"The robot's joints are {world.joint_names}, the encoder's {encoder.spec.joint_names}.")
        self.ranges, self.encoder, self.planner, self.seed = ranges, encoder, planner, seed
        self.arms = Arms(world, arms)
        self.offsets = planner.world_model.config.history
        self.senses = Senses(self.arms, encoder, ranges, light, max(-x for x in self.offsets), seed)
        self.generator = torch.Generator(device=planner.device)

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
        self.generator.manual_seed(self.seed * 1_000_003 + batch)

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
        world, device = self.arms.world, self.planner.device
        history, mask = self.senses.history(self.offsets)
        text = self.planner.features([world.texts[i] for i in self.arms.asked])
        horizon = torch.full((len(self.arms),), self.time_to_go, device=device)
        wanted = self.planner.next_state(history.to(device), mask.to(device), text, horizon, self.generator)
        self.target: LatentState = wanted.to("cpu")
        self.target_raw = self.encoder.decode_proprio(self.target.proprio.to(self.encoder.device)).cpu()
        self.start_raw = torch.from_numpy(self.arms.joints()).float()
        self.given_vision, self.given_joints = self._vision_error(), self._joint_error()

    def _judge(self) -> dict[str, Tensor]:
        joints, vision = self._joint_error(), self._vision_error()
        reached = (joints <= JOINT_TOLERANCE) & (vision <= VISION_SHARE * self.given_vision)
        return {
            "env": torch.arange(len(self.arms)).float(),
            "reached": reached.float(),
            "joint_error": joints,
            "joint_error_given": self.given_joints,
            "vision_error": vision,
            "vision_error_given": self.given_vision,
        }

    def _vision_error(self) -> Tensor:
        return (self.senses.vision - self.target.vision).flatten(1).square().mean(1).sqrt()

    def _joint_error(self) -> Tensor:
        joints = self.target_raw.shape[1] // 2
        true = torch.from_numpy(self.arms.joints()).float()
        return (true - self.target_raw)[:, :joints].square().mean(1).sqrt()
