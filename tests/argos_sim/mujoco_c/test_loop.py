"""Laws of the loop on MuJoCo: it is independent, repeatable, and shows the controller what training showed it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

import tasks  # noqa: F401
from argos_sim.controller.network import PROPRIO, TARGET_VISION, VISION, load_controller
from argos_sim.deploy.export import export_controller
from argos_sim.deploy.manifest import PolicyManifest, read_manifest
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.mdp import latent_target, terminations
from argos_sim.mdp.events import write_joints, write_object
from argos_sim.mujoco_c import arms as mujoco_arms
from argos_sim.mujoco_c import loop as mujoco_loop
from argos_sim.mujoco_c.loop import ExportedController, Loop, PerfectTracking
from argos_sim.mujoco_c.world import World
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline.environment import environment_cfg, make_environment
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import RandomizationRanges, get_ranges
from argos_wm.encoders.state import StateEncoder
from argos_wm.latents import LatentSpec, LatentState, SpecMismatch
from argos_wm.planner import Planner
from argos_wm.sampler import SamplerConfig

ARMS = 2


@pytest.fixture(scope="module")
def encoder() -> StateEncoder:
    return StateEncoder.load(PRETRAINED / "encoder")


@pytest.fixture(scope="module")
def planner() -> Planner:
    return Planner.load(PRETRAINED / "planner", SamplerConfig(steps=2))


@pytest.fixture(scope="module")
def world() -> World:
    return dataclasses.replace(World.of(environment_cfg(Settings(), 1)), plans=1)


@pytest.fixture(scope="module")
def export(encoder: StateEncoder, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    controller = load_controller(PRETRAINED / "controller", encoder.spec, "the encoder")
    limits = tuple(controller.torque_limit.tolist())
    manifest = PolicyManifest(
        spec=encoder.spec.to_json(),
        joint_names=world.joint_names,
        joint_limits=world.joint_limits,
        torque_limits=limits,
        velocity_limits=(world.stall_torque / world.back_emf,) * 6,
        rates=dataclasses.asdict(world.rates),
        history=controller.cfg.history,
        action_scale=limits,
    )
    folder = tmp_path_factory.mktemp("exported") / "controller"
    export_controller(controller, manifest, folder)
    return folder


def test_what_counts_as_reached_and_as_broken_is_isaac_labs_loops() -> None:
    """Written twice, since neither loop may import the other."""
    for name in ("JOINT_TOLERANCE", "VISION_SHARE"):
        assert getattr(mujoco_loop, name) == getattr(latent_target, name)
    assert mujoco_arms.MAX_JOINT_SPEED == terminations.MAX_JOINT_SPEED


def test_nothing_of_isaac_lab_is_imported() -> None:
    code = (
        "import sys, argos_sim.mujoco_c.loop; "
        "print([m for m in sys.modules if m.split('.')[0] in ('isaaclab', 'newton', 'warp', 'rsl_rl', 'mujoco_warp')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_exported_controller_comes_near_its_targets_and_perfect_tracking_nearer(
    world: World, encoder: StateEncoder, planner: Planner, export: Path
) -> None:
    loop = Loop(world, get_ranges("train"), encoder, planner, ARMS, seed=5)
    driven = loop.run(ExportedController(export, ARMS, encoder.spec), ARMS, "exported")
    again = loop.run(ExportedController(export, ARMS, encoder.spec), ARMS, "again")
    assert all(torch.equal(driven[k], again[k]) for k in driven)
    perfect = loop.run(PerfectTracking(), ARMS, "perfect")
    assert torch.equal(driven["joint_error_given"], perfect["joint_error_given"]), "the same episodes for every drive"
    assert (driven["joint_error"] < 0.5 * driven["joint_error_given"]).all()
    assert (perfect["joint_error"] < 0.01).all()
    assert (driven["torque"] > 0.01).all() and (perfect["torque"] == 0).all()


def test_another_encoders_export_and_unknown_ranges_are_refused(
    world: World, encoder: StateEncoder, planner: Planner, export: Path
) -> None:
    other = dataclasses.replace(encoder.spec, encoder_hash="0" * 16)
    with pytest.raises(SpecMismatch, match="the exported controller .* encoder_hash"):
        ExportedController(export, 1, other)
    unknown = {"light_direction": (0.0, 0.6), "shade": (0.5, 1.0), "tilt": (0.0, 0.1), "push_force": (0.0, 1.0)}
    with pytest.raises(ValueError, match=f"cannot randomize {', '.join(unknown)}"):
        Loop(world, dataclasses.replace(RandomizationRanges(), **unknown), encoder, planner, 1)


def test_a_lamp_changes_nothing_but_the_light(world: World, encoder: StateEncoder, planner: Planner) -> None:
    dark, lit = (Loop(world, get_ranges("train"), encoder, planner, ARMS, light, seed=3) for light in (False, True))
    for loop in (dark, lit):
        loop.begin()
        loop.sense(0)
    assert lit.senses.lights != dark.senses.lights
    for name in ("shift", "turn", "bias", "noise", "delay"):
        assert np.array_equal(getattr(lit.senses, name), getattr(dark.senses, name)), name
    assert torch.equal(lit.senses.proprio, dark.senses.proprio)
    assert not torch.equal(lit.senses.images, dark.senses.images)


class Given:
    """Targets that are given beforehand."""

    def __init__(self, target: LatentState) -> None:
        self.target = target

    def targets(self, env: LatentTrackingEnv, ids: torch.Tensor, horizon: torch.Tensor) -> LatentState:
        return LatentState(self.target.vision[ids], self.target.proprio[ids], horizon)

    def reseed(self, seed: int) -> None:
        """Nothing is drawn."""


@pytest.fixture(scope="module")
def env(export: Path) -> Iterator[LatentTrackingEnv]:
    cfg = environment_cfg(Settings(), ARMS, physics="ovphysx", encoder=str(PRETRAINED / "encoder"))
    cfg.perception.control_history = read_manifest(export).history
    cfg.ranges = get_ranges("nominal")
    cfg.apply()
    with make_environment(cfg) as env:
        yield env


def test_the_controller_is_shown_what_the_environment_shows(
    env: LatentTrackingEnv,
    world: World,
    encoder: StateEncoder,
    planner: Planner,
    export: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop(world, get_ranges("nominal"), encoder, planner, ARMS, seed=1)
    controller, shown = ExportedController(export, ARMS, encoder.spec), []
    for runtime in controller.runtimes:
        monkeypatch.setattr(runtime, "infer", lambda feed, infer=runtime.infer: (shown.append(feed), infer(feed))[1])
    loop.begin()
    loop.sense(0)
    loop._plan()
    env.target.source = Given(loop.target)
    env.reset()
    same_state(env, loop)
    for step in range(3):
        observed = cast("dict[str, torch.Tensor]", env.observation_manager.compute())
        shown.clear()
        if step:
            loop.sense(step)
        torque = controller.torques(loop)
        feed = {k: torch.from_numpy(np.concatenate([f[k] for f in shown])) for k in shown[0]}
        flat = [feed[k].flatten(1) for k in ("proprio", "target_proprio", "last_action", "time_to_go")]
        # The engines part by a few thousandths of a rad/s within a step, of which one is 0.2 in standardised units.
        assert observed[PROPRIO].numpy() == pytest.approx(torch.cat(flat, 1).numpy(), abs=0.1 if step else 1e-3)
        assert observed[TARGET_VISION].numpy() == pytest.approx(feed["target_vision"].flatten(1).numpy(), abs=1e-6)
        error = (observed[VISION] - feed["vision"].flatten(1)).square().mean().sqrt()
        assert error < 0.1, "two states 0.8 s apart differ by more than 1"
        loop.arms.step(torque)
        env.step(torch.from_numpy(torque) / env.motors.stall_torque)


def same_state(env: LatentTrackingEnv, loop: Loop) -> None:
    """Put the environment's arms and cubes where the loop's are, at the start of an episode."""
    every = torch.arange(ARMS)
    position, velocity = torch.from_numpy(loop.arms.joints()).float().chunk(2, 1)
    write_joints(env, every, position, velocity)
    for name in loop.arms.world.objects:
        pose = torch.tensor(np.array([data.joint(name).qpos for data in loop.arms.data])).float()
        write_object(env, name, every, pose[:, :3], pose[:, [4, 5, 6, 3]])
    env.scene.write_data_to_sim()
    env.sim.forward()
    env.perception.reset(every)
    env.target.forget()
    env.target.ensure_ready()


def test_specs_survive_the_manifest(export: Path, encoder: StateEncoder) -> None:
    manifest = ExportedController(export, 1, encoder.spec).runtimes[0].manifest
    assert LatentSpec.from_json(manifest.spec) == encoder.spec
