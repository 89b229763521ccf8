"""What an environment was drawn to be, read from where it acts: engine, motors, bus, senses."""

from __future__ import annotations

from dataclasses import fields

import torch
import warp as wp
from torch import Tensor

from argos_sim.envs.camera import multiply
from argos_sim.envs.distractors import SHAPES
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.randomization.dynamics import GRAVITY
from argos_sim.randomization.ranges import RandomizationRanges, range_names

FACTORS = ("mass_scale", "inertia_scale", "object_mass_scale")
"""Ranges that are factors on what the scene has."""
OFFSETS = ("com_offset", "camera_position")
"""Ranges that are added to what the scene has."""


def parameters(env: LatentTrackingEnv) -> dict[str, Tensor]:
    """The drawn parameters of ``env`` after a reset, each (N, …) by the name of its range, and by a name of its own
    what no range is about. ``push_force`` is left out, since nothing is pushed at a reset."""
    robot, motors, bus, senses = env.scene["robot"].data, env.motors, env.bus, env.perception
    objects = [env.scene[name] for name in env.cfg.object_names()]
    mass, object_mass = robot.body_mass.torch, torch.stack([thing.data.body_mass.torch for thing in objects], 1)
    friction, restitution = zip(*(_material(env, name) for name in ("robot", *env.cfg.object_names())), strict=True)
    frictions = [robot.joint_friction_coeff]
    if hasattr(robot, "joint_dynamic_friction_coeff"):
        frictions.append(robot.joint_dynamic_friction_coeff)
    camera = env.scene["camera"].data
    base = torch.tensor(env.cfg.camera_pose.quaternion) * torch.tensor([-1.0, -1.0, -1.0, 1.0])
    turn = multiply(camera.quat_w_ros.torch, base.expand(env.num_envs, 4))
    pull = env.disturbances.acceleration[:, 0]
    values = {
        "mass_scale": mass,
        "inertia_scale": _moments(robot) / mass[..., None],  # which grow with the mass
        "com_offset": robot.body_com_pose_b.torch[..., :3],
        "joint_friction": torch.stack([values.torch for values in frictions], 1),
        "joint_armature": robot.joint_armature.torch,
        "contact_friction": friction[0],
        "restitution": torch.cat(restitution, -1),
        "object_mass_scale": object_mass,
        "object_friction": torch.stack(friction[1:], 1),
        "joint_damping": motors.viscous,
        "back_emf_scale": motors.back_emf_scale,
        "motor_strength": motors.strength,
        "voltage_sag": motors.voltage_sag,
        "dead_band": motors.dead_band,
        "backlash": motors.backlash,
        "action_delay": torch.stack([bus.delay, motors.delay], 1),
        "action_jitter": bus.jitter,
        "action_loss": bus.loss,
        "observation_delay": senses.delay_steps,
        "encoder_bias": senses.encoder_bias,
        "encoder_noise": senses.encoder_noise,
        "encoder_step": senses.encoder_step,
        "frame_loss": senses.frame_loss,
        "frame_delay": senses.frame_delay,
        "table_height": -(robot.root_pos_w.torch - env.scene.env_origins)[:, 2],
        "tilt": torch.atan2(pull[:, :2].norm(dim=1), GRAVITY - pull[:, 2]),
        "camera_position": camera.pos_w.torch - env.scene.env_origins,
        "camera_rotation": 2 * turn[:, :3] / turn[:, 3:],
        "joints' own damping": robot.joint_viscous_friction_coeff.torch,
        "objects' moments": torch.stack([_moments(thing.data) for thing in objects], 1) / object_mass[..., None],
        "objects' places": torch.stack([thing.data.root_pos_w.torch for thing in objects], 1),
        "background": senses.background,
    }
    if env.cfg.distractors:
        ahead = -env.cfg.distractor_area["ahead"] + env.scene.env_origins[:, 1:2]
        places = torch.stack([env.scene[name].data.root_pos_w.torch[:, 1] for name in SHAPES], 1)
        values["distractors"] = ((places - ahead).abs() > 1e-3).sum(1)
    for drawn in (senses.photometrics, senses.lens):
        values |= {f.name: getattr(drawn, f.name) for f in fields(drawn)}
    return {name: value.detach().float().clone() for name, value in values.items()}


def _moments(data) -> Tensor:
    """Moments of inertia (N, B, 3) about the axes [kg·m²]."""
    return data.body_inertia.torch[..., (0, 4, 8)]


def _material(env: LatentTrackingEnv, name: str) -> tuple[Tensor, Tensor]:
    """Coefficients of friction (N, …) and restitution (N, S) of the S shapes of what is called ``name``."""
    thing = env.scene[name]
    if type(thing).__module__.startswith("isaaclab_ov."):
        kind = "articulation" if name == "robot" else "rigid_body"
        material = wp.to_torch(thing.root_view.get_attribute(f"{kind}_shape_friction_and_restitution"))
        return material[..., :2], material[..., 2]
    model = env.sim.physics_manager.get_model()  # pyright: ignore[reportAttributeAccessIssue]
    friction, restitution = (
        wp.to_torch(thing.root_view.get_attribute(f"shape_material_{what}", model)[:, 0])
        for what in ("mu", "restitution")
    )
    return friction, restitution


def not_as_drawn(
    seen: dict[str, Tensor], nominal: dict[str, Tensor], ranges: RandomizationRanges, tolerance: float = 1e-5
) -> set[str]:
    """What of ``seen`` is not what ``ranges`` of one value each say, or where no range does, not as in ``nominal``."""
    wrong = set()
    for name, value in seen.items():
        known = nominal[name]
        expected = getattr(ranges, name)[0] if name in range_names() else 0.0
        if name in FACTORS:
            value = value / known
        elif name in OFFSETS or name not in range_names():
            value = value - known
        if not torch.allclose(value, torch.full_like(value, expected), rtol=1e-3, atol=tolerance):
            wrong.add(name)
    return wrong
