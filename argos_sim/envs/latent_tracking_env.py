"""Isaac Lab's manager-based environment with senses: the one environment class of all ARGOS tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from isaaclab.envs import ManagerBasedRLEnv
from torch import Tensor

from argos_sim.envs.camera import moved_poses
from argos_sim.envs.distractors import SHAPES
from argos_sim.envs.sizes import scales
from argos_sim.perception import Perception
from argos_sim.platform import prepare
from argos_sim.randomization.draws import Draws
from argos_sim.randomization.dynamics import Disturbances, startup_params
from argos_sim.randomization.ranges import RandomizationRanges
from argos_sim.randomization.shifts import Shift
from argos_wm.encoders.state import StateEncoder
from argos_wm.latents import SpecMismatch

if TYPE_CHECKING:
    from argos_sim.actuators import MotorActuator
    from argos_sim.envs.latent_tracking import LatentTrackingEnvCfg
    from argos_sim.mdp.actions import TorqueAction
    from argos_sim.mdp.instructions import InstructionCommand
    from argos_sim.mdp.latent_target import LatentTargetCommand
    from argos_sim.randomization.curriculum import WidenRanges


def wrong_encoder(folder: str, encoded: Sequence[str], joints: Sequence[str]) -> str:
    """What to say of an encoder whose joints ``encoded`` are not the robot's."""
    return (
        f"The encoder {folder} was made for a robot with the joints {', '.join(encoded)}; this one's are "
        f"{', '.join(joints)}. Train an encoder for it with encoder.folder=null, or name one that was "
        "(env.perception.encoder=<run>/encoder in Isaac Lab's own commands)."
    )


class LatentTrackingEnv(ManagerBasedRLEnv):
    """Adds perception to ``ManagerBasedRLEnv``, and lets episodes begin only on camera frames.

    Attributes:
        perception: the senses of all environments, made before the managers, which refer to it.
        draws: from which limits each environment draws what is randomized at resets.
        disturbances: forces that nobody commands, likewise.
        widening: the curriculum of its ranges, if it has one.
        object_scale: (N, O) factor on the lengths of each object that instructions name.
        joint_unit: (J,) what counts as a radian of each joint, see ``LatentTrackingEnvCfg.joint_units``.
        shift: what lasts on top of the ranges, see ``shifts.set_world``.
        generator: the random numbers of resets, seeded by ``cfg.seed``.
    """

    cfg: LatentTrackingEnvCfg

    def __init__(self, cfg: LatentTrackingEnvCfg, render_mode: str | None = None, **kwargs: Any) -> None:
        # Also for environments that Isaac Lab's own commands make: they change fields that others depend on.
        prepare()
        cfg.apply()
        super().__init__(cfg, render_mode, **kwargs)

    def load_managers(self) -> None:
        """Make the senses, then the managers."""
        cfg, robot = self.cfg, self.scene["robot"]
        self.generator = torch.Generator(device=self.device).manual_seed(cfg.seed or 0)
        self.draws = Draws(cfg.ranges, self.num_envs, self.device)
        self.shift = Shift()
        self.object_scale = scales(cfg.scene, cfg.object_names(), cfg.ranges.object_size).to(self.device)
        joint_ids, names = robot.find_joints(list(cfg.joint_names), preserve_order=True)
        units = [cfg.joint_units.get(name, 1.0) for name in names]
        self.joint_unit = torch.tensor(units, device=self.device)
        encoder = None
        if cfg.perception.encoder is not None:
            encoder = StateEncoder.load(Path(cfg.perception.encoder), self.device)
            if tuple(names) != encoder.spec.joint_names:
                raise SpecMismatch(wrong_encoder(cfg.perception.encoder, encoder.spec.joint_names, names))
        self.perception = Perception(
            self.scene["camera"],
            robot,
            joint_ids,
            self.joint_unit,
            encoder,
            self.draws,
            cfg.rates,
            cfg.perception,
            (cfg.seed or 0) + 1,
        )
        others = tuple(SHAPES) if cfg.distractors else ()
        self.disturbances = Disturbances(self, (*cfg.object_names(), *others))
        self.require_timely(self.draws.widest)
        self.widening: WidenRanges | None = None
        self._frames_from = 0  # a control step, counted from the start, at which all cameras took a frame
        super().load_managers()

    @property
    def bus(self) -> TorqueAction:
        """The action term, and how it loses and delays commands."""
        return cast("TorqueAction", self.action_manager.get_term("torque"))

    @property
    def motors(self) -> MotorActuator:
        """The robot's motor model."""
        return self.scene["robot"].actuators["motors"]

    @property
    def instruction(self) -> InstructionCommand:
        """The command term that says what is to be done."""
        return cast("InstructionCommand", self.command_manager.get_term("instruction"))

    @property
    def target(self) -> LatentTargetCommand:
        """The command term that holds the latent targets."""
        return cast("LatentTargetCommand", self.command_manager.get_term("target"))

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
        if rounding:
            self._frames_from = self.common_step_counter
            if "target" in self.command_manager.active_terms:
                self.target.forget()  # it was planned for another age
                aged = getattr(self.target.source, "aged", None)
                if aged is not None:
                    aged(self)

    def reset_from(self, seed: int) -> Any:
        """``reset`` with all that is drawn, there and from there on, depending on ``seed`` alone."""
        self.generator.manual_seed(seed)
        self.perception.generator.manual_seed(seed + 1)
        torch.manual_seed(seed + 2)
        if self.target.source is not None:
            self.target.source.reseed(seed + 3)
        return self.reset()

    def reset(self, *args: Any, **kwargs: Any) -> Any:
        """As in Isaac Lab; it hands the motors the command of the last episode once more, which they forget here."""
        seen = super().reset(*args, **kwargs)
        self.motors.reset(None)
        return seen

    def step(self, action: Tensor) -> Any:
        """As in Isaac Lab, with pushes. Where physics broke, the episode ends and begins anew; its last reward, which
        may be anything or not a number, is zero, so that nothing of it reaches a trainer."""
        # Counted from where all began together, so that what is judged twice is pushed alike.
        self.disturbances.step(self.common_step_counter - self._frames_from)
        observations, reward, terminated, truncated, extras = super().step(action)
        reward.masked_fill_(terminated, 0.0)
        return observations, reward, terminated, truncated, extras

    def _reset_idx(self, env_ids) -> None:
        super()._reset_idx(env_ids)
        ids = torch.arange(self.num_envs, device=self.device)[env_ids]
        if len(ids) == self.num_envs:
            self._frames_from = self.common_step_counter
        # An episode that broke in between two frames gives way to one that is a little older, so that its frames fall
        # together with all others': the renderer draws every environment whenever one of them wants a picture.
        self._episode_length_buf[ids] = (
            self.common_step_counter - self._frames_from
        ) % self.cfg.rates.control_per_frame
        if self.cfg.commands.target is not None:
            begin = getattr(self.target.source, "begin", None)
            if begin is not None:
                begin(self, ids)
        self.place_cameras(ids, self.camera_poses(ids, self.draws))
        # Without this the first picture of an episode would show where the arm was when the last one ended. The scene's
        # own `write_data_to_sim` is left out: it would age the commands under way in all other environments by a step.
        self.sim.forward()
        self.perception.reset(ids)

    def camera_poses(self, ids: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Draw world positions (n, 3) and quaternions (n, 4) of the cameras ``ids``."""
        shift, turn = (
            draws.uniform(name, ids, (3,), self.generator) for name in ("camera_position", "camera_rotation")
        )
        return moved_poses(self.cfg.camera_pose, self.scene.env_origins[ids], shift, turn)

    def place_cameras(self, ids: Tensor, poses: tuple[Tensor, Tensor]) -> None:
        """Put the cameras of environments ``ids`` at ``poses``."""
        self.scene["camera"].set_world_poses(*poses, env_ids=ids.int(), convention="ros")

    def require_timely(self, ranges: RandomizationRanges) -> None:
        """Refuse delays that are longer than what is kept: they would be cut short, or fail at whichever reset draws
        them."""
        self.perception.require_timely(ranges)
        longest, kept = ranges.action_delay[1] + ranges.action_jitter[1], self.motors.cfg.max_delay
        if longest > kept:
            raise ValueError(
                f"An action_delay that with its action_jitter is up to {longest} physics steps is more than the {kept} "
                "that the motors keep."
            )

    def set_ranges(self, ranges: RandomizationRanges) -> None:
        """Randomize by other ranges from now on: draws dynamics and backgrounds anew; call ``reset`` afterwards."""
        if self.widening is not None:
            raise ValueError("The ranges of this environment belong to its curriculum, which widens them by itself.")
        self.require_timely(ranges)
        if ranges.distractors[1] > 0 and not self.cfg.distractors:
            raise ValueError(
                "These ranges lay distractors on the table, and the scene has none; make the environment with "
                "distractors=True."
            )
        if ranges.object_size != self.cfg.ranges.object_size:
            raise ValueError(
                f"These ranges want objects of sizes {ranges.object_size}, and the scene was made with "
                f"{self.cfg.ranges.object_size}; make another environment for them."
            )
        self.cfg.ranges = ranges
        self.draws.set(ranges)
        self.perception.draw_backgrounds()
        for name, params in startup_params(ranges, self.cfg.object_names()).items():
            self.event_manager.get_term_cfg(name).params.update(params)
        self.event_manager.apply(mode="startup")
