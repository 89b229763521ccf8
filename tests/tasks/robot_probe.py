"""Measure the SO-100 on a physics engine; the tests beside it state what the figures must be.

Every environment is one experiment on the same arm, and all run for one second. Both engines work in one process, one
after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from isaaclab.assets import ArticulationCfg
from isaaclab.scene import InteractiveScene, InteractiveSceneCfg
from isaaclab.sim import SimulationCfg, SimulationContext
from isaaclab.utils import configclass
from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg
from isaaclab_ov.physics import OvPhysxCfg

from argos_sim.platform import launch
from tasks.so100.robot import JOINT_LIMITS, JOINT_NAMES, READY_POSE, SO100_CFG

DT = 1 / 200
STEPS = 200
START_STEP = 10
"""The torques start here, so that a delayed command is preceded by another."""

SIGN_STEP = START_STEP + 20
SPEED_STEP = START_STEP + 80
PAN_TORQUES = (0.03, 0.045, 0.060, 0.075, 0.5, 1.0, 2.94, 5.0)
"""Torques on the pan joint, which gravity does not load [N·m]."""

DELAY = 6
RAISED = (0.0, -1.2, 0.6, 0.4, 0.0, 0.0)
"""A pose that gravity pulls down [rad]."""

ROWS = {
    "limp": 0,
    "limp raised": 1,
    "signs": slice(2, 14),
    "pan torques": slice(14, 22),
    "half strength": 22,
    "delayed": 23,
    "double back-EMF": 24,
}
"""Experiment to environment: `signs` are plus and minus 1 N·m on each joint in turn, the last three 1 N·m on pan."""


@configclass
class ProbeSceneCfg(InteractiveSceneCfg):
    """The arm alone."""

    robot: ArticulationCfg = SO100_CFG


@dataclass(frozen=True)
class Measured:
    """What one engine did; positions in radians, times in physics steps."""

    joint_names: list[str]
    body_names: list[str]
    is_fixed_base: bool
    masses: torch.Tensor  # (bodies,) [kg]
    limits: torch.Tensor  # (6, 2) [rad]
    angles: torch.Tensor  # (N, 6) random joint angles, and ...
    poses: torch.Tensor  # (N, bodies, 7) ... the link poses at them: position [m], quaternion x, y, z, w
    starts: torch.Tensor  # (N, 6)
    position: torch.Tensor  # (steps, N, 6)
    velocity: torch.Tensor  # (steps, N, 6) [rad/s]


def physics(engine: str) -> Any:
    """The named engine's settings."""
    solver = MJWarpSolverCfg(njmax=100, nconmax=20, integrator="implicitfast")
    return {"newton_mjwarp": NewtonCfg(solver_cfg=solver), "ovphysx": OvPhysxCfg()}[engine]


def experiments() -> tuple[torch.Tensor, torch.Tensor]:
    """Start positions (N, 6) [rad] and constant torques (N, 6) [N·m], one experiment a row: see ``ROWS``."""
    ready = torch.tensor([READY_POSE[name] for name in JOINT_NAMES])
    starts, torques = [ready, torch.tensor(RAISED)], [torch.zeros(6), torch.zeros(6)]
    for joint in range(6):
        for sign in (1.0, -1.0):
            starts.append(ready)
            torques.append(sign * torch.eye(6)[joint])
    for torque in (*PAN_TORQUES, 1.0, 1.0, 1.0):
        starts.append(torch.cat([torch.tensor([-2.0]), ready[1:]]))
        torques.append(torque * torch.eye(6)[0])
    return torch.stack(starts), torch.stack(torques)


def place(robot: Any, position: torch.Tensor) -> None:
    """Put the joints at ``position (N, 6)``, at rest."""
    robot.write_joint_position_to_sim_index(position=position)
    robot.write_joint_velocity_to_sim_index(velocity=torch.zeros_like(position))


def forward_kinematics(sim: Any, scene: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Random joint angles (N, 6) and the link poses (N, bodies, 7) at them, each relative to its environment."""
    robot = scene["robot"]
    low, high = torch.tensor([JOINT_LIMITS[name] for name in JOINT_NAMES]).T
    angles = low + (high - low) * torch.rand(scene.num_envs, 6, generator=torch.Generator().manual_seed(0))
    place(robot, angles)
    sim.forward()
    scene.update(0.0)
    poses = robot.data.body_link_pose_w.torch.clone()
    poses[..., :3] -= scene.env_origins[:, None]
    return angles, poses


def run_experiments(sim: Any, scene: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Joint positions and velocities (steps, N, 6) of all experiments."""
    robot = scene["robot"]
    starts, torques = experiments()
    place(robot, starts)
    scene.reset()
    motor = robot.actuators["motors"]
    motor.strength[ROWS["half strength"]] = 0.5
    motor.back_emf_scale[ROWS["double back-EMF"]] = 2.0
    motor.set_delay(DELAY, [ROWS["delayed"]])
    positions, velocities = [], []
    for step in range(STEPS):
        robot.actuators.target_command.set_effort_index(value=torques * (step >= START_STEP))
        scene.write_data_to_sim()
        sim.step(render=False)
        scene.update(DT)
        positions.append(robot.data.joint_pos.torch.clone())
        velocities.append(robot.data.joint_vel.torch.clone())
    return torch.stack(positions), torch.stack(velocities)


def measure(engine: str) -> Measured:
    """Build the arm in one environment for each experiment on ``engine``, run them, and close the simulation."""
    starts, _ = experiments()
    cfg = SimulationCfg(dt=DT, device="cpu", physics=physics(engine), use_newton_actuators=False)
    with launch(cfg):
        sim = SimulationContext(cfg)
        scene = InteractiveScene(ProbeSceneCfg(num_envs=len(starts), env_spacing=2.0))
        sim.reset()
        robot = scene["robot"]
        angles, poses = forward_kinematics(sim, scene)
        position, velocity = run_experiments(sim, scene)
        measured = Measured(
            joint_names=list(robot.joint_names),
            body_names=list(robot.body_names),
            is_fixed_base=robot.is_fixed_base,
            masses=robot.data.body_mass.torch[0].clone(),
            limits=robot.data.joint_pos_limits.torch[0].clone(),
            angles=angles,
            poses=poses,
            starts=starts,
            position=position,
            velocity=velocity,
        )
        SimulationContext.clear_instance()
    return measured
