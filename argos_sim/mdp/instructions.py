"""The instruction of each episode: what is asked for, in which words, and whether it is done.

A task asks for something to be done with one of its objects, or with one of them and one of its places; what counts as
done is a task's own (``TouchCommand`` and its like in ``mdp/outcomes.py``). Which object was the first to be touched is
known for all tasks.
"""

# Isaac Lab fills MISSING fields later and types the environment of a term more loosely than it is.
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportIncompatibleVariableOverride=false

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import MISSING
from string import Formatter
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
    """Asks for one of several goals in one of several phrasings, drawn at each reset.

    Attributes:
        objects, places: names; ``goals`` the pairs of their indices that can be asked for, the place −1 where a task
            has none.
        texts: all instructions, ``phrasings`` for each goal.
        phrase: (N,) index into ``texts``.
        first_touched: (N,) index of the first object touched in this episode, −1 for none yet.
        touched_at: (N,) control step of that touch.
        half_size: (N, O) half an edge of each object [m].
    """

    cfg: InstructionCommandCfg

    _env: LatentTrackingEnv

    def __init__(self, cfg: InstructionCommandCfg, env: LatentTrackingEnv) -> None:
        super().__init__(cfg, env)
        self.objects, self.places, goals = cfg.objects, cfg.places, cfg.goals()
        self.texts = [text for texts in cfg.phrasings().values() for text in texts]
        self._goals = torch.tensor(list(goals.values()), device=self.device)
        self.phrase = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self.first_touched = torch.full((self.num_envs,), -1, dtype=torch.long, device=self.device)
        self.touched_at = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self._robot = env.scene["robot"]
        self._tip_body = self._robot.find_bodies(cfg.tip_body)[0][0]
        self._tip_offset = torch.tensor(cfg.tip_offset, device=self.device)
        self._every = torch.arange(self.num_envs, device=self.device)
        self.half_size = cfg.object_half_size * env.object_scale
        self.metrics["success"] = torch.zeros(self.num_envs, device=self.device)

    @property
    def goal(self) -> Tensor:
        """(N,) index of what is asked for."""
        return self.phrase // len(self.cfg.templates)

    @property
    def named(self) -> Tensor:
        """(N,) index of the object that is named."""
        return self._goals[self.goal, 0]

    @property
    def place(self) -> Tensor:
        """(N,) index of the place that is named, −1 for none."""
        return self._goals[self.goal, 1]

    @property
    def command(self) -> Tensor:
        """What is asked for as one-hot (N, goals)."""
        return torch.nn.functional.one_hot(self.goal, len(self._goals)).float()

    @property
    @abstractmethod
    def success(self) -> Tensor:
        """(N,) True where what is asked for is done now."""

    def text(self, ids: Tensor) -> list[str]:
        """The instructions of environments ``ids``."""
        return [self.texts[i] for i in self.phrase[ids].tolist()]

    def ask_anew(self, ids: Tensor) -> None:
        """Give environments ``ids`` another instruction, drawn as at the start of an episode."""
        self._resample_command(ids)  # pyright: ignore[reportArgumentType]

    def tip_position(self) -> Tensor:
        """Fingertips (N, 3) in the world frame [m]."""
        data = self._robot.data
        position, rotation = data.body_pos_w.torch[:, self._tip_body], data.body_quat_w.torch[:, self._tip_body]
        return position + quat_apply(rotation, self._tip_offset.expand_as(position))

    def named_position(self) -> Tensor:
        """Centre of the named object (N, 3) in its environment's frame [m]."""
        return self.object_positions()[self._every, self.named] - self._env.scene.env_origins

    def object_positions(self) -> Tensor:
        """Objects' positions (N, O, 3) in the world frame [m]."""
        return torch.stack([self._env.scene[name].data.root_pos_w.torch for name in self.objects], 1)

    def object_poses(self) -> tuple[Tensor, Tensor]:
        """Objects' positions (N, O, 3) [m] and quaternions (N, O, 4), x, y, z, w, in the world frame."""
        turns = torch.stack([self._env.scene[name].data.root_quat_w.torch for name in self.objects], 1)
        return self.object_positions(), turns

    def tip_distance(self) -> Tensor:
        """Distance (N, O) [m] from the fingertip to each object's surface, zero inside."""
        position, rotation = self.object_poses()
        offset = self.tip_position()[:, None] - position
        local = quat_apply_inverse(rotation.flatten(0, 1), offset.flatten(0, 1)).view_as(offset)
        return (local.abs() - self.half_size[..., None]).clamp_min(0).norm(dim=-1)

    def _update_metrics(self) -> None:
        # Not `min`, which hands even this little to a second thread on a CPU. That thread then waits for more work
        # without sleeping, on the core that physics needs: 9 ms of each step, and a tenth of the environment's speed.
        gap = self.tip_distance()
        distance, nearest = gap.amin(-1), gap.argmin(-1)
        new = (self.first_touched < 0) & (distance <= self.cfg.touch_distance)
        self.first_touched[:] = torch.where(new, nearest, self.first_touched)
        self.touched_at[:] = torch.where(new, self._env.episode_length_buf, self.touched_at)
        done = self.success
        if done.shape != self.first_touched.shape or done.dtype != torch.bool:
            raise ValueError(
                f"{type(self).__name__}.success is {tuple(done.shape)} of {done.dtype}; it must say True or False for "
                f"each of the {self.num_envs} environments, as ({self.num_envs},) of torch.bool."
            )
        self.metrics["success"][:] = done.float()

    def _resample_command(self, env_ids: Sequence[int] | slice) -> None:
        count = len(self.phrase[env_ids])
        generator = getattr(self._env, "generator", None)
        self.phrase[env_ids] = torch.randint(len(self.texts), (count,), generator=generator, device=self.device)
        self.first_touched[env_ids] = -1

    def _update_command(self) -> None:
        pass


@configclass
class InstructionCommandCfg(CommandTermCfg):
    """What can be said, and what counts as a touch."""

    class_type: type = MISSING
    resampling_time_range: tuple[float, float] = (FOREVER, FOREVER)
    objects: tuple[str, ...] = MISSING
    """Names of scene objects."""
    places: tuple[str, ...] = ()
    """Where an object can be asked to be; a place that is an object's name is not asked of that object itself."""
    templates: tuple[str, ...] = MISSING
    """Ways to say it, with ``{object}`` and ``{place}``."""
    tip_body: str = MISSING
    """Link that carries the fingertip."""
    tip_offset: tuple[float, float, float] = MISSING
    """Fingertip in that link's frame [m]."""
    object_half_size: float = 0.015
    """Half an edge of the cubes as they are modelled [m]."""
    touch_distance: float = 0.01
    """A fingertip this near to a surface touches it [m]: half the width of the jaw's pad."""

    def goals(self) -> dict[str, tuple[int, int]]:
        """Name → object's and place's index, in the order in which they are numbered."""
        if not self.places:
            return {name: (i, -1) for i, name in enumerate(self.objects)}
        pairs = itertools.product(enumerate(self.objects), enumerate(self.places))
        return {f"{thing} {place}": (i, j) for (i, thing), (j, place) in pairs if thing != place}

    def phrasings(self) -> dict[str, list[str]]:
        """Goal → the ways to ask for it.

        Raises:
            ValueError: the templates cannot be filled in, or say the same for two goals.
        """
        self._require_templates()
        names = {goal: (self.objects[i], self.places[j] if j >= 0 else "") for goal, (i, j) in self.goals().items()}
        texts = {
            goal: [text.format(object=thing, place=place) for text in self.templates]
            for goal, (thing, place) in names.items()
        }
        counts = Counter(itertools.chain.from_iterable(texts.values()))
        twice = [text for text, count in counts.items() if count > 1]
        if twice:
            raise ValueError(
                f"The templates say {twice[0]!r} for more than one goal; name {{object}} and {{place}} in each."
            )
        return texts

    def _require_templates(self) -> None:
        if isinstance(self.templates, str) or not self.templates:
            raise ValueError(
                f"templates = {self.templates!r} must be a tuple of one text or more; one alone needs its comma, as in "
                "('touch the {object} block',)."
            )
        known = {"object"} | ({"place"} if self.places else set())
        for template in self.templates:
            try:
                fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
            except ValueError as error:
                raise ValueError(f"The template {template!r} cannot be read ({error}).") from None
            if fields - known:
                given = " and ".join(f"{{{name}}}" for name in sorted(known))
                raise ValueError(
                    f"The template {template!r} has {{{sorted(fields - known)[0]}}}; this task fills in {given} only."
                )
