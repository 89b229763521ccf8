"""lerobot's bus of Feetech servos, opened with patience, and closed again where something fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from argos_sim.deploy.manifest import DeployError

LOST, HANDSHAKES = (ConnectionError, OSError, RuntimeError, IndexError), 3
"""What lerobot and the servos' SDK raise where an answer got lost (the last where it was cut off), and how often the
motors are asked at most."""


def connected_bus(port: str, known: dict[str, dict[str, Any]], names: tuple[str, ...]) -> Any:
    """lerobot's bus with these motors, limp.

    Args:
        known: the calibration, see ``read_calibration``.

    Raises:
        DeployError: port or motors do not answer, or hold another calibration.
    """
    try:
        from lerobot.motors import Motor, MotorCalibration, MotorNormMode
        from lerobot.motors.feetech import FeetechMotorsBus
    except ImportError as error:
        raise DeployError(f"lerobot's Feetech bus is not installed ({error}): pip install -e '.[robot]'.") from None
    motors = {name: Motor(int(known[name]["id"]), "sts3215", MotorNormMode.DEGREES) for name in names}
    try:
        calibration = {name: MotorCalibration(**known[name]) for name in names}
        bus = FeetechMotorsBus(port, motors, calibration)
        with closed_on_failure(bus):
            shake_hands(bus)
            if not answered(lambda: bus.is_calibrated):
                raise DeployError(
                    f"The motors on {port} hold another calibration than the file. Write it to them with lerobot, or "
                    "give the file that they hold."
                )
            bus.disable_torque(num_retry=HANDSHAKES)
    except (*LOST, ImportError, TypeError) as error:
        raise DeployError(f"The arm on {port} cannot be reached ({' '.join(str(error).split())}).") from None
    return bus


@contextlib.contextmanager
def closed_on_failure(bus: Any) -> Iterator[None]:
    """Close lerobot's bus, its motors limp where they can be told so, if what is done with it fails."""
    try:
        yield
    except BaseException:
        for limp in (True, False):
            if bus.is_connected:
                with contextlib.suppress(*LOST):
                    bus.disconnect(disable_torque=limp)
        raise


def shake_hands(bus: Any) -> None:
    """Connect, trying again where an answer got lost."""
    for left in reversed(range(HANDSHAKES)):
        try:
            return bus.connect()
        except LOST:
            if bus.is_connected:
                bus.disconnect(disable_torque=False)
            if not left:
                raise


def answered[T](ask: Callable[[], T]) -> T:
    """What ``ask`` gives, asked again where an answer got lost."""
    for _ in range(HANDSHAKES - 1):
        with contextlib.suppress(*LOST):
            return ask()
    return ask()
