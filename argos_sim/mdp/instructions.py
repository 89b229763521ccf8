"""The instruction of each episode, and whether the object that it names was the first to be touched."""

# Isaac Lab fills MISSING fields later and types the environment of a term more loosely than it is.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportIncompatibleVariableOverride=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING
from typing import TYPE_CHECKING

import torch
from isaaclab.managers import CommandTerm, CommandTermCfg
from isaaclab.utils import configclass
from isaaclab.utils.math import quat_apply, quat_apply_inverse
from torch import Tensor

if TYPE_CHECKING:
    from argos_sim.envs.latent_tracking_env import LatentTrackingEnv

FOREVER = 1e9
"""Seconds; an instruction holds for its episode."""


class InstructionCommand(CommandTerm):
    """Names one of several objects in one of several phrasings, drawn at each reset.

    Attributes:
        named: (N,) index of the named object.
        phrase: (N,) index into ``texts``.
        first_touched: (N,) index of the first object touched in this episode, −1 for none yet.
        touched_at: (N,) control step of that touch.
    """

    cfg: InstructionCommandCfg

    _env: LatentTrackingEnv

    def __init__(self, cfg: InstructionCommandCfg, env: LatentTrackingEnv) -> None:
        super().__init__(cfg, env)
        self.objects = tuple(cfg.phrasings)
        self.texts = [text for texts in cfg.phrasings.values() for text in texts]
        self.object_of_text = [i for i, texts in enumerate(cfg.phrasings.values()) for _ in texts]
        self._object_of_text = torch.tensor(self.object_of_text, device=self.device)
        self.phrase = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self.first_touched = torch.full((self.num_envs,), -1, dtype=torch.long, device=self.device)
        self.touched_at = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self._robot = env.scene["robot"]
        self._tip_body = self._robot.find_bodies(cfg.tip_body)[0][0]
        self._tip_offset = torch.tensor(cfg.tip_offset, device=self.device)
        self.metrics["success"] = torch.zeros(self.num_envs, device=self.device)

    @property
    def named(self) -> Tensor:
        return self._object_of_text[self.phrase]

    @property
    def command(self) -> Tensor:
        """The named object as one-hot (N, objects)."""
        return torch.nn.functional.one_hot(self.named, len(self.objects)).float()

    @property
    def success(self) -> Tensor:
        """(N,) True where the named object was touched before any other."""
        return self.first_touched == self.named

    def text(self, ids: Tensor) -> list[str]:
        """The instructions of environments ``ids``."""
        return [self.texts[i] for i in self.phrase[ids].tolist()]

    def tip_position(self) -> Tensor:
        """Fingertips (N, 3) in the world frame [m]."""
        data = self._robot.data
        position, rotation = data.body_pos_w.torch[:, self._tip_body], data.body_quat_w.torch[:, self._tip_body]
        return position + quat_apply(rotation, self._tip_offset.expand_as(position))

    def object_poses(self) -> tuple[Tensor, Tensor]:
        """Objects' positions (N, O, 3) [m] and quaternions (N, O, 4), x, y, z, w, in the world frame."""
        data = [self._env.scene[name].data for name in self.objects]
        return (
            torch.stack([d.root_pos_w.torch for d in data], 1),
            torch.stack([d.root_quat_w.torch for d in data], 1),
        )

    def tip_distance(self) -> Tensor:
        """Distance (N, O) [m] from the fingertip to each object's surface, zero inside."""
        position, rotation = self.object_poses()
        offset = self.tip_position()[:, None] - position
        local = quat_apply_inverse(rotation.flatten(0, 1), offset.flatten(0, 1)).view_as(offset)
        return (local.abs() - self.cfg.object_half_size).clamp_min(0).norm(dim=-1)

    def _update_metrics(self) -> None:
        distance, nearest = self.tip_distance().min(-1)
        new = (self.first_touched < 0) & (distance <= self.cfg.touch_distance)
        self.first_touched[:] = torch.where(new, nearest, self.first_touched)
        self.touched_at[:] = torch.where(new, self._env.episode_length_buf, self.touched_at)
        self.metrics["success"][:] = self.success.float()

    def _resample_command(self, env_ids: Sequence[int] | slice) -> None:
        count = len(self.phrase[env_ids])
        generator = getattr(self._env, "generator", None)
        # Objects first, so that one with fewer phrasings is named as often.
        named = torch.randint(len(self.objects), (count,), generator=generator, device=self.device)
        sizes = torch.tensor([len(t) for t in self.cfg.phrasings.values()], device=self.device)
        first = sizes.cumsum(0) - sizes
        draw = torch.rand(count, generator=generator, device=self.device)
        self.phrase[env_ids] = first[named] + (draw * sizes[named]).long()
        self.first_touched[env_ids] = -1

    def _update_command(self) -> None:
        pass


@configclass
class InstructionCommandCfg(CommandTermCfg):
    """What can be said, and what counts as a touch."""

    class_type: type = InstructionCommand
    resampling_time_range: tuple[float, float] = (FOREVER, FOREVER)
    phrasings: dict[str, list[str]] = MISSING
    """Scene object → ways to ask for it."""
    tip_body: str = MISSING
    """Link that carries the fingertip."""
    tip_offset: tuple[float, float, float] = MISSING
    """Fingertip in that link's frame [m]."""
    object_half_size: float = 0.015
    """Half an edge of the cubes [m]."""
    touch_distance: float = 0.01
    """A fingertip this near to a surface touches it [m]: half the width of the jaw's pad."""
