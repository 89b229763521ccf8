"""Demonstrations: the scripted expert at work in many environments at once, kept where it succeeded.

Also the *views* an encoder learns from: the same states seen by differently placed cameras, with the segmentation and
the positions that only simulation knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.experts import TaskExpert
from argos_sim.mdp.events import write_joints
from argos_sim.perception import canonical_view
from argos_sim.randomization.draws import Draws
from argos_sim.randomization.ranges import RandomizationRanges
from argos_wm.checkpoint import save_json, save_tensors

if TYPE_CHECKING:
    from argos_sim.lerobot_io import RecordedEpisode


@dataclass
class Rollout:
    """One batch of expert episodes, frames first: T frames, R control steps each, N environments."""

    images: Tensor
    """uint8 (T, N, 3, H, W)."""
    control_state: Tensor
    """(T, R, N, 2J) sensed."""
    control_action: Tensor
    """(T, R, N, J) the expert's torque [N·m]."""
    environment_state: Tensor
    """(T, N, E)."""
    success: Tensor
    """(N,)."""
    first_touched: Tensor
    """(N,) index of an object, −1 for none."""
    named: Tensor
    """(N,) index of the object that the instruction names."""
    instructions: list[str]
    """The last that were given."""
    begins: Tensor
    """(N,) frame at which that was."""


def environment_state(env: LatentTrackingEnv) -> Tensor:
    """Objects' positions [m, environment frame] and quaternions (x, y, z, w), one object after the other (N, 7 O)."""
    position, rotation = env.instruction.object_poses()
    return torch.cat([position - env.scene.env_origins[:, None], rotation], -1).flatten(1)


def expert_rollout(env: LatentTrackingEnv, expert: TaskExpert) -> Rollout:
    """Let the expert run every environment from its reset to its time-out, which resets it again; some are asked for
    something else on the way (``ExpertCfg.redirected``)."""
    rates, perception = env.cfg.rates, env.perception
    instruction = env.instruction
    every = torch.arange(env.num_envs, device=env.device)
    begins = expert.redirections(env.generator)
    expert.begin(every)
    images, states, actions, environments = [], [], [], []
    steps, broken = env.max_episode_length, torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
    for step in range(steps):
        perception.sense(env.common_step_counter)
        perception.look(env.common_step_counter, env.episode_length_buf)
        if step % rates.control_per_frame == 0:
            images.append(perception.images.clone())
            environments.append(environment_state(env))
            redirected = (begins == step // rates.control_per_frame).nonzero().squeeze(-1)
            if step > 0 and len(redirected):
                instruction.ask_anew(redirected)
                expert.begin(redirected)
        torque = expert.torque()
        states.append(perception.raw_proprio.clone())
        actions.append(torque)
        if step == steps - 1:
            success, touched = instruction.success.clone(), instruction.first_touched.clone()
            named, texts = instruction.named.clone(), instruction.text(every)
        executed = torque + expert.motion.disturbance(rates.control_dt)
        env.step(executed / expert.motion.torque_limit)
        if step < steps - 1:
            broken |= env.reset_buf
    if bool(broken.any()):  # where physics broke another episode has begun, which would end amid the next rollout
        success &= ~broken
        env.reset()
    frames = (steps // rates.control_per_frame, rates.control_per_frame)
    return Rollout(
        torch.stack(images),
        torch.stack(states).unflatten(0, frames),
        torch.stack(actions).unflatten(0, frames),
        torch.stack(environments),
        success,
        touched,
        named,
        texts,
        begins,
    )


def episodes_of(rollout: Rollout) -> Iterator[RecordedEpisode]:
    """The successful episodes of a rollout, each from the frame at which its instruction was given."""
    # lerobot takes seconds to import, and every stage imports this module.
    from argos_sim.lerobot_io import RecordedEpisode

    for i in rollout.success.nonzero().squeeze(-1).tolist():
        frames = slice(int(rollout.begins[i]), None)
        yield RecordedEpisode(
            images=rollout.images[frames, i].permute(0, 2, 3, 1).cpu().numpy(),
            state=rollout.control_state[frames, 0, i].cpu().numpy(),
            action=rollout.control_action[frames, 0, i].cpu().numpy(),
            environment_state=rollout.environment_state[frames, i].cpu().numpy(),
            control_state=rollout.control_state[frames, :, i].cpu().numpy(),
            control_action=rollout.control_action[frames, :, i].cpu().numpy(),
            task=rollout.instructions[i],
        )


FAILURES = ("failed_nothing_touched", "failed_wrong_object", "failed_otherwise")


def failures(rollout: Rollout) -> dict[str, int]:
    """How many episodes failed, by kind."""
    failed, touched = ~rollout.success, rollout.first_touched
    kinds = (touched < 0, (touched >= 0) & (touched != rollout.named), touched == rollout.named)
    return {name: int((failed & kind).sum()) for name, kind in zip(FAILURES, kinds, strict=True)}


def record_demonstrations(env: LatentTrackingEnv, expert: TaskExpert, root: Path, episodes: int) -> dict[str, float]:
    """Record until ``episodes`` succeeded; write ``root`` and, beside it, the counts as ``<root>.json``.

    Returns:
        attempted, recorded, and failures by kind: nothing touched, another object touched first, or the right one but
        not done.
    """
    from argos_sim.lerobot_io import EpisodeWriter

    rates = env.cfg.rates
    env.reset()
    counts: Counter[str] = Counter(recorded=0, attempted=0, **dict.fromkeys(FAILURES, 0))
    with (
        EpisodeWriter(
            root,
            env.cfg.joint_names,
            env.cfg.perception.image_size,
            rates.camera_hz,
            environment_dim=environment_state(env).shape[1],
            control_per_frame=rates.control_per_frame,
            robot_type=env.cfg.robot_type,
            overwrite=True,
        ) as writer,
        tqdm(total=episodes, desc="demonstrations", unit="episode") as bar,
    ):
        while writer.episodes < episodes:
            rollout = expert_rollout(env, expert)
            counts["attempted"] += len(rollout.success)
            counts.update(failures(rollout))
            if not bool(rollout.success.any()):
                kinds = ", ".join(f"{name}: {count}" for name, count in failures(rollout).items() if count)
                raise ValueError(
                    f"The expert failed in all {len(rollout.success)} environments ({kinds}); nothing can be recorded. "
                    f"Its legs end up to {100 * float(expert.motion.ik_error.max()):.1f} cm from where the fingertip "
                    "should be: if that is much, the waypoints are out of reach, or the robot's file differs from its "
                    "model; if not, check torques and gains. scripts/look.py shows where blocks lie."
                )
            for episode in episodes_of(rollout):
                if writer.episodes == episodes:
                    break
                writer.add(episode)
                bar.update()
        counts["recorded"] = writer.episodes
    save_json(root.with_name(root.name + ".json"), dict(counts))
    return dict(counts)


def record_views(env: LatentTrackingEnv, expert: TaskExpert, path: Path, movements: int, scattered: int) -> None:
    """Write ``views.safetensors``: each state through two cameras, moved as the environment's ranges say, and the
    canonical one.

    Scattered states share nothing with each other, which is what an encoder learns most from; movements show what
    changes in one planner period, which is what its invariance is measured against.

    Args:
        movements: batches of whole expert episodes, one state a camera frame.
        scattered: batches of single states, each somewhere near one of the expert's approaches.

    Tensors, N states: image_a, image_b, canonical uint8 (N, 3, H, W); mask_a, mask_b, classes uint8 (N, H, W); joints
    (N, J) [rad]; blocks (N, O, 3) [m]; trajectory (N,); pairs (M, 2) of states one planner period apart in a movement.
    """
    rates, every = env.cfg.rates, torch.arange(env.num_envs, device=env.device)
    columns: dict[str, list[Tensor]] = {}

    def add(poses: dict[str, tuple[Tensor, Tensor]], number: int) -> None:
        values = _views(env, every, poses) | {"trajectory": number * env.num_envs + every}
        for name, value in values.items():
            columns.setdefault(name, []).append(value.cpu())

    env.reset()
    for number in tqdm(range(movements), desc="movements", unit="batch"):
        expert.begin(every)
        # One pose an episode and view, as in a real room: two states of a pair differ by the motion alone.
        poses = _view_poses(env, every)
        for step in range(env.max_episode_length):
            env.perception.sense(env.common_step_counter)
            if step % rates.control_per_frame == 0:
                add(poses, number)
            executed = expert.torque() + expert.motion.disturbance(rates.control_dt)
            env.step(executed / expert.motion.torque_limit)
    for number in tqdm(range(scattered), desc="scattered states", unit="batch"):
        _scatter(env, expert, every)
        add(_view_poses(env, every), movements + number)
    frames = env.max_episode_length // rates.control_per_frame
    index = torch.arange(movements * frames * env.num_envs).view(movements, frames, env.num_envs)
    # After the last plan the arm rests, and two states a period apart are one.
    last = (env.cfg.plans_per_episode - 1) * rates.frames_per_plan
    pairs = torch.stack([index[:, : last + 1], index[:, rates.frames_per_plan : last + rates.frames_per_plan + 1]], -1)
    save_tensors(path, {k: torch.cat(v) for k, v in columns.items()} | {"pairs": pairs.flatten(0, 2)})


SCATTER = 0.1
"""rad; standard deviation of scattered joints about the expert's path."""


def _scatter(env: LatentTrackingEnv, expert: TaskExpert, every: Tensor) -> None:
    """New blocks where episodes begin, and each arm at rest somewhere near the expert's path to them.

    Beyond the approach a block would be in the hand or elsewhere; such states are the movements' to show.
    """
    env.reset()
    expert.begin(every)
    motion, generator = expert.motion, env.generator
    joints, unit = expert.approaching(torch.rand(env.num_envs, generator=generator, device=env.device)), env.joint_unit
    joints = joints + SCATTER * unit * torch.randn(joints.shape, generator=generator, device=env.device)
    joints = joints.clamp(motion.arm.limits[:, 0] + 0.01 * unit, motion.arm.limits[:, 1] - 0.01 * unit)
    write_joints(env, every, joints, torch.zeros_like(joints))
    env.scene.write_data_to_sim()
    env.sim.forward()


def _view_poses(env: LatentTrackingEnv, every: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    own = env.cfg.ranges
    return {
        view: env.camera_poses(every, Draws(ranges, env.num_envs, env.device))
        for view, ranges in {"a": own, "b": own, "canonical": RandomizationRanges()}.items()
    }


def _views(env: LatentTrackingEnv, every: Tensor, poses: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    out = {}
    for view, pose in poses.items():
        env.place_cameras(every, pose)
        rgb, classes = env.perception.render()
        if view == "canonical":
            out["canonical"], out["classes"] = canonical_view(rgb, classes)
        else:
            out[f"image_{view}"], out[f"mask_{view}"] = rgb, (classes > 0).to(torch.uint8)
    position = env.instruction.object_positions()
    out["joints"] = env.perception.true_proprio()[:, : len(env.cfg.joint_names)].clone()
    out["blocks"] = position - env.scene.env_origins[:, None]
    return out
