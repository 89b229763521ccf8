"""Every randomization range in one dataclass, and its presets: ``nominal``, ``train``, ``unseen`` and ``complete``.

``nominal`` is the one scene and robot as modelled. ``train`` is what encoder, planner and controller learn in.
``unseen`` contains ``train``, goes beyond it on every axis that ``train`` has, and shows only background families never
trained on: it stands in for the real room, whose parameters nobody drew. ``complete`` has every axis there is, and
contains ``unseen``.

Torques, forces and angles are stated for the SO-100. For another robot's joints they are meant in proportion: to its
motors' torque, friction, damping and rotors, and to what counts as a radian (``LatentTrackingEnvCfg.joint_units``).

A range is ``(low, high)``, uniform, both ends included. Values are drawn once per episode, those of bodies and joints
once per environment; what is drawn for a noise or a loss is its size or its frequency, and the noise itself is new at
each reading, frame or command. Each push is drawn by itself.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

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
    exposure: Range = (1.0, 1.0)
    """Factor on the light: the camera's automatic exposure, clipped like a sensor."""
    white_balance: Range = (0.0, 0.0)
    """Red is multiplied by one plus this, blue by one minus it: daylight and lamps."""
    blur_sigma: Range = (0.0, 0.0)
    """Gaussian blur [pixels at 64×64; photometrics scales it with the picture]: focus."""
    motion_blur: Range = (0.0, 0.0)
    """Standard deviation of a blur along one direction [pixels at 64×64]: a tripod that shakes."""
    compression: Range = (0.0, 0.0)
    """Coarseness of a JPEG-like compression, in units of the standard's table for quality 50."""
    focal_length: Range = (1.0, 1.0)
    """Factor on the focal length."""
    distortion: Range = (0.0, 0.0)
    """Radial distortion k₁ at the edge's distance from the centre; positive bends lines outward (pincushion)."""
    occlusion: Range = (0.0, 0.0)
    """Side of a rectangle before the camera, in shares of the picture's: a cable, a hand, dirt on the lens."""
    frame_loss: Range = (0.0, 0.0)
    """Probability that a camera frame never arrives."""
    frame_delay: tuple[int, int] = (0, 0)
    """Age at which a frame arrives [control steps], less than a camera period."""
    light_direction: Range = (0.0, 0.0)
    """Angle by which the lamp leans, any way [rad]. Newton's renderer alone has one that can, for all environments at
    once; from 0.61 on it may shine from below the table."""
    shade: Range = (1.0, 1.0)
    """Factor on the colour of each link and object, as far as its brightest channel goes: other filament, wood, cloth.
    Their hue stays, because colours name the blocks. Newton's renderer alone can."""
    camera_position: Range = (0.0, 0.0)
    """Offset of the camera along each axis [m]: a tripod put back by hand."""
    camera_rotation: Range = (0.0, 0.0)
    """Rotation of the camera about each axis [rad]."""

    mass_scale: Range = (1.0, 1.0)
    """Factor on each link's mass: infill of the printed parts, cables."""
    inertia_scale: Range = (1.0, 1.0)
    """Further factor on each link's moments of inertia: where in the link the mass is."""
    com_offset: Range = (0.0, 0.0)
    """Offset of the links' centres of mass along each axis [m], in an environment the same for all links."""
    joint_friction: Range = (0.052, 0.052)
    """Dry friction of a joint [N·m]; 0.052 was identified on the real servo, and wear and load change it."""
    joint_armature: Range = (0.028, 0.028)
    """Inertia of the rotor behind the gears [kg·m²]; 0.028 was identified on the real servo."""
    joint_damping: Range = (0.0, 0.0)
    """Viscous damping beside the motor's own [N·m·s/rad]: grease and temperature."""
    back_emf_scale: Range = (1.0, 1.0)
    """Factor on the slope of the torque-speed line: a motor's speed without load is its inverse."""
    motor_strength: Range = (1.0, 1.0)
    """Factor from commanded to delivered torque: supply voltage and winding temperature."""
    voltage_sag: Range = (0.0, 0.0)
    """Share of the voltage that is lost when all motors pull their most: a thin cable, an empty battery."""
    dead_band: Range = (0.0, 0.0)
    """Command below which a motor gives nothing [N·m]."""
    backlash: Range = (0.0, 0.0)
    """Half of the gears' play [rad]; ±0.5° = 0.0087 was identified on the real servo."""
    contact_friction: Range = (0.8, 0.8)
    """Coulomb coefficient of the robot's surface: printed plastic, tape, rubber."""
    restitution: Range = (0.0, 0.0)
    """Of the robot's surface and the objects'; PhysX alone uses it, MuJoCo's contacts have none."""
    action_delay: tuple[int, int] = (0, 0)
    """Delay of the torque command [physics steps of 5 ms]: the servo bus."""
    action_jitter: tuple[int, int] = (0, 0)
    """Most by which that delay grows, anew for each command [physics steps]."""
    action_loss: Range = (0.0, 0.0)
    """Probability that a command is lost, and the one before holds."""
    observation_delay: tuple[int, int] = (0, 0)
    """Delay of the joints' read-out [physics steps of 5 ms]."""
    encoder_bias: Range = (0.0, 0.0)
    """Constant error of each joint's read-out [rad]: calibration by hand."""
    encoder_noise: Range = (0.0, 0.0)
    """Standard deviation of each reading [rad]."""
    encoder_step: Range = (0.0, 0.0)
    """Step to which a reading is rounded [rad]; the servo's own is 2π / 4096 = 0.0015 rad."""

    table_height: Range = (0.0, 0.0)
    """Of the table's top above the robot's foot [m]."""
    distractors: tuple[int, int] = (0, 0)
    """Objects on the table that no instruction names, of other shapes and sizes."""
    tilt: Range = (0.0, 0.0)
    """Angle by which the whole table leans, in any direction [rad]."""
    push_force: Range = (0.0, 0.0)
    """Force on some link for a while, now and then [N]: a person, a taut cable."""
    object_mass_scale: Range = (1.0, 1.0)
    """Factor on each object's mass."""
    object_friction: Range = (0.8, 0.8)
    """Coulomb coefficient of each object: printed plastic, wood, cloth."""
    object_size: Range = (1.0, 1.0)
    """Factor on each object's lengths, its mass by the same material; fixed when the scene is made (``sizes.py``)."""

    def __post_init__(self) -> None:
        for name in range_names():
            low, high = getattr(self, name)
            least, most = BOUNDS.get(name, (-math.inf, math.inf))
            if not least <= low <= high <= most or math.isinf(low) or math.isinf(high):
                raise ValueError(
                    f"The randomization range {name} = ({low}, {high}) makes no sense: the first number must not be "
                    f"above the second, and both must be finite and from {least:g} to {most:g}."
                )

    def identity(self) -> dict[str, Any]:
        """What decides the draws, for fingerprints: all fields, but of ``LATER`` only those that are not nominal."""
        nominal = RandomizationRanges()
        return {
            name: value for name, value in asdict(self).items() if name not in LATER or value != getattr(nominal, name)
        }

    def contains(self, other: RandomizationRanges) -> bool:
        """Whether every numeric range of ``other`` lies inside this one."""
        pairs = [(getattr(self, name), getattr(other, name)) for name in range_names()]
        return all(mine[0] <= theirs[0] and theirs[1] <= mine[1] for mine, theirs in pairs)


LATER = ("light_direction", "shade", "object_size")
"""Ranges that came when there were runs already: where they are nominal, such a run is what it was."""
SHARE, POSITIVE, NOT_NEGATIVE = (0.0, 1.0), (1e-3, math.inf), (0.0, math.inf)
BOUNDS: dict[str, Range] = {
    **dict.fromkeys(("occlusion", "frame_loss", "action_loss", "voltage_sag", "restitution"), SHARE),
    **dict.fromkeys(
        ("exposure", "focal_length", "shade", "mass_scale", "inertia_scale", "joint_armature", "back_emf_scale"),
        POSITIVE,
    ),
    **dict.fromkeys(("contrast", "saturation", "noise_std", "compression", "frame_delay"), NOT_NEGATIVE),
    "blur_sigma": (0.0, 1.5),
    "motion_blur": (0.0, 2.0),
    **dict.fromkeys(("joint_friction", "joint_damping", "motor_strength", "dead_band", "backlash"), NOT_NEGATIVE),
    **dict.fromkeys(("action_delay", "action_jitter", "observation_delay", "encoder_noise"), NOT_NEGATIVE),
    **dict.fromkeys(("encoder_step", "contact_friction", "object_friction", "push_force"), NOT_NEGATIVE),
    "object_mass_scale": POSITIVE,
    "object_size": (0.5, 1.5),
    "white_balance": (-1.0, 1.0),
    "light_direction": (0.0, 0.5 * math.pi),
    "distortion": (-0.07, 0.15),
    "table_height": (-0.03, 0.03),
    "distractors": (0.0, 3.0),
    "tilt": (-0.5, 0.5),
}
"""Numbers that a range may hold, where not all make sense; the drawn value of a loss is a probability."""


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
        back_emf_scale=(0.8, 1.25),
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
        back_emf_scale=(0.65, 1.5),
        motor_strength=(0.75, 1.25),
        contact_friction=(0.3, 1.3),
        action_delay=(0, 6),
        observation_delay=(0, 6),
        encoder_bias=(-0.02, 0.02),
        encoder_noise=(0.0, 0.004),
    ),
}
PRESETS["complete"] = replace(
    PRESETS["unseen"],
    background_families=TRAIN_FAMILIES + UNSEEN_FAMILIES,
    exposure=(0.7, 1.4),
    white_balance=(-0.12, 0.12),
    motion_blur=(0.0, 1.2),
    compression=(0.0, 2.0),
    focal_length=(0.95, 1.05),
    distortion=(-0.06, 0.06),
    occlusion=(0.0, 0.2),
    frame_loss=(0.0, 0.1),
    frame_delay=(0, 3),
    light_direction=(0.0, 0.6),
    shade=(0.55, 1.1),
    inertia_scale=(0.8, 1.25),
    joint_damping=(0.0, 0.1),
    voltage_sag=(0.0, 0.15),
    dead_band=(0.0, 0.04),
    backlash=(0.0, 0.0087),
    restitution=(0.0, 0.3),
    action_jitter=(0, 2),
    action_loss=(0.0, 0.05),
    encoder_step=(0.0, 0.0015),
    table_height=(-0.01, 0.01),
    distractors=(0, 3),
    tilt=(0.0, 0.035),
    push_force=(0.0, 1.0),
    object_mass_scale=(0.7, 1.5),
    object_friction=(0.5, 1.1),
    object_size=(0.8, 1.2),
)


TEXTURES = ("background_families",)
CAMERA = (
    *("brightness", "contrast", "saturation", "hue", "noise_std", "exposure", "white_balance"),
    *("blur_sigma", "motion_blur", "compression", "focal_length", "distortion", "occlusion"),
    *("frame_loss", "frame_delay", "light_direction", "shade", "camera_position", "camera_rotation"),
)
DYNAMICS = (
    *("mass_scale", "inertia_scale", "com_offset", "joint_friction", "joint_armature", "joint_damping"),
    *("back_emf_scale", "motor_strength", "voltage_sag", "dead_band", "backlash", "contact_friction", "restitution"),
    *("action_delay", "action_jitter", "action_loss", "observation_delay", "encoder_bias", "encoder_noise"),
    *("encoder_step", "table_height", "distractors", "tilt", "push_force", "object_mass_scale", "object_friction"),
    "object_size",
)
GROUPS = {"textures": TEXTURES, "camera": CAMERA, "dynamics": DYNAMICS}
"""Fields by what they are about: what is behind, how it is seen, how it moves. Each field is in one of them."""


def with_group(base: RandomizationRanges, other: RandomizationRanges, group: str) -> RandomizationRanges:
    """``base`` with one of the ``GROUPS`` taken from ``other``."""
    return replace(base, **{name: getattr(other, name) for name in GROUPS[group]})


def get_ranges(name: str) -> RandomizationRanges:
    """The preset called ``name``; an unknown name is answered with the known ones."""
    if name not in PRESETS:
        raise ValueError(f"There is no randomization preset {name!r}. Choose one of: {', '.join(PRESETS)}.")
    return replace(PRESETS[name])  # a copy: Isaac Lab's configurations are edited in place
