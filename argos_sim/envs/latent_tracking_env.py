"""Isaac Lab's manager-based environment with senses: the one environment class of all ARGOS tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from isaaclab.envs import ManagerBasedRLEnv
from torch import Tensor

from argos_sim.envs.camera import jittered_poses
from argos_sim.perception import Perception
from argos_sim.randomization.ranges import RandomizationRanges
from argos_wm.encoders.state import StateEncoder
from argos_wm.latents import SpecMismatch

if TYPE_CHECKING:
    from argos_sim.envs.latent_tracking import LatentTrackingEnvCfg


class LatentTrackingEnv(ManagerBasedRLEnv):
    """Adds perception to ``ManagerBasedRLEnv``, and lets episodes begin only on camera frames.

    Attributes:
        perception: the senses of all environments, made before the managers, which refer to it.
        generator: the random numbers of resets, seeded by ``cfg.seed``.
    """

    cfg: LatentTrackingEnvCfg

    def load_managers(self) -> None:
        """Make the senses, then the managers."""
        cfg, robot = self.cfg, self.scene["robot"]
        self.generator = torch.Generator(device=self.device).manual_seed(cfg.seed or 0)
        joint_ids, names = robot.find_joints(list(cfg.joint_names), preserve_order=True)
        encoder = None
        if cfg.perception.encoder is not None:
            encoder = StateEncoder.load(Path(cfg.perception.encoder), self.device)
            if tuple(names) != encoder.spec.joint_names:
                raise SpecMismatch(
                    f"The robot's joints are {names}, the encoder {cfg.perception.encoder} was made for "
                    f"{list(encoder.spec.joint_names)}."
                )
        self.perception = Perception(
            self.scene["camera"], robot, joint_ids, encoder, cfg.ranges, cfg.rates, cfg.perception, (cfg.seed or 0) + 1
        )
        super().load_managers()

    @property
    def motors(self):
        """The robot's motor model."""
        return self.scene["robot"].actuators["motors"]

    @property
    def episode_length_buf(self) -> Tensor:
        """Control steps of each episode so far (N,)."""
        return self._episode_length_buf

    @episode_length_buf.setter
    def episode_length_buf(self, value: Tensor) -> None:
        # Trainers draw a random age for each environment. A frame is taken when an age is a multiple of the camera's
        # period; ages on different phases would render all environments at every step. Isaac Lab's own `+= 1` hands
        # back the same tensor and must not be rounded.
        previous = getattr(self, "_episode_length_buf", None)
        rounding = previous is not None and value is not previous
        self._episode_length_buf = value - value % self.cfg.rates.control_per_frame if rounding else value

    def _reset_idx(self, env_ids) -> None:
        super()._reset_idx(env_ids)
        ids = torch.arange(self.num_envs, device=self.device)[env_ids]
        if self.cfg.commands.target is not None:
            begin = getattr(self.command_manager.get_term("target").source, "begin", None)
            if begin is not None:
                begin(self, ids)
        self.place_cameras(ids, self.cfg.ranges)
        # Without this the first picture of an episode would show where the arm was when the last one ended.
        self.scene.write_data_to_sim()
        self.sim.forward()
        self.perception.reset(ids)

    def place_cameras(self, ids: Tensor, ranges: RandomizationRanges) -> None:
        """Put the cameras of environments ``ids`` anew, as far from their nominal pose as ``ranges`` allow."""
        position, rotation = jittered_poses(
            self.cfg.camera_pose,
            self.scene.env_origins[ids],
            ranges.camera_position,
            ranges.camera_rotation,
            self.generator,
        )
        self.scene["camera"].set_world_poses(position, rotation, env_ids=ids.int(), convention="ros")
