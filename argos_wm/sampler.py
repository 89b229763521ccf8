"""How a state is drawn from the world model; what planners, roll-outs and bridges share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from argos_wm.flow import Solver


@dataclass(frozen=True)
class SamplerConfig:
    """How a plan is drawn from the world model."""

    steps: int = 5
    """Solver steps a target."""
    solver: Solver = "heun"
    guidance_scale: float = 1.0
    """1 is the conditional model and costs half."""
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """Flow times at which guidance applies; 1 is noise."""
    temperature: float = 0.3
    """Standard deviation of the noise that a sample starts from. 1 draws from all the futures that were learned; a
    controller wants a likely one. It matters while a planner is unsure: the better it is trained, the less."""

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of ``WorldModel.sample``."""
        return dict(vars(self))
