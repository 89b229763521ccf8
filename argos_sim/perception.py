"""From camera frames and joint read-outs to latents, at each sensor's own rate, batched over environments.

Two clocks: ``sense`` reads the joints once a control step, with each environment's bias, noise, rounding and delay;
``look`` renders at the camera's rate, puts the environment's background behind the robot and the objects, applies its
lens and photometrics and encodes, unless the frame is lost; a late one it keeps until it arrives. Between frames the
vision latent is held, as it is on a robot. ``look`` belongs after resets, so that a fresh episode begins with a fresh
picture and no step renders twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from isaaclab.sim import SimulationContext
from isaaclab_physx.renderers import IsaacRtxRendererCfg
from torch import Tensor

from argos_sim.paths import PRETRAINED
from argos_sim.randomization.backgrounds import canonical_background, composite, make_background_bank
from argos_sim.randomization.draws import Draws
from argos_sim.randomization.lens import Lens
from argos_sim.randomization.photometrics import PhotometricState
from argos_sim.randomization.ranges import RandomizationRanges
from argos_sim.rates import Rates
from argos_wm.encoders.state import StateEncoder
from argos_wm.latents import LatentState

CLASSES = ("background", "robot", "red", "green", "blue")
"""Semantic classes in the order of the ids that ``Perception.render`` returns."""
DISTRACTOR = "distractor"
"""Class of what is in the picture and in no instruction; ``render`` numbers it after ``CLASSES``."""

SENSED_STEPS = 3
"""Control steps of joint states kept for the observation delay."""


@dataclass
class PerceptionCfg:
    """What the environment's perception is made of."""

    image_size: int = 64
    """Pixels, square."""
    encoder: str | None = str(PRETRAINED / "encoder")
    """Folder of a saved ``StateEncoder``; None records images without encoding them."""
    backgrounds: int = 512
    """Procedural backgrounds drawn at the start, and whenever other ranges are set."""
    history_s: float = 0.8
    """Seconds of past frames kept for the planner."""
    control_history: int = 0
    """K, past control steps of proprioception kept for the controller."""
    encode_batch: int = 1024
    """Images encoded at once."""


class Eyes(Protocol):
    """Who encodes pictures in the place of ``Perception.encode``, knowing whose they are."""

    def reset(self, ids: Tensor) -> None:
        """Episodes begin in the environments ``ids``."""
        ...

    def encode(self, pictures: Tensor, ids: Tensor, arrived: bool) -> Tensor:
        """Latents (n, P, C) of ``pictures (n, 3, H, W)`` of the environments ``ids``, which have ``arrived`` there or
        are looked at by a judge alone."""
        ...


class Perception:
    """The senses of all environments.

    Args:
        camera: an Isaac Lab camera with rgb and semantic segmentation (not colorised).
        robot: the articulation, joints in the order of ``LatentSpec.joint_names``.
        joint_ids: (J,) indices of those joints in the articulation.
        joint_unit: (J,) what counts as a radian of each, in which read-outs are wrong, noisy and rounded.
        encoder: None to record images only.
        draws: limits of what is drawn for each environment.

    Attributes:
        eyes: encode pictures instead of ``encode``, where there are any.
    """

    def __init__(
        self,
        camera,
        robot,
        joint_ids: list[int],
        joint_unit: Tensor,
        encoder: StateEncoder | None,
        draws: Draws,
        rates: Rates,
        cfg: PerceptionCfg,
        seed: int,
    ) -> None:
        if "semantic_segmentation" not in camera.cfg.data_types:
            raise ValueError(
                "The camera gives no semantic_segmentation, without which no background can be put behind robot and "
                "objects; add it to the camera's data_types, and choose a renderer that has it (newton_renderer has)."
            )
        self.camera, self.robot, self.encoder = camera, robot, encoder
        self.joint_ids, self.joint_unit, self.draws, self.rates, self.cfg = joint_ids, joint_unit, draws, rates, cfg
        self.device = robot.device
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        n, j, size = robot.num_instances, len(joint_ids), cfg.image_size
        self.draw_backgrounds()
        self.background = torch.zeros(n, dtype=torch.long, device=self.device)
        self.photometrics = PhotometricState.nominal(n, self.device)
        self.lens = Lens.nominal(n, self.device)
        self.encoder_bias = torch.zeros(n, j, device=self.device)
        self.encoder_noise = torch.zeros(n, j, device=self.device)
        self.encoder_step = torch.zeros(n, j, device=self.device)
        self.delay_steps = torch.zeros(n, device=self.device)
        self.frame_loss = torch.zeros(n, device=self.device)
        self.frame_delay = torch.zeros(n, dtype=torch.long, device=self.device)
        self.images = torch.zeros(n, 3, size, size, dtype=torch.uint8, device=self.device)
        self._under_way = torch.zeros_like(self.images)
        self._arrives_in = torch.full((n,), -1, dtype=torch.long, device=self.device)  # control steps; −1: nothing
        self._states = torch.zeros(SENSED_STEPS, n, 2 * j, device=self.device)
        self.raw_proprio = torch.zeros(n, 2 * j, device=self.device)
        self._stale = torch.ones(n, dtype=torch.bool, device=self.device)
        self._sensed_at = self._looked_at = -1
        self._class_of_id: Tensor | None = None
        self.eyes: Eyes | None = None
        if encoder is not None:
            self._allocate_latents(n, encoder)

    def _allocate_latents(self, n: int, encoder: StateEncoder) -> None:
        spec = encoder.spec
        frames = round(self.cfg.history_s * self.rates.camera_hz) + 1
        self.vision = torch.zeros(n, spec.patches, spec.channels, device=self.device)
        self.proprio = torch.zeros(n, spec.proprio_dim, device=self.device)
        # In thousands of environments the past is the largest thing here, and the planner computes in bfloat16 there.
        precision = torch.float32 if torch.device(self.device).type == "cpu" else torch.float16
        self._vision_ring = torch.zeros(frames, *self.vision.shape, dtype=precision, device=self.device)
        self._proprio_ring = torch.zeros(frames, *self.proprio.shape, device=self.device)
        self._frames_seen = torch.zeros(n, dtype=torch.long, device=self.device)
        self.recent_proprio = torch.zeros(n, self.cfg.control_history + 1, spec.proprio_dim, device=self.device)

    def draw_backgrounds(self) -> None:
        """Draw backgrounds anew, of the families in ``draws``."""
        families = self.draws.ranges.background_families
        size, count = self.cfg.image_size, self.cfg.backgrounds
        self.bank = make_background_bank(families, count, size, self.generator, self.device)

    def require_timely(self, ranges: RandomizationRanges) -> None:
        """Refuse ranges in which a frame could be overtaken by the next, or a read-out is older than what is kept."""
        longest, period = ranges.frame_delay[1], self.rates.control_per_frame
        if longest >= period:
            raise ValueError(
                f"A frame_delay of up to {longest} control steps is no less than the camera's period of {period}: a "
                "frame would arrive after the next one was taken."
            )
        late, kept = ranges.observation_delay[1], (SENSED_STEPS - 1) * self.rates.decimation
        if late > kept:
            raise ValueError(
                f"An observation_delay of up to {late} physics steps is more than the {kept} of which joints are kept."
            )

    # -- joints ------------------------------------------------------------------------------------------------------

    def true_proprio(self) -> Tensor:
        """Joint positions [rad] and velocities [rad/s] as the engine has them (N, 2J)."""
        data = self.robot.data
        return torch.cat([data.joint_pos.torch[:, self.joint_ids], data.joint_vel.torch[:, self.joint_ids]], -1)

    def sense(self, step: int) -> None:
        """Read the joints for control step ``step``; reading the same step again changes nothing."""
        if step == self._sensed_at:
            return
        self._sensed_at = step
        self._states = torch.cat([self.true_proprio()[None], self._states[:-1]])
        self._read_joints(torch.arange(len(self.raw_proprio), device=self.device))
        if self.encoder is not None:
            self.recent_proprio = torch.cat([self.recent_proprio[:, 1:], self.proprio[:, None]], 1)

    def _read_joints(self, ids: Tensor) -> None:
        """What the encoders of ``ids`` say: delayed, biased, noisy."""
        delay = self.delay_steps[ids] / self.rates.decimation
        newer = delay.floor().long().clamp(max=SENSED_STEPS - 2)
        blend = (delay - newer).clamp(0, 1)[:, None]
        delayed = self._states[newer, ids] * (1 - blend) + self._states[newer + 1, ids] * blend
        joints = self.encoder_bias.shape[1]
        noise = torch.randn(len(ids), joints, generator=self.generator, device=self.device)
        delayed[:, :joints] += self.encoder_bias[ids] + self.encoder_noise[ids] * noise
        if self.draws.may("encoder_step"):
            step = self.encoder_step[ids].clamp_min(1e-6)
            delayed[:, :joints] = (delayed[:, :joints] / step).round() * step
        self.raw_proprio[ids] = delayed
        if self.encoder is not None:
            with torch.no_grad():
                self.proprio[ids] = self.encoder.encode_proprio(delayed)

    # -- camera ------------------------------------------------------------------------------------------------------

    def render(self) -> tuple[Tensor, Tensor]:
        """Plain pictures (N, 3, H, W) uint8 and classes (N, H, W) uint8 (indices into ``CLASSES``; distractors come
        after them), drawn now."""
        if isinstance(self.camera.cfg.renderer_cfg, IsaacRtxRendererCfg):
            # RTX draws only after a step or this: what was moved otherwise would not be seen.
            SimulationContext.instance().render()  # pyright: ignore[reportOptionalMemberAccess]
        self.camera.update(0.0, force_recompute=True)
        output = self.camera.data.output
        rgb = output["rgb"].torch if hasattr(output["rgb"], "torch") else output["rgb"]
        ids = output["semantic_segmentation"]
        ids = (ids.torch if hasattr(ids, "torch") else ids).squeeze(-1).long()
        if self._class_of_id is None:
            self._class_of_id = self._class_table()
        return rgb[..., :3].permute(0, 3, 1, 2).contiguous(), self._class_of_id[ids]

    def _class_table(self) -> Tensor:
        """Maps the renderer's semantic ids to ``CLASSES``; what has no label is background."""
        labels = self.camera.data.info["semantic_segmentation"]["idToLabels"]
        known = (*CLASSES, DISTRACTOR)
        table = torch.zeros(max(int(k) for k in labels) + 1, dtype=torch.uint8, device=self.device)
        for key, value in labels.items():
            name = value.get("class", "background").lower() if isinstance(value, dict) else str(value)
            table[int(key)] = known.index(name) if name in known else 0
        if not bool((table == CLASSES.index("robot")).any()):
            raise ValueError(f"The camera's segmentation names no robot, only {labels}; give the asset semantic tags.")
        return table

    def appear(self, rgb: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        """The pictures that cameras ``ids`` would take of (n, 3, H, W) uint8: background behind, something before, lens
        and sensor."""
        images = composite(rgb, classes > 0, self.bank[self.background[ids]])
        if any(self.draws.may(name) for name in Lens.RANGES):
            images = self.lens[ids].apply(images, self.bank[(self.background[ids] + 1) % len(self.bank)])
        return self.photometrics[ids].apply(images, self.generator)

    def look(self, step: int, episode_step: Tensor) -> None:
        """Take the frames that are due: every ``control_per_frame`` steps of an episode (N,), and after a reset; a
        robot waits for the first. ``episode_step`` also tells when late ones arrive."""
        if step == self._looked_at and not bool(self._stale.any()):
            return
        first, due = self._stale.clone(), self._stale.clone()
        if step != self._looked_at:
            due |= episode_step % self.rates.control_per_frame == 0
            self._arrives_in -= 1
        self._looked_at = step
        if bool(due.any()):
            ids = due.nonzero().squeeze(-1)
            self._expose(ids, first[ids])
            if self.encoder is not None:
                self._remember(ids, first[ids])
            self._stale[ids] = False
        arrived = (self._arrives_in == 0).nonzero().squeeze(-1)
        if len(arrived):
            rows = self._rows(arrived)
            self.images[rows] = self._under_way[rows]
            self._arrives_in[arrived] = -1
            if self.encoder is not None:
                self._encode(arrived)

    def _expose(self, ids: Tensor, first: Tensor) -> None:
        """Draw the frames of ``ids`` and send them; some (n,) are ``first`` ones, which come at once."""
        (rgb, classes), rows = self.render(), self._rows(ids)
        self._under_way[rows] = self.appear(rgb[rows], classes[rows], ids)
        arrival = torch.where(first, 0, self.frame_delay[ids])
        if self.draws.may("frame_loss"):
            draw = torch.rand(len(ids), generator=self.generator, device=self.device)
            lost = draw < self.frame_loss[ids]
            arrival = torch.where(lost & ~first, -1, arrival)
        self._arrives_in[ids] = arrival

    def _encode(self, ids: Tensor) -> None:
        """See the frames that arrived in ``ids``."""
        rows = self._rows(ids)
        pictures = self.images[rows]
        self.vision[rows] = self.encode(pictures) if self.eyes is None else self.eyes.encode(pictures, ids, True)
        self._vision_ring[0, rows] = self.vision[rows].to(self._vision_ring.dtype)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents (n, P, C) of pictures (n, 3, H, W) uint8, some at a time."""
        assert self.encoder is not None, "an environment that tracks latents has an encoder"
        with torch.no_grad():
            return torch.cat([self.encoder.encode_vision(part) for part in pictures.split(self.cfg.encode_batch)])

    def _rows(self, ids: Tensor) -> Tensor | slice:
        """``ids``, or all rows where it names all of them: pictures are then viewed instead of copied."""
        return slice(None) if len(ids) == len(self.images) else ids

    @property
    def exposed(self) -> Tensor:
        """The last frames that were taken (N, 3, H, W) uint8, whether they have arrived or not."""
        return self._under_way

    def exposed_vision(self, ids: Tensor) -> Tensor:
        """Latents (n, P, C) of the last frames that were taken, whether they have arrived or not: for judging."""
        if not self.draws.may("frame_delay") and not self.draws.may("frame_loss"):
            return self.vision[ids]
        pictures = self._under_way[self._rows(ids)]
        return self.encode(pictures) if self.eyes is None else self.eyes.encode(pictures, ids, False)

    def _remember(self, ids: Tensor, first: Tensor) -> None:
        """Begin a new frame of history for ``ids``, with the picture that is known; a late one replaces it."""
        rows = self._rows(ids)
        # One by one, from the oldest: a copy of all would be as large as they are.
        for frame in range(len(self._vision_ring) - 1, 0, -1):
            self._vision_ring[frame, rows] = self._vision_ring[frame - 1, rows]
            self._proprio_ring[frame, rows] = self._proprio_ring[frame - 1, rows]
        self._vision_ring[0, rows] = self.vision[rows].to(self._vision_ring.dtype)
        self._proprio_ring[0, rows] = self.proprio[rows]
        self._frames_seen[ids] = torch.where(first, 1, self._frames_seen[ids] + 1)

    # -- episodes ----------------------------------------------------------------------------------------------------

    def reset(self, ids: Tensor) -> None:
        """Begin new episodes: another background, light, camera pose, bias and delay for ``ids``."""
        g, draws = self.generator, self.draws
        self.background[ids] = torch.randint(len(self.bank), (len(ids),), generator=g, device=self.device)
        self.photometrics.resample(ids, draws, g)
        self.lens.resample(ids, draws, g)
        self.encoder_bias[ids] = draws.uniform("encoder_bias", ids, self.encoder_bias.shape[1:], g) * self.joint_unit
        self.encoder_noise[ids] = draws.uniform("encoder_noise", ids, (1,), g) * self.joint_unit
        self.encoder_step[ids] = draws.uniform("encoder_step", ids, (1,), g) * self.joint_unit
        self.frame_loss[ids] = draws.uniform("frame_loss", ids, (), g)
        self.delay_steps[ids] = draws.integers("observation_delay", ids, g).float()
        self.frame_delay[ids] = draws.integers("frame_delay", ids, g)
        self._states[:, ids] = self.true_proprio()[ids]
        self._read_joints(ids)
        if self.encoder is not None:
            self.recent_proprio[ids] = self.proprio[ids, None]
        if self.eyes is not None:
            self.eyes.reset(ids)
        self._stale[ids] = True

    def history(self, offsets: tuple[float, ...], ids: Tensor | None = None) -> tuple[LatentState, Tensor]:
        """The states at ``offsets`` seconds from now (≤ 0, oldest first) and which of them exist.

        Args:
            ids: (n,) environments; None are all.

        Returns:
            states (n, S, …) with ``time`` equal to the offsets, and a mask (n, S), True where the episode had begun.
        """
        rows = slice(None) if ids is None else ids
        frames = [round(-offset * self.rates.camera_hz) for offset in offsets]
        vision = torch.stack([self._vision_ring[f, rows].float() if f else self.vision[rows] for f in frames], 1)
        proprio = torch.stack([self._proprio_ring[f, rows] if f else self.proprio[rows] for f in frames], 1)
        time = torch.tensor(offsets, device=self.device).expand(len(vision), -1)
        mask = self._frames_seen[rows, None] > torch.tensor(frames, device=self.device)
        return LatentState(vision, proprio, time), mask

    def state(self) -> LatentState:
        """The current state (N, …) at time 0."""
        return LatentState(self.vision, self.proprio, torch.zeros(len(self.vision), device=self.device))


def canonical_view(rgb: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Picture and classes as the encoder's decoder should draw them: the same plain background behind every state, and
    distractors part of it."""
    classes = torch.where(classes < len(CLASSES), classes, 0)
    background = canonical_background(rgb.shape[-1], rgb.device)
    return composite(rgb, classes > 0, background.expand_as(rgb)), classes
