"""Laws of the SO-100's driver, with lerobot's own bus on simulated servos: angles, duties, silence, and letting go."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argos_sim.deploy import lerobot_bus
from argos_sim.deploy.lerobot_arm import LeRobotArm, LeRobotArmSettings
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.motor_units import MotorUnits
from argos_sim.deploy.servo_units import units_of
from tasks.so100.robot import JOINT_LIMITS, JOINT_NAMES
from tests.argos_sim.deploy.pilots import until
from tests.argos_sim.deploy.servos import BACK_EMF, MODE, TORQUE, Servos

MANIFEST = PolicyManifest(
    spec={},
    joint_names=JOINT_NAMES,
    joint_limits=tuple(JOINT_LIMITS.values()),
    torque_limits=(2.94,) * 6,
    velocity_limits=(4.9,) * 6,
    rates={},
    history=0,
    action_scale=(2.94,) * 6,
)
SIGNS, MIDDLES = (1, -1, 1, 1, -1, 1), (0.1, -1.2, 1.0, 0.0, 0.0, 0.9)
STATED = replace(MANIFEST, motors=MotorUnits(SIGNS, MIDDLES, (2.94, 2.94, 1.47, 2.94, 2.94, 2.94)))
"""With motors that are mounted otherwise, and one that is weaker."""
SETTINGS = LeRobotArmSettings(watchdog_s=0.3, temperature_s=0.01)
PATIENCE_S = 20.0


class StandInCamera:
    """As lerobot's cameras: the newest picture, again and again until there is another."""

    def __init__(self) -> None:
        self.picture: np.ndarray | None = None
        self.disconnected = False

    def read_latest(self) -> np.ndarray:
        if self.picture is None:
            raise RuntimeError("has not captured any frames yet")
        return self.picture

    def disconnect(self) -> None:
        self.disconnected = True


def calibration(offset: int = 0) -> dict[str, dict[str, int]]:
    return {
        name: {"id": i + 1, "drive_mode": 0, "homing_offset": offset, "range_min": 800 + 10 * i, "range_max": 3000}
        for i, name in enumerate(JOINT_NAMES)
    }


def written(servos: Servos, known: dict[str, dict[str, int]]) -> None:
    """As lerobot writes a calibration to the motors."""
    for values in known.values():
        offset = values["homing_offset"]
        servos.set_word(values["id"], 31, offset if offset >= 0 else -offset | 1 << 11)
        servos.set_word(values["id"], 9, values["range_min"])
        servos.set_word(values["id"], 11, values["range_max"])


@pytest.fixture
def servos() -> Iterator[Servos]:
    servos = Servos()
    written(servos, calibration())
    yield servos
    servos.close()


def connect(servos: Servos, tmp_path: Path, **arguments: Any) -> LeRobotArm:
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(calibration()))
    given: dict[str, Any] = {"calibration": path, "cameras": {"front": StandInCamera()}, "settings": SETTINGS}
    return LeRobotArm(servos.port, **{"manifest": MANIFEST, **given, **arguments})


@pytest.fixture
def arm(servos: Servos, tmp_path: Path) -> Iterator[LeRobotArm]:
    arm = connect(servos, tmp_path)
    yield arm
    arm.close()


def reading(arm: LeRobotArm, after: float | None = None) -> Any:
    after = time.monotonic() if after is None else after
    until(lambda: (now := arm.joints()) is not None and now.time > after, "a read-out")
    return arm.joints()


def test_angles_are_those_of_the_calibration(servos: Servos, tmp_path: Path) -> None:
    signs = {"elbow_flex": -1}
    units = units_of(calibration(), MANIFEST, signs)
    arm = connect(servos, tmp_path, signs=signs)
    try:
        for i in servos.ticks:
            servos.ticks[i] = 1500 + 100 * i
        wanted = [units[name].angle(1500 + 100 * (i + 1)) for i, name in enumerate(JOINT_NAMES)]
        time.sleep(0.05)
        assert reading(arm).position.tolist() == pytest.approx(wanted, abs=1e-6)
    finally:
        arm.close()


def test_duties_are_those_that_the_policy_states(servos: Servos, tmp_path: Path) -> None:
    arm = connect(servos, tmp_path, manifest=STATED)
    try:
        wanted = [0.25, -0.25, 0.5, 0.25, -0.25, 0.25]
        until(lambda: (arm.send(np.full(6, 0.735)), [servos.duty(i + 1) for i in range(6)])[1] == wanted, "the duties")
    finally:
        arm.close()


def test_it_agrees_with_lerobots_own_robot(servos: Servos, tmp_path: Path) -> None:
    """In degrees from the middle of the calibrated range, with an offset that the motors hold."""
    from lerobot.robots.so_follower import SO100Follower, SO100FollowerConfig

    known = calibration(offset=-137)
    written(servos, known)
    (tmp_path / "mine.json").write_text(json.dumps(known))
    for i in servos.ticks:
        servos.ticks[i] = 1700 + 90 * i
    config = SO100FollowerConfig(port=servos.port, id="mine", calibration_dir=tmp_path, use_degrees=True)
    robot = SO100Follower(config)
    robot.connect(calibrate=False)
    seen = robot.get_observation()
    robot.disconnect()
    arm = connect(servos, tmp_path, calibration=tmp_path / "mine.json")
    try:
        position = reading(arm).position
        for i, name in enumerate(JOINT_NAMES[:-1]):  # lerobot states the gripper as a share of its range
            middle = 0.5 * sum(JOINT_LIMITS[name])
            turn = math.degrees(position[i] - middle)
            assert turn == pytest.approx(seen[f"{name}.pos"] * 4095 / 4096, abs=0.1), name
    finally:
        arm.close()


def test_the_arm_is_limp_until_the_first_torque_and_then_driven_by_it(servos: Servos, arm: LeRobotArm) -> None:
    reading(arm)
    assert not any(memory[TORQUE] for memory in servos.memory.values()), "limp"
    torque = np.array([1.47, -0.294, 0.0, 9.0, -9.0, 0.6])

    def driven() -> bool:
        arm.send(torque)
        return all(memory[TORQUE] for memory in servos.memory.values()) and servos.duty(6) != 0

    until(driven, "torque")
    assert all(memory[MODE] == 2 for memory in servos.memory.values())
    assert [servos.duty(i) for i in range(1, 7)] == pytest.approx([0.5, -0.1, 0, 1, -1, 0.204], abs=1e-3)
    speeds, end = [], time.monotonic() + 1.0
    while time.monotonic() < end:
        arm.send(torque)
        speeds.append(reading(arm).velocity)
    speed = np.median(speeds[len(speeds) // 2 :], axis=0)  # a busy machine reads one or another at an odd time
    assert speed[0] == pytest.approx(1.47 / BACK_EMF, rel=0.1), "the torque-speed line of the motor model"
    assert speed[1] == pytest.approx(-0.294 / BACK_EMF, rel=0.25) and abs(speed[2]) < 0.05


@pytest.mark.parametrize("fault", ["lost", "cut"])
def test_an_answer_that_gets_lost_does_not_turn_the_arm_away(servos: Servos, tmp_path: Path, fault: str) -> None:
    setattr(servos, fault, 1)
    arm = connect(servos, tmp_path)
    try:
        assert getattr(servos, fault) == 0 and reading(arm).position.shape == (6,)
    finally:
        arm.close()


@pytest.mark.parametrize("asked", ["read_calibration", "disable_torque"])
def test_nor_does_one_that_gets_lost_after_the_handshake(
    servos: Servos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    shake = lerobot_bus.shake_hands

    def shaken(bus: Any) -> None:
        shake(bus)
        whole, losing = getattr(bus, asked), [1]

        def lossy(*arguments: Any, **keywords: Any) -> Any:
            servos.lost = losing.pop() if losing else 0
            return whole(*arguments, **keywords)

        setattr(bus, asked, lossy)

    monkeypatch.setattr(lerobot_bus, "shake_hands", shaken)
    arm = connect(servos, tmp_path)
    try:
        assert servos.lost == 0 and reading(arm).position.shape == (6,)
    finally:
        arm.close()


def test_a_joint_that_counts_the_other_way_is_driven_the_other_way(servos: Servos, tmp_path: Path) -> None:
    arm = connect(servos, tmp_path, signs={"shoulder_pan": -1})
    try:
        before = reading(arm).position[0]

        def moved() -> bool:
            arm.send(np.array([0.8, 0, 0, 0, 0, 0]))
            return reading(arm).position[0] > before + 0.1

        until(moved, "a movement to larger angles")
        assert servos.duty(1) < 0
    finally:
        arm.close()


def test_nobodys_arm_lets_go(servos: Servos, arm: LeRobotArm) -> None:
    until(lambda: (arm.send(np.full(6, 0.5)), servos.duty(1) > 0)[1], "torque")
    until(lambda: servos.duty(1) == 0, "letting go")
    assert servos.memory[1][TORQUE] == 1, "it brakes by its back-EMF, and is there again at once"
    until(lambda: (arm.send(np.full(6, 0.5)), servos.duty(1) > 0)[1], "torque again")


@pytest.mark.parametrize("fault", ["silent", "garbled"])
def test_a_bus_that_fails_leaves_the_last_read_out_with_its_time_and_is_told(
    servos: Servos, arm: LeRobotArm, fault: str
) -> None:
    until(lambda: (arm.send(np.full(6, 0.5)), servos.duty(1) > 0)[1], "torque")
    setattr(servos, fault, True)
    until(lambda: arm.problem != "", "a problem")
    until(lambda: (arm.send(np.full(6, 0.5)), servos.duty(1) == 0)[1], "letting go, whatever is still asked for")
    old = arm.joints()
    time.sleep(0.3)
    assert arm.joints() is old and old is not None and time.monotonic() - old.time > 0.25
    setattr(servos, fault, False)
    reading(arm)
    until(lambda: arm.problem == "", "being well again")


def test_a_glitch_is_no_movement(arm: LeRobotArm) -> None:
    reading(arm)
    read, glitches = arm._bus.sync_read, [700]  # ticks: a radian

    def bent(*arguments: Any, **keywords: Any) -> dict[str, int]:
        ticks = read(*arguments, **keywords)
        return ticks | {"shoulder_pan": ticks["shoulder_pan"] + (glitches.pop() if glitches else 0)}

    arm._bus.sync_read = bent
    speeds = []

    def seen() -> bool:
        speeds.append(abs(reading(arm).velocity[0]))
        return len(speeds) > 20

    until(seen, "read-outs")
    assert not glitches and max(speeds) < 0.5


def test_temperatures_are_read_in_turn(arm: LeRobotArm) -> None:
    until(lambda: (now := arm.joints()) is not None and now.temperature is not None, "all temperatures")
    assert reading(arm).temperature.tolist() == [31, 32, 33, 34, 35, 36]


def test_a_picture_has_the_time_when_it_was_first_seen(servos: Servos, tmp_path: Path) -> None:
    camera = StandInCamera()
    arm = connect(servos, tmp_path, cameras={"front": camera})
    try:
        assert arm.frame() is None
        camera.picture = np.zeros((48, 64, 3), np.uint8)
        first = arm.frame()
        time.sleep(0.02)
        again = arm.frame()
        assert first is not None and again is first and first.pictures[0] is camera.picture
        camera.picture = camera.picture.copy()
        later = arm.frame()
        assert later is not None and later.time > first.time
    finally:
        arm.close()
    assert camera.disconnected


def test_cameras_are_in_the_policys_order_and_all_let_go(servos: Servos, tmp_path: Path) -> None:
    cameras = {name: StandInCamera() for name in ("wrist", "front")}
    manifest = replace(MANIFEST, spec={"cameras": ["front", "wrist"]})
    arm = connect(servos, tmp_path, cameras=cameras, manifest=manifest)
    try:
        cameras["front"].picture = np.zeros((48, 64, 3), np.uint8)
        assert arm.frame() is None
        cameras["wrist"].picture = np.ones((24, 32, 3), np.uint8)
        frame = arm.frame()
        assert frame is not None and [p.shape for p in frame.pictures] == [(48, 64, 3), (24, 32, 3)]
    finally:
        arm.close()
    assert all(camera.disconnected for camera in cameras.values())
    with pytest.raises(DeployError, match="policy has the cameras front, wrist, and front were given"):
        connect(servos, tmp_path, cameras={"front": StandInCamera()}, manifest=manifest)


def test_closing_leaves_the_motors_limp_and_in_lerobots_mode(servos: Servos, tmp_path: Path) -> None:
    arm = connect(servos, tmp_path)
    until(lambda: (arm.send(np.full(6, 0.5)), servos.duty(1) > 0)[1], "torque")
    arm.close()
    assert not any(memory[TORQUE] or memory[MODE] for memory in servos.memory.values())
    assert arm.problem == ""


def test_what_is_missing_is_one_sentence(servos: Servos, tmp_path: Path) -> None:
    good = calibration()
    for change, message in (
        ({"elbow_flex": None}, "calibration lacks elbow_flex"),
        ({"elbow_flex": {"id": 3}}, "calibration lacks elbow_flex"),
        ({"elbow_flex": good["elbow_flex"] | {"range_max": 5}}, "sign 1 and the range"),
        ({"elbow_flex": good["elbow_flex"] | {"range_max": 2999}}, "hold another calibration than the file"),
        ({"elbow_flex": good["elbow_flex"] | {"id": 9}}, "cannot be reached"),
    ):
        path = tmp_path / "bad.json"
        path.write_text(json.dumps({k: v for k, v in (good | change).items() if v is not None}))
        with pytest.raises(DeployError, match=message):
            connect(servos, tmp_path, calibration=path)
    (tmp_path / "bad.json").write_text("[1")
    for arguments, message in (
        ({"calibration": tmp_path / "bad.json"}, "cannot be read"),
        ({"calibration": tmp_path / "none.json"}, "cannot be read"),
        ({"cameras": {}}, "policy has the cameras front, and  were given"),
        ({"signs": {"gripper": 0}}, "calibration of gripper has the sign 0"),
    ):
        with pytest.raises(DeployError, match=message):
            connect(servos, tmp_path, **arguments)
    with pytest.raises(DeployError, match="arm on /dev/nowhere cannot be reached"):
        LeRobotArm("/dev/nowhere", tmp_path / "arm.json", {"front": StandInCamera()}, MANIFEST)
