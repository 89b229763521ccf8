"""The four clocks of ARGOS, set once and checked to divide each other.

Between two ticks of a slower clock its value is held, in simulation as on a robot: the image between two camera
frames, the target between two plans.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Rates:
    """Physics, control and camera rates in Hz; the planner's period in seconds."""

    physics_hz: int = 200
    control_hz: int = 50
    camera_hz: int = 10
    planner_period_s: float = 0.8

    def __post_init__(self) -> None:
        for fast, slow in (("physics_hz", "control_hz"), ("control_hz", "camera_hz")):
            a, b = getattr(self, fast), getattr(self, slow)
            if b <= 0 or a % b:
                raise ValueError(f"Rates: {fast} = {a} must be a whole multiple of {slow} = {b}, both above zero.")
        frames = self.planner_period_s * self.camera_hz
        if frames < 1 or abs(frames - round(frames)) > 1e-6:
            raise ValueError(
                f"Rates: planner_period_s = {self.planner_period_s} must be a whole number of camera frames of "
                f"{1 / self.camera_hz} s."
            )

    @property
    def physics_dt(self) -> float:
        """Seconds of one physics step."""
        return 1.0 / self.physics_hz

    @property
    def control_dt(self) -> float:
        """Seconds of one control step."""
        return 1.0 / self.control_hz

    @property
    def decimation(self) -> int:
        """Physics steps in one control step."""
        return self.physics_hz // self.control_hz

    @property
    def control_per_frame(self) -> int:
        """Control steps in one camera frame."""
        return self.control_hz // self.camera_hz

    @property
    def frames_per_plan(self) -> int:
        """Camera frames in one planner period."""
        return round(self.planner_period_s * self.camera_hz)

    @property
    def control_per_plan(self) -> int:
        """Control steps in one planner period."""
        return self.frames_per_plan * self.control_per_frame
