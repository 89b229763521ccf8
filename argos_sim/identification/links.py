"""How far an arm's links are believed to be from the modelled ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Links:
    """Standard deviations of what a link is beside the model; 0 believes the model exactly."""

    mass: float = 0.08
    """Of the logarithm of its mass, its inertia with it: infill, screws, cables."""
    centre: float = 0.003
    """Of its centre of mass along each of its axes [m]."""

    def __post_init__(self) -> None:
        if not (0 <= self.mass <= 1 and 0 <= self.centre <= 0.1):
            raise ValueError(
                f"Deviations of links' masses are from 0 to 1 and of their centres from 0 to 0.1 m, not {self.mass:g} "
                f"and {self.centre:g}."
            )
