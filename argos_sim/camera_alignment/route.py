"""A route through postures, from where an arm lies and back there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from argos_sim.deploy.manifest import DeployError
from argos_sim.motion.ways import Way, Ways


@dataclass(frozen=True)
class Leg:
    """From one posture to the next."""

    way: Way
    shown: bool
    """Whether a picture is taken at its end."""


def route(ways: Ways, begin: np.ndarray, ready: np.ndarray, postures: np.ndarray) -> list[Leg]:
    """From ``begin`` (J,) up to ``ready`` (J,), through as many of ``postures`` (N, J) as can be reached, and back.

    From posture to posture the arm takes the nearest that it can reach on a straight way, from where it is or by way of
    the ready posture.

    Raises:
        DeployError: there is no way up, or none to any posture.
    """
    up = ways.found(begin, ready)
    legs, here, left = [Leg(up, shown=False)], ready, list(postures)
    while left:
        left.sort(key=lambda q: float(np.abs(q - here).max()))
        reached = next(((i, way) for i, q in enumerate(left) if (way := ways.straight(here, q))), None)
        if reached is not None:
            here = left.pop(reached[0])
            legs.append(Leg(reached[1], shown=True))
        elif here is not ready and (way := ways.straight(here, ready)):
            here = ready
            legs.append(Leg(way, shown=False))
        else:
            break
    if not any(leg.shown for leg in legs):
        raise DeployError("Of the postures none can be reached from the ready one: take the pictures with --limp.")
    if here is not ready:
        straight = ways.straight(here, ready)
        ways_back = [leg.way.back() for leg in reversed(legs[1:])] if straight is None else [straight]
        legs += [Leg(way, shown=False) for way in ways_back]
    return [*legs, Leg(up.back(), shown=False)]
