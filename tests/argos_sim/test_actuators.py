"""Laws of the servo's torque-speed line, without a simulator."""

from __future__ import annotations

import math

import pytest
import torch
from isaaclab.utils.types import ArticulationActions

from argos_sim.actuators import BACK_EMF, NO_LOAD_SPEED, PARTS, STALL_TORQUE, MotorActuator, STS3215ActuatorCfg


@pytest.fixture
def motor() -> MotorActuator:
    return MotorActuator(STS3215ActuatorCfg(joint_names_expr=[".*"]), ["a", "b"], slice(None), 3, "cpu")


def drive(motor: MotorActuator, command: float, velocity: float = 0.0) -> torch.Tensor:
    """Joint torques (3, 2) [N·m] for one command on all joints turning at ``velocity`` [rad/s]."""
    action = ArticulationActions(joint_efforts=torch.full((3, 2), command))
    torques = motor.compute(action, torch.zeros(3, 2), torch.full((3, 2), velocity)).joint_efforts
    assert torques is not None
    return torques


def test_at_standstill_the_command_is_the_torque(motor: MotorActuator) -> None:
    assert torch.equal(drive(motor, 1.3), torch.full((3, 2), 1.3))


def test_at_no_load_speed_the_full_command_gives_nothing(motor: MotorActuator) -> None:
    assert drive(motor, STALL_TORQUE, NO_LOAD_SPEED).abs().max() < 1e-6


@pytest.mark.parametrize(("command", "velocity"), [(100.0, 0.0), (STALL_TORQUE, -NO_LOAD_SPEED), (100.0, -1.0)])
def test_no_torque_exceeds_the_stall_torque(motor: MotorActuator, command: float, velocity: float) -> None:
    assert drive(motor, command, velocity) == pytest.approx(torch.full((3, 2), STALL_TORQUE))
    assert drive(motor, -command, -velocity) == pytest.approx(torch.full((3, 2), -STALL_TORQUE))


def test_strength_scales_the_command_and_back_emf_scale_the_loss(motor: MotorActuator) -> None:
    motor.strength[1] = 0.8
    motor.back_emf_scale[2] = 1.5
    torques = drive(motor, 1.0, 0.5)[:, 0].tolist()
    assert torques == pytest.approx([1.0 - 0.3, 0.8 - 0.3, 1.0 - 0.45])


def test_each_environment_has_its_own_delay_and_keeps_it_over_a_reset(motor: MotorActuator) -> None:
    motor.set_delay(torch.tensor([0, 1, 3]))
    for _ in range(2):
        seen = torch.stack([drive(motor, float(step))[:, 0] for step in (0.5, 1.0, 1.5, 2.0)])
        assert seen[:, 0].tolist() == [0.5, 1.0, 1.5, 2.0]
        assert seen[:, 1].tolist() == [0.5, 0.5, 1.0, 1.5]
        assert seen[:, 2].tolist() == [0.5, 0.5, 0.5, 0.5]
        motor.reset(None)


def test_a_delay_beyond_the_buffer_is_refused(motor: MotorActuator) -> None:
    with pytest.raises(ValueError, match="history length"):
        motor.set_delay(motor.cfg.max_delay + 1)


def test_a_command_within_the_dead_band_gives_nothing(motor: MotorActuator) -> None:
    motor.dead_band[1] = 0.1
    assert drive(motor, 0.09)[:, 0].tolist() == pytest.approx([0.09, 0.0, 0.09])
    assert drive(motor, -0.11)[:, 0].tolist() == pytest.approx([-0.11] * 3)


def test_the_voltage_sags_with_what_all_motors_pull(motor: MotorActuator) -> None:
    motor.voltage_sag[1] = 0.2
    assert drive(motor, STALL_TORQUE)[1].tolist() == pytest.approx([0.8 * STALL_TORQUE] * 2)
    one = ArticulationActions(joint_efforts=torch.tensor([[STALL_TORQUE, 0.0]]).expand(3, 2))
    torques = motor.compute(one, torch.zeros(3, 2), torch.zeros(3, 2)).joint_efforts
    assert torques is not None and torques[1].tolist() == pytest.approx([0.9 * STALL_TORQUE, 0.0])


def test_grease_takes_from_a_moving_joint_beyond_the_motor_s_own(motor: MotorActuator) -> None:
    motor.viscous[2] = 0.1
    assert drive(motor, 1.0, 0.5)[:, 0].tolist() == pytest.approx([0.7, 0.7, 0.65])


def test_a_motor_crosses_the_gears_play_before_it_pushes_the_other_way(motor: MotorActuator) -> None:
    motor.backlash[1] = 0.01
    free_speed = 0.6 / BACK_EMF  # of a command of 0.6 N·m [rad/s]
    steps = math.ceil(0.01 / (free_speed * motor.cfg.physics_dt))
    for sign, distance in ((1.0, steps), (-1.0, 2 * steps)):  # from the middle, then from the one side to the other
        pushed = [bool(drive(motor, sign * 0.6)[1, 0] != 0) for _ in range(distance + 1)]
        assert pushed == [False] * (distance - 1) + [True] * 2
        assert (drive(motor, sign * 0.6)[0] == sign * 0.6).all(), "without play it pushes at once"
    motor.reset(None)
    assert drive(motor, 0.6)[1, 0] == 0


class Whole(MotorActuator):
    """A motor that computes every part, whether any motor has it or not."""

    in_force = frozenset(PARTS)  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]


@pytest.mark.parametrize(("name", "value"), zip(PARTS, (1.0, 0.2, 0.02, 0.1), strict=True))
def test_what_no_motor_has_is_left_out_and_what_is_written_acts_at_once(name: str, value: float) -> None:
    """To the bit as if all were computed, while one environment has a part, while others do, and while none does."""
    cfg = STS3215ActuatorCfg(joint_names_expr=[".*"])
    lean, whole, nominal = (kind(cfg, ["a", "b"], slice(None), 3, "cpu") for kind in (MotorActuator, Whole, Whole))
    written = {10: (0.0, value, 0.0), 20: (0.0, 0.5 * value, 0.0), 30: (0.0, 0.0, 0.0), 40: (0.0, value, value)}
    differs, may_differ = [], {*range(10, 30), *range(40, 50)}
    for step in range(50):
        if step in written:
            for motor in (lean, whole):
                getattr(motor, name)[:] = torch.tensor(written[step])[:, None]
        command, velocity = torch.randn(3, 2), torch.randn(3, 2)
        for motor in (lean, whole, nominal):
            motor.compute(ArticulationActions(joint_efforts=command), torch.zeros(3, 2), velocity)
        assert torch.equal(lean.applied_effort, whole.applied_effort), step
        assert torch.equal(lean.computed_effort, whole.computed_effort), step
        assert lean.in_force == ({name} if step in may_differ else set())
        differs += [] if torch.equal(lean.applied_effort, nominal.applied_effort) else [step]
    assert set(differs) <= may_differ and len(differs) > 10


def test_a_tensor_that_is_replaced_acts_at_once(motor: MotorActuator) -> None:
    assert drive(motor, 0.3)[0, 0] == pytest.approx(0.3)
    motor.dead_band = torch.full((3, 2), 0.5)
    assert drive(motor, 0.3).abs().max() == 0
