"""Laws of the simulated arm: it keeps time, obeys torques, lets go when nobody commands it, plays what it is told."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tasks  # noqa: F401
from argos_sim.deploy.live import wilson
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.signals import FROM_TERMINALS
from argos_sim.deploy.simulated import WORLD_FILE, SimulatedRobot, SimulatedRobotSettings
from argos_sim.mujoco_c.world import World
from argos_sim.pipeline.environment import environment_cfg
from argos_sim.pipeline.settings import Settings

EXACT = SimulatedRobotSettings(ranges="nominal", encoder_noise=0.0, lost=0.0, read_delay_s=0.0, image_size=32)


@pytest.fixture(scope="module")
def world() -> World:
    return World.of(environment_cfg(Settings(), 1))


def manifest(world: World) -> PolicyManifest:
    return PolicyManifest(
        spec={},
        joint_names=world.joint_names,
        joint_limits=world.joint_limits,
        torque_limits=(2.94,) * 6,
        velocity_limits=(4.9,) * 6,
        rates={},
        history=0,
        action_scale=(2.94,) * 6,
    )


@pytest.fixture(scope="module")
def robot(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedRobot]:
    folder = tmp_path_factory.mktemp("policy")
    (folder / WORLD_FILE).write_text(json.dumps(world.to_json()))
    robot = SimulatedRobot(folder, manifest(world), EXACT)
    yield robot
    robot.close()


def read(robot: SimulatedRobot, after: float | None = None):
    """The first read-out that was sensed after a time."""
    after, end = time.monotonic() if after is None else after, time.monotonic() + 20
    while (reading := robot.joints()) is None or reading.time <= after:
        assert time.monotonic() < end, "the joints are read no more"
        time.sleep(0.002)
    return reading


def push(robot: SimulatedRobot, torque: float, seconds: float) -> float:
    """Command the base's joint; returns its speed at the end [rad/s]."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        robot.send(np.array([torque, 0, 0, 0, 0, 0]))
        time.sleep(0.01)
    return float(read(robot).velocity[0])


def test_a_world_is_the_same_after_a_file(world: World) -> None:
    assert World.from_json(json.loads(json.dumps(world.to_json()))) == world
    elsewhere = [{"mjcf": f"../{Path(__file__).parents[3].name}/README.md"}, {"mjcf": "/etc/hostname"}]
    for broken in ({}, *(world.to_json() | change for change in ({"goal": 3}, {"colour": 1}, *elsewhere))):
        with pytest.raises(ValueError, match="describes no world"):
            World.from_json(broken)


def test_episodes_of_one_number_begin_alike_and_others_do_not(robot: SimulatedRobot) -> None:
    texts, starts = [], []
    for episode in (3, 4, 3):
        texts.append(robot.begin(episode))
        starts.append(read(robot).position)
    assert texts[0] == texts[2] and np.abs(starts[0] - starts[2]).max() < 0.3
    assert np.abs(starts[0] - starts[1]).max() > 0.02
    assert not robot.success()
    assert robot.begin(3, "touch the blue block") == "touch the blue block"
    with pytest.raises(ValueError, match="cannot be judged. Ask one of: "):
        robot.begin(3, "dance")


def test_joints_follow_torques_and_read_outs_the_clock(robot: SimulatedRobot) -> None:
    robot.begin(0)
    assert push(robot, 1.0, 0.3) > 0.2 and push(robot, -1.5, 0.5) < -0.2
    assert abs(read(robot).time - time.monotonic()) < 0.5


def test_a_terminals_signals_are_left_to_the_parent(robot: SimulatedRobot) -> None:
    assert robot._process.pid is not None
    for number in FROM_TERMINALS:
        os.kill(robot._process.pid, number)
    before = read(robot)
    assert robot.begin(0) and read(robot, before.time)


def test_nobodys_arm_lets_go(robot: SimulatedRobot) -> None:
    """The motors brake the joint within a fraction of a second once commands fail to come."""
    robot.begin(0)
    moving = push(robot, 1.0, 0.4)
    time.sleep(EXACT.watchdog_s + 0.6)
    assert moving > 0.2 and abs(read(robot).velocity[0]) < 0.2 * moving


def test_pictures_come_at_the_cameras_rate_and_show_the_arm(robot: SimulatedRobot, world: World) -> None:
    robot.begin(0)
    seen: dict[float, np.ndarray] = {}
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        frame = robot.frame()
        if frame is not None:
            seen[frame.time] = frame.pictures[0]
        time.sleep(0.005)
    assert 5 <= len(seen) <= 17
    picture = next(iter(seen.values()))
    assert picture.shape == (32, 32, 3) and picture.std() > 5


def test_noise_delay_and_losses_are_there(world: World, tmp_path: Path) -> None:
    (tmp_path / WORLD_FILE).write_text(json.dumps(world.to_json()))
    rough = dataclasses.replace(EXACT, encoder_noise=0.01, read_delay_s=0.05, lost=0.5)
    robot = SimulatedRobot(tmp_path, manifest(world), rough)
    try:
        robot.begin(0)
        time.sleep(0.5)
        readings = {}
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            reading = robot.joints()
            assert reading is not None
            readings[reading.time] = (reading, time.monotonic() - reading.time)
        ages = [age for _, age in readings.values()]
        assert min(ages) > 0.04, "what is read is as old as it is said to be"
        fifth = np.array([reading.position[4] for reading, _ in readings.values()])
        assert 0.003 < np.diff(fifth).std() / 2**0.5 < 0.03
        assert len(readings) < 0.8 * world.rates.physics_hz
    finally:
        robot.close()


def test_a_policy_without_a_world_is_one_sentence(world: World, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="has no world.json"):
        SimulatedRobot(tmp_path, manifest(world), EXACT)
    (tmp_path / WORLD_FILE).write_text(json.dumps(world.to_json())[:200])
    with pytest.raises(DeployError, match="world.json is no JSON .* may be cut off"):
        SimulatedRobot(tmp_path, manifest(world), EXACT)
    (tmp_path / WORLD_FILE).write_text("{}")
    with pytest.raises(DeployError, match="process ended or hung at its start"):
        SimulatedRobot(tmp_path, manifest(world), EXACT)


def test_the_script_says_in_a_sentence_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/run_robot.py", "--policy", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("error: There is no exported policy at")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--seconds", "nan"], ["--episodes", "0"]])
def test_no_time_is_a_mistake_that_is_said(policy: Path, arguments: list[str]) -> None:
    command = [sys.executable, "scripts/run_robot.py", "--policy", str(policy), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "error: --seconds and --episodes are above zero." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say with --calibration where"),
        (
            ["--calibration", "arm.json", "--inverted", "tail"],
            "There is no joint 'tail'; the policy has pan, lift, grip",
        ),
        (["--calibration", "none.json"], "There is no file none.json, which --calibration names"),
        # Cameras come before what the calibration says.
        (["--calibration", "README.md", "--camera", "/dev/nowhere"], "The camera /dev/nowhere cannot be opened"),
    ],
)
def test_a_real_arm_that_is_not_there_is_one_sentence(policy: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "scripts/run_robot.py", "--robot", "so100", "--policy", str(policy), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and f"error: {message}" in done.stderr and "Traceback" not in done.stderr


def test_an_interval_is_wilsons() -> None:
    low, high = wilson(18, 20)
    assert (round(low, 3), round(high, 3)) == (0.699, 0.972)
    assert wilson(0, 0) == (0.0, 1.0)
