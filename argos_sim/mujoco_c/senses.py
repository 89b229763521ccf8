"""What N arms see and feel: ray-cast pictures and joint read-outs, randomized as in training, and encoded by the
exported encoders."""

from __future__ import annotations

import numpy as np
import torch

from argos_sim.deploy.planner import Parts
from argos_sim.mujoco_c.arms import Arms
from argos_sim.mujoco_c.camera import TRAINED, RayCamera, unseen_light
from argos_sim.mujoco_c.policy import BatchedPolicy
from argos_sim.randomization.backgrounds import composite, make_background_bank
from argos_sim.randomization.draws import Draws
from argos_sim.randomization.photometrics import PhotometricState
from argos_sim.randomization.ranges import RandomizationRanges

RANGES = (
    "background_families",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "noise_std",
    "exposure",
    "white_balance",
    "blur_sigma",
    "motion_blur",
    "compression",
    "camera_position",
    "camera_rotation",
    "observation_delay",
    "encoder_bias",
    "encoder_noise",
)
"""What is drawn here."""
BACKGROUNDS = 512
READINGS = 3
"""Control steps of joint states kept for the observation delay."""


class Senses:
    """Senses of ``arms``: ``read`` once a control step, ``look`` once a camera frame.

    Attributes:
        vision (N, P, C), proprio (N, D): the newest latents.
        images: (N, 3, S, S) uint8, the newest pictures.
    """

    def __init__(self, arms: Arms, policy: BatchedPolicy, ranges: RandomizationRanges, light: bool, seed: int) -> None:
        """``light`` draws an unseen lamp for each episode."""
        self.arms, self.policy, self.ranges, self.light = arms, policy, ranges, light
        world, size = arms.world, policy.manifest.image_size
        root = arms.nominal.body(1).name
        classes = {root: 1} | {name: 2 + i for i, name in enumerate(world.objects)}
        self.camera = RayCamera(arms.nominal, size, world.camera, world.aperture, classes)
        self.generator = torch.Generator().manual_seed(seed)
        self.bank = make_background_bank(ranges.background_families, BACKGROUNDS, size, self.generator)
        self.photometrics = PhotometricState.nominal(len(arms), "cpu")
        self.offsets = policy.planner.history
        self._frames_kept = round(-self.offsets[0] * world.rates.camera_hz) + 1

    def reset(self, rng: np.random.Generator, seed: int) -> None:
        """Begin new episodes: backgrounds, light, camera poses, biases and delays."""
        count, ranges = len(self.arms), self.ranges
        joints = len(self.arms.world.joint_names)
        self.generator.manual_seed(seed)
        self.background = torch.from_numpy(rng.integers(len(self.bank), size=count))
        self.photometrics.resample(torch.arange(count), Draws(ranges, count), self.generator)
        self.shift = rng.uniform(*ranges.camera_position, (count, 3))
        self.turn = rng.uniform(*ranges.camera_rotation, (count, 3))
        lamps = np.random.default_rng((seed, 1))  # of their own, so that all else is as without them
        self.lights = [unseen_light(lamps) if self.light else TRAINED for _ in range(count)]
        self.bias = rng.uniform(*ranges.encoder_bias, (count, joints))
        self.noise = rng.uniform(*ranges.encoder_noise, (count, 1))
        low, high = ranges.observation_delay
        self.delay = rng.integers(low, high + 1, count) / self.arms.world.rates.decimation  # control steps
        if self.delay.max() > READINGS - 1:
            raise ValueError(f"An observation_delay of {high} physics steps is more than is kept.")
        self._rng = rng
        self._states = np.repeat(self.arms.joints()[None], READINGS, 0)
        self._frames: list[Parts] = []

    def read(self) -> None:
        """Read the joints: delayed, biased, noisy."""
        self._states = np.concatenate([self.arms.joints()[None], self._states[:-1]])
        newer = np.minimum(self.delay.astype(int), READINGS - 2)
        blend, every = (self.delay - newer)[:, None], np.arange(len(self.arms))
        reading = self._states[newer, every] * (1 - blend) + self._states[newer + 1, every] * blend
        reading[:, : self.bias.shape[1]] += self.bias + self.noise * self._rng.standard_normal(self.bias.shape)
        self.proprio = self.policy.feel(reading)

    def look(self) -> None:
        """Take a picture of each arm before its background, and encode it."""
        where = zip(self.arms.data, self.lights, self.shift, self.turn, strict=True)
        taken = [self.camera.render(data, light, shift, turn) for data, light, shift, turn in where]
        rgb, classes = (torch.from_numpy(np.stack(parts)) for parts in zip(*taken, strict=True))
        seen = composite(rgb, classes > 0, self.bank[self.background])
        self.images = self.photometrics.apply(seen, self.generator).numpy()
        self.vision = self.policy.see(self.images)
        self._frames = [(self.vision, self.proprio), *self._frames[: self._frames_kept - 1]]

    def history(self) -> tuple[Parts, np.ndarray]:
        """States (N, S, …) at the planner's ``offsets`` [s] from the newest frame, oldest first, and which of them
        exist (N, S)."""
        ages = [round(-offset * self.arms.world.rates.camera_hz) for offset in self.offsets]
        known = [age < len(self._frames) for age in ages]
        nothing = tuple(np.zeros_like(x) for x in self._frames[0])
        states = [self._frames[age] if there else nothing for age, there in zip(ages, known, strict=True)]
        vision, proprio = (np.stack(parts, 1) for parts in zip(*states, strict=True))
        return (vision, proprio), np.tile(known, (len(self.arms), 1))
