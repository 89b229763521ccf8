"""Pictures and joints of a robot that is driven through postures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from argos_sim.camera_alignment.recording import Recording, recording_of
from argos_sim.camera_alignment.route import Leg
from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.robots import Robot
from argos_sim.motion.clock import Clock
from argos_sim.motion.driving import Driver, Stopped

PATIENCE_S = 10.0
"""For a picture to come [s]."""
FRESH_S = 0.3
"""By which a camera's picture may be older than it says [s]: one that nobody asked for meanwhile lay in its driver."""


def driven(robot: Robot, driver: Driver, legs: Sequence[Leg], show: Callable[[str], None], clock: Clock) -> Recording:
    """Pictures at the ends of ``legs``, or near them: what counts is what the joints read there. The arm is let go at
    the end of the last.

    Raises:
        DeployError: joints or pictures do not come, or somebody stopped it before all were taken; the arm is braked and
            let go.
    """
    taken, count = [], sum(leg.shown for leg in legs)

    def move() -> None:
        for leg in legs:
            driver.follow(leg.way)
            if leg.shown:
                taken.append(_picture(robot, driver, clock))
                show(f"posture {len(taken)} of {count}")

    try:
        driver.run(move)
    except Stopped as stop:
        if len(taken) < count:
            raise DeployError(f"{stop} Nothing was written.") from None
        show(f"{stop} All pictures had been taken.")
    return recording_of(robot.joint_names, taken)


def _picture(robot: Robot, driver: Driver, clock: Clock) -> tuple[np.ndarray, np.ndarray]:
    """A picture of the arm that is held, and the mean of the joints' read-outs since it may have been taken."""
    begin, read = clock.now(), []
    while clock.now() - begin < PATIENCE_S:
        read.append(driver.hold())
        frame = robot.frame()
        if frame is not None and frame.time > begin + FRESH_S:
            return np.array(frame.pictures[0]), np.mean(read[len(read) // 2 :], axis=0)
    raise Stopped("The camera gives no new pictures.")
