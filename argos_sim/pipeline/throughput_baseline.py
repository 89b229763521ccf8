"""What the environment's speed is compared with: Isaac Lab's own terms in the same scene, and ours without senses."""

# Isaac Lab's configurations take classes as functions, and hold what a subclass or a task puts there.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import copy

from isaaclab.actuators import IdealPDActuatorCfg
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.envs import mdp as lab_mdp
from isaaclab.managers import (
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from isaaclab.utils import configclass

from argos_sim.envs.latent_tracking import LatentTrackingEnvCfg
from argos_sim.mdp import rewards


@configclass
class PlainObservationsCfg:
    """Joints and the last action."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        """As in Isaac Lab's own reach task."""

        joint_pos = ObservationTermCfg(func=lab_mdp.joint_pos_rel)
        joint_vel = ObservationTermCfg(func=lab_mdp.joint_vel_rel)
        actions = ObservationTermCfg(func=lab_mdp.last_action)

    policy: PolicyCfg = PolicyCfg()


@configclass
class PlainRewardsCfg:
    """Costs on actions and joint limits."""

    action = RewardTermCfg(func=lab_mdp.action_l2, weight=-0.1)
    action_rate = RewardTermCfg(func=lab_mdp.action_rate_l2, weight=-0.3)
    limits = RewardTermCfg(func=lab_mdp.joint_pos_limits, weight=-1.0)


@configclass
class PlainActionsCfg:
    """Joint torques."""

    torque: lab_mdp.JointEffortActionCfg = lab_mdp.JointEffortActionCfg(asset_name="robot", joint_names=[".*"])


@configclass
class PlainTerminationsCfg:
    """Time."""

    time_out = TerminationTermCfg(func=lab_mdp.time_out, time_out=True)


@configclass
class PlainEventsCfg:
    """The arm and every object are placed at each reset."""

    place_robot = EventTermCfg(
        func=lab_mdp.reset_joints_by_offset,
        mode="reset",
        params={"position_range": (-0.15, 0.15), "velocity_range": (0.0, 0.0)},
    )


def plain_cfg(cfg: LatentTrackingEnvCfg) -> ManagerBasedRLEnvCfg:
    """Isaac Lab's own environment of the scene, engine, rates and episode length of ``cfg``."""
    plain = ManagerBasedRLEnvCfg(
        scene=cfg.scene,
        sim=copy.deepcopy(cfg.sim),
        decimation=cfg.decimation,
        episode_length_s=cfg.episode_length_s,
        seed=cfg.seed,
        observations=PlainObservationsCfg(),
        actions=PlainActionsCfg(),
        rewards=PlainRewardsCfg(),
        terminations=PlainTerminationsCfg(),
        events=PlainEventsCfg(),
    )
    # Isaac Lab's default, which on Newton takes motors and all physics steps of a control step into one graph. Our own
    # motor model cannot have it (``argos_sim/actuators.py``).
    plain.sim.use_newton_actuators = True
    motors = cfg.scene.robot.actuators["motors"]
    plain.scene.robot.actuators = {
        "motors": IdealPDActuatorCfg(
            joint_names_expr=[".*"],
            stiffness=0.0,
            damping=0.0,
            armature=motors.armature,
            friction=motors.friction,
            actuator_effort_limit=motors.actuator_effort_limit,
        )
    }
    plain.actions.torque.scale = cfg.actions.torque.scale
    # Each in a lane of its own, as ours lie apart: blocks that overlap cost physics more than anything measured here.
    names = cfg.object_names()
    for i, name in enumerate(names):
        lane = 0.08 * (i - (len(names) - 1) / 2)
        area = {"x": (lane - 0.015, lane + 0.015), "y": (-0.05, 0.05), "yaw": (-3.14, 3.14)}
        placed = {"pose_range": area, "velocity_range": {}, "asset_cfg": SceneEntityCfg(name)}
        term = EventTermCfg(func=lab_mdp.reset_root_state_uniform, mode="reset", params=placed)
        setattr(plain.events, f"place_{name}", term)
    return plain


def without_senses(cfg: LatentTrackingEnvCfg) -> None:
    """Leave out what needs latents; joints and costs on torques are seen and rewarded as in the plain environment."""

    @configclass
    class BlindRewardsCfg:
        torque = RewardTermCfg(func=rewards.torque_cost, weight=-0.1)
        torque_rate = RewardTermCfg(func=rewards.torque_rate_cost, weight=-0.3)
        limits = RewardTermCfg(func=rewards.joint_limit_cost, weight=-1.0, params={"margin": 0.05})

    cfg.perception.encoder = None
    cfg.for_recording()
    cfg.observations = PlainObservationsCfg()
    cfg.rewards = BlindRewardsCfg()
