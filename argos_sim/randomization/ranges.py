"""Every randomization range in one dataclass, and its three presets: ``nominal``, ``train`` and ``unseen``.

``nominal`` is the one scene and robot as modelled. ``train`` is what encoder, planner and controller learn in.
``unseen`` contains ``train``, goes beyond it on every axis, and shows only background families never trained on: it
stands in for the real room, whose parameters nobody drew.

A range is ``(low, high)``, uniform, both ends included; all are drawn once per episode except ``encoder_noise``, whose
drawn value is the standard deviation of a noise that is new at each reading, and ``noise_std`` likewise per frame.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

Range = tuple[float, float]

TRAIN_FAMILIES = ("plain", "gradient", "noise", "checker", "stripes", "voronoi", "spectral", "collage")
"""Background families that training sees (drawn by ``backgrounds``)."""
UNSEEN_FAMILIES = ("bricks", "dots", "wood", "plaid", "warp")
"""Background families kept for evaluation."""


@dataclass
class RandomizationRanges:
    """Ranges of what the camera sees and of how the robot moves. The defaults are the nominal scene."""

    background_families: tuple[str, ...] = ("canonical",)
    """Families that backgrounds are drawn from, see ``backgrounds.FAMILIES``."""
    brightness: Range = (0.0, 0.0)
    """Added to colours in [0, 1]: exposure and room light."""
    contrast: Range = (1.0, 1.0)
    """Factor about mid-grey: the camera's tone curve."""
    saturation: Range = (1.0, 1.0)
    """Factor about each pixel's grey: the camera's colour processing."""
    hue: Range = (0.0, 0.0)
    """Rotation [turns]: white balance. Kept small, because colours name the blocks."""
    noise_std: Range = (0.0, 0.0)
    """Standard deviation of the sensor's Gaussian noise, colours in [0, 1]."""
    blur_sigma: Range = (0.0, 0.0)
    """Gaussian blur [pixels at 64×64; photometrics scales it with the picture]: focus and motion."""
    camera_position: Range = (0.0, 0.0)
    """Offset of the camera along each axis [m]: a tripod put back by hand."""
    camera_rotation: Range = (0.0, 0.0)
    """Rotation of the camera about each axis [rad]."""

    mass_scale: Range = (1.0, 1.0)
    """Factor on each link's mass: infill of the printed parts, cables."""
    com_offset: Range = (0.0, 0.0)
    """Offset of each link's centre of mass along each axis [m]."""
    joint_friction: Range = (0.052, 0.052)
    """Dry friction of a joint [N·m]; 0.052 was identified on the real servo, and wear and load change it."""
    joint_armature: Range = (0.028, 0.028)
    """Inertia of the rotor behind the gears [kg·m²]; 0.028 was identified on the real servo."""
    joint_damping_scale: Range = (1.0, 1.0)
    """Factor on the joints' viscous damping: grease and temperature."""
    motor_strength: Range = (1.0, 1.0)
    """Factor from commanded to delivered torque: supply voltage and winding temperature."""
    contact_friction: Range = (0.8, 0.8)
    """Coulomb coefficient of blocks and table: printed plastic on wood, cloth or glass."""
    action_delay: tuple[int, int] = (0, 0)
    """Delay of the torque command [physics steps of 5 ms]: the servo bus."""
    observation_delay: tuple[int, int] = (0, 0)
    """Delay of the joints' read-out [physics steps of 5 ms]."""
    encoder_bias: Range = (0.0, 0.0)
    """Constant error of each joint's read-out [rad]: calibration by hand."""
    encoder_noise: Range = (0.0, 0.0)
    """Standard deviation of each reading [rad]; the servo's own step is 2π / 4096 = 0.0015 rad."""

    def contains(self, other: RandomizationRanges) -> bool:
        """Whether every numeric range of ``other`` lies inside this one."""
        pairs = [(getattr(self, name), getattr(other, name)) for name in range_names()]
        return all(mine[0] <= theirs[0] and theirs[1] <= mine[1] for mine, theirs in pairs)


def range_names() -> tuple[str, ...]:
    """Names of the numeric ranges, that is, of all fields but the background families."""
    return tuple(f.name for f in fields(RandomizationRanges) if f.name != "background_families")


PRESETS: dict[str, RandomizationRanges] = {
    "nominal": RandomizationRanges(),
    "train": RandomizationRanges(
        background_families=TRAIN_FAMILIES,
        brightness=(-0.12, 0.12),
        contrast=(0.8, 1.25),
        saturation=(0.75, 1.25),
        hue=(-0.03, 0.03),
        noise_std=(0.0, 0.03),
        blur_sigma=(0.0, 0.7),
        camera_position=(-0.01, 0.01),
        camera_rotation=(-0.01, 0.01),
        mass_scale=(0.85, 1.15),
        com_offset=(-0.005, 0.005),
        joint_friction=(0.03, 0.10),
        joint_armature=(0.022, 0.036),
        joint_damping_scale=(0.8, 1.25),
        motor_strength=(0.85, 1.15),
        contact_friction=(0.5, 1.1),
        action_delay=(0, 4),
        observation_delay=(0, 4),
        encoder_bias=(-0.01, 0.01),
        encoder_noise=(0.0, 0.002),
    ),
    "unseen": RandomizationRanges(
        background_families=UNSEEN_FAMILIES,
        brightness=(-0.18, 0.18),
        contrast=(0.7, 1.4),
        saturation=(0.6, 1.4),
        hue=(-0.05, 0.05),
        noise_std=(0.0, 0.045),
        blur_sigma=(0.0, 1.0),
        camera_position=(-0.015, 0.015),
        camera_rotation=(-0.02, 0.02),
        mass_scale=(0.75, 1.25),
        com_offset=(-0.01, 0.01),
        joint_friction=(0.01, 0.13),
        joint_armature=(0.018, 0.042),
        joint_damping_scale=(0.65, 1.5),
        motor_strength=(0.75, 1.25),
        contact_friction=(0.3, 1.3),
        action_delay=(0, 6),
        observation_delay=(0, 6),
        encoder_bias=(-0.02, 0.02),
        encoder_noise=(0.0, 0.004),
    ),
}


def get_ranges(name: str) -> RandomizationRanges:
    """The preset called ``name``; an unknown name is answered with the known ones."""
    if name not in PRESETS:
        raise ValueError(f"There is no randomization preset {name!r}. Choose one of: {', '.join(PRESETS)}.")
    return replace(PRESETS[name])  # a copy: Isaac Lab's configurations are edited in place
