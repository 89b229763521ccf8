"""Laws of the loop on MuJoCo: it is independent, repeatable, and shows the controller what training showed it."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

import tasks  # noqa: F401
from argos_sim.controller.network import PROPRIO, TARGET_VISION, VISION, load_controller
from argos_sim.deploy.manifest import DeployError, PlannerSettings, PolicyManifest, read_manifest
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.deploy.simulated import WORLD_FILE
from argos_sim.envs.latent_tracking_env import LatentTrackingEnv
from argos_sim.mdp import latent_target, terminations
from argos_sim.mdp.events import write_joints, write_object
from argos_sim.mujoco_c import arms as mujoco_arms
from argos_sim.mujoco_c import loop as mujoco_loop
from argos_sim.mujoco_c.loop import BatchedController, Loop, PerfectTracking
from argos_sim.mujoco_c.policy import BatchedPolicy
from argos_sim.mujoco_c.world import World
from argos_sim.paths import PRETRAINED
from argos_sim.pipeline import recorded
from argos_sim.pipeline.environment import environment_cfg, make_environment
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import RandomizationRanges, get_ranges
from argos_wm.checkpoint import save_json
from argos_wm.encoders.state import StateEncoder
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.latents import LatentSpec, LatentState, SpecMismatch
from argos_wm.planner import Planner
from argos_wm.sampler import SamplerConfig
from argos_wm.world_model import WorldModel
from tests.argos_sim.deploy.tiny import make_encoder, make_model, write

ARMS = 2


@pytest.fixture(scope="module")
def world() -> World:
    return dataclasses.replace(World.of(environment_cfg(Settings(), 1)), plans=1)


@pytest.fixture(scope="module")
def in_torch(world: World) -> tuple[BatchedPolicy, BatchedController]:
    """The shipped weights, as they are before an export."""
    encoder = StateEncoder.load(PRETRAINED / "encoder")
    planner = Planner.load(PRETRAINED / "planner", SamplerConfig(steps=2))
    controller = load_controller(PRETRAINED / "controller", encoder.spec, "the encoder")
    limits = tuple(controller.torque_limit.tolist())
    model = planner.world_model
    manifest = PolicyManifest(
        spec=encoder.spec.to_json(),
        joint_names=world.joint_names,
        joint_limits=world.joint_limits,
        torque_limits=limits,
        velocity_limits=(world.stall_torque / world.back_emf,) * 6,
        rates=dataclasses.asdict(world.rates),
        history=controller.cfg.history,
        action_scale=limits,
        image_size=encoder.vision.image_size,
        planner=PlannerSettings(model.config.history, {}, shift=model.shift, **dataclasses.asdict(planner.sampler)),
    )
    return recorded.in_torch(manifest, encoder, planner, controller)


@pytest.fixture(scope="module")
def policy(in_torch: tuple[BatchedPolicy, BatchedController]) -> BatchedPolicy:
    return in_torch[0]


@pytest.fixture(scope="module")
def controller(in_torch: tuple[BatchedPolicy, BatchedController]) -> BatchedController:
    return in_torch[1]


@pytest.fixture(scope="module")
def tiny(world: World) -> tuple[StateEncoder, WorldModel]:
    encoder = make_encoder(names=world.joint_names)
    return encoder, make_model(encoder)


@pytest.fixture(scope="module")
def export(tiny: tuple[StateEncoder, WorldModel], world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny policy of this robot, whole."""
    folder = tmp_path_factory.mktemp("exported") / "policy"
    write(folder, *tiny)
    save_json(folder / WORLD_FILE, dataclasses.replace(world, plans=2).to_json())
    return folder


def test_what_counts_as_reached_and_as_broken_is_isaac_labs_loops() -> None:
    """Written twice, since neither loop may import the other."""
    for name in ("JOINT_TOLERANCE", "VISION_SHARE"):
        assert getattr(mujoco_loop, name) == getattr(latent_target, name)
    assert mujoco_arms.MAX_JOINT_SPEED == terminations.MAX_JOINT_SPEED


ALONE = """
import json, sys
from pathlib import Path

from argos_sim.mujoco_c.loop import BatchedController, Loop
from argos_sim.mujoco_c.policy import BatchedPolicy
from argos_sim.mujoco_c.world import World
from argos_sim.randomization.ranges import get_ranges

folder = Path(sys.argv[1])
policy = BatchedPolicy.load(folder)
loop = Loop(World.from_json(json.loads((folder / "world.json").read_text())), get_ranges("train"), policy, 2)
records = loop.run(BatchedController.load(folder, policy), 2, "alone")
assert len(records["success"]) == 2 and len(records["reached"]) == 4 and records["joint_error"].isfinite().all()
known = {"argos_wm", "argos_wm.latents"}
no_part = ("isaaclab", "newton", "warp", "rsl_rl", "mujoco_warp", "safetensors", "transformers", "argos_wm")
print([m for m in sys.modules if m.split(".")[0] in no_part and m not in known])
"""


def test_an_exports_folder_is_enough_and_no_network_of_torch_is_imported(export: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, export], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_it_sees_feels_and_plans_as_torch_does(
    tiny: tuple[StateEncoder, WorldModel], world: World, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (encoder, model), policy, felt = tiny, BatchedPolicy.load(export), []
    monkeypatch.setattr(policy, "feel", lambda joints, feel=policy.feel: (felt.append(joints), feel(joints))[1])
    loop = Loop(world, get_ranges("train"), policy, 3, seed=2)
    loop.begin()
    source, seen = np.random.default_rng((2, 0, 1)), []
    texts = HashedNGramEncoder()([world.texts[i] for i in loop.arms.asked])
    for step in range(world.rates.control_per_plan + 1):
        loop.sense(step)
        images, raw = torch.from_numpy(loop.senses.images), torch.from_numpy(felt[-1]).float()
        state = encoder.encode(images, raw, torch.zeros(3))
        np.testing.assert_allclose(loop.senses.vision, state.vision.numpy(), atol=1e-4)
        np.testing.assert_allclose(loop.senses.proprio, state.proprio.numpy(), atol=1e-4)
        if step % world.rates.control_per_plan == 0:
            loop._plan()
            seen.append(state)
            history = LatentState.stack([seen[0], state])
            history = dataclasses.replace(history, time=torch.tensor(model.config.history).expand(3, -1))
            shapes = ((3, *state.vision.shape[1:]), (3, state.proprio.shape[1]))
            vision, proprio = (torch.from_numpy(source.standard_normal(s, dtype=np.float32)) for s in shapes)
            known, horizon = torch.tensor([[step > 0, True]]).expand(3, -1), torch.full((3,), 0.8)
            options = SamplerConfig().arguments()
            wanted = model.sample(history, known, texts, horizon, noise=(vision, proprio), **options)
            np.testing.assert_allclose(loop.target[0], wanted.vision.numpy(), atol=1e-3)
            np.testing.assert_allclose(loop.target[1], wanted.proprio.numpy(), atol=1e-3)
            np.testing.assert_allclose(loop.target_raw, encoder.decode_proprio(wanted.proprio).numpy(), atol=1e-3)
        loop.arms.step(np.full((3, 6), 0.3))
    assert len(seen) == 2 and not torch.allclose(seen[0].vision, seen[1].vision, atol=0.1)


def test_a_longer_text_beside_it_changes_nothing_for_a_short_one(export: Path) -> None:
    """As with a tokenizer, whose texts have as many tokens as they need."""
    policy, rng = BatchedPolicy.load(export), np.random.default_rng(0)
    padded = policy._reads
    policy._reads = lambda text: (padded(text)[0][: len(text.split())], padded(text)[1][: len(text.split())])
    shapes = (policy.manifest.inputs[name] for name in ("vision", "target_proprio"))
    both = tuple(rng.standard_normal((2, 2, *shape), np.float32) for shape in shapes)

    def first(*texts: str) -> np.ndarray:
        known, horizon = np.ones((2, 2), dtype=bool), np.full(2, 0.8)
        return policy.plan((both[0], both[1]), known, texts, horizon, np.random.default_rng(1))[0][0]

    alone = first("touch red", "touch red")
    np.testing.assert_allclose(first("touch red", "touch the green block"), alone, atol=1e-4)
    assert np.abs(first("touch the green block", "touch red") - alone).max() > 1e-2


def test_the_controller_is_asked_as_a_robots_runtime_asks_it(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes in is compared: what training left untouched, such as the last action, would not show in torques."""
    runtimes = [ControllerRuntime(export) for _ in range(2)]
    batched = BatchedController(runtimes[0].infer, runtimes[0].manifest)
    asked: list[dict[str, np.ndarray]] = []
    for each in (batched, *runtimes):
        monkeypatch.setattr(each, "infer", lambda feed, infer=each.infer: (asked.append(feed), infer(feed))[1])
    rng, shapes = np.random.default_rng(0), batched.manifest.inputs
    for _ in range(2):  # episodes
        for each in (batched, *runtimes):
            each.reset()
        for step in range(3):
            now, target = (
                [rng.standard_normal((2, *shapes[name]), np.float32) for name in ("vision", "target_proprio")]
                for _ in range(2)
            )
            senses, to_go = SimpleNamespace(vision=now[0], proprio=now[1]), 0.8 - 0.02 * step
            torque = batched.torques(cast("Loop", SimpleNamespace(senses=senses, target=target, time_to_go=to_go)))
            for i, runtime in enumerate(runtimes):
                wanted = runtime.step(now[0][i], now[1][i], target[0][i], target[1][i], to_go)
                np.testing.assert_allclose(torque[i], wanted, atol=1e-5)
            together, alone = asked[-3], {k: np.concatenate([feed[k] for feed in asked[-2:]]) for k in shapes}
            assert set(together) == set(alone) and np.abs(torque).max() > 0
            for name, value in alone.items():
                np.testing.assert_allclose(together[name], value, atol=1e-6, err_msg=name)
                assert together[name].dtype == value.dtype == np.float32


def test_the_controller_comes_near_its_targets_and_perfect_tracking_nearer(
    world: World, policy: BatchedPolicy, controller: BatchedController
) -> None:
    loop = Loop(world, get_ranges("train"), policy, ARMS, seed=5)
    driven = loop.run(controller, ARMS, "driven")
    again = loop.run(controller, ARMS, "again")
    assert all(torch.equal(driven[k], again[k]) for k in driven)
    perfect = loop.run(PerfectTracking(), ARMS, "perfect")
    assert torch.equal(driven["joint_error_given"], perfect["joint_error_given"]), "the same episodes for every drive"
    assert (driven["joint_error"] < 0.5 * driven["joint_error_given"]).all()
    assert (perfect["joint_error"] < 0.01).all()
    assert (driven["torque"] > 0.01).all() and (perfect["torque"] == 0).all()


def test_what_does_not_go_together_is_refused(world: World, policy: BatchedPolicy, export: Path) -> None:
    with pytest.raises(SpecMismatch, match="the exported controller .* encoder_hash"):
        BatchedController.load(export, policy)
    nominal, tiny = RandomizationRanges(), BatchedPolicy.load(export)
    unknown = {"light_direction": (0.0, 0.6), "shade": (0.5, 1.0), "tilt": (0.0, 0.1), "push_force": (0.0, 1.0)}
    with pytest.raises(ValueError, match=f"cannot randomize {', '.join(unknown)}"):
        Loop(world, dataclasses.replace(nominal, **unknown), policy, 1)
    for field, value, message in (
        ("joint_names", ("pan",), "The robot's joints are .*, the policy's .*pan"),
        ("rates", tiny.manifest.rates | {"control_hz": 100}, "The robot's rates are .*50.*, the policy's .*100"),
        ("spec", tiny.manifest.spec | {"cameras": ["front", "wrist"]}, "has the cameras front, wrist"),
    ):
        tiny.manifest = dataclasses.replace(policy.manifest, **{field: value})
        with pytest.raises(DeployError, match=message):
            Loop(world, nominal, tiny, 1)


def test_an_export_of_the_controller_alone_is_no_policy(export: Path, tmp_path: Path) -> None:
    manifest = read_manifest(export)
    networks = {"controller": manifest.networks["controller"]}
    shutil.copy(export / "controller.onnx", tmp_path)
    (tmp_path / "policy.yaml").write_text(dataclasses.replace(manifest, networks=networks).to_yaml())
    with pytest.raises(DeployError, match="was exported without its vision"):
        BatchedPolicy.load(tmp_path)


def test_a_lamp_changes_nothing_but_the_light(world: World, policy: BatchedPolicy) -> None:
    dark, lit = (Loop(world, get_ranges("train"), policy, ARMS, light, seed=3) for light in (False, True))
    for loop in (dark, lit):
        loop.begin()
        loop.sense(0)
    assert lit.senses.lights != dark.senses.lights
    for name in ("shift", "turn", "bias", "noise", "delay", "proprio"):
        assert np.array_equal(getattr(lit.senses, name), getattr(dark.senses, name)), name
    assert not np.array_equal(lit.senses.images, dark.senses.images)


class Given:
    """Targets that are given beforehand."""

    def __init__(self, target: LatentState) -> None:
        self.target = target

    def targets(self, env: LatentTrackingEnv, ids: torch.Tensor, horizon: torch.Tensor) -> LatentState:
        return LatentState(self.target.vision[ids], self.target.proprio[ids], horizon)

    def reseed(self, seed: int) -> None:
        """Nothing is drawn."""


@pytest.fixture(scope="module")
def env(policy: BatchedPolicy, controller: BatchedController) -> Iterator[LatentTrackingEnv]:
    cfg = environment_cfg(Settings(), ARMS, physics="ovphysx", encoder=str(PRETRAINED / "encoder"))
    cfg.perception.control_history = controller.manifest.history
    cfg.ranges = get_ranges("nominal")
    cfg.apply()
    with make_environment(cfg) as env:
        yield env


def test_the_controller_is_shown_what_the_environment_shows(
    env: LatentTrackingEnv,
    world: World,
    policy: BatchedPolicy,
    controller: BatchedController,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop(world, get_ranges("nominal"), policy, ARMS, seed=1)
    shown: list[dict[str, np.ndarray]] = []
    monkeypatch.setattr(controller, "infer", lambda feed, infer=controller.infer: (shown.append(feed), infer(feed))[1])
    controller.reset()
    loop.begin()
    loop.sense(0)
    loop._plan()
    vision, proprio = (torch.from_numpy(part) for part in loop.target)
    env.target.source = Given(LatentState(vision, proprio, torch.zeros(ARMS)))
    env.reset()
    same_state(env, loop)
    for step in range(3):
        observed = cast("dict[str, torch.Tensor]", env.observation_manager.compute())
        if step:
            loop.sense(step)
        torque = controller.torques(loop)
        feed = {k: torch.from_numpy(value) for k, value in shown[-1].items()}
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


def test_specs_survive_the_manifest(export: Path, tiny: tuple[StateEncoder, WorldModel]) -> None:
    assert LatentSpec.from_json(read_manifest(export).spec) == tiny[0].spec
