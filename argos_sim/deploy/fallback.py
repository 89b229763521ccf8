"""What to do where joints, pictures, plans or steps are late or missing: go on, then hold, then damp, then stop.

Each source has its own patience. The worst of them decides; what comes back in time lets the policy go on, but a stop
lasts until somebody resumes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

MISSING = {"joints": "joints", "camera": "camera", "plan": "plan", "loop": "step in time"}


class Mode(IntEnum):
    """From what is wanted to what is left."""

    RUN = 0
    """The policy moves the arm."""
    HOLD = 1
    """The arm stays where it is, by a spring and what it lately needed against gravity."""
    DAMP = 2
    """Motors brake whatever moves; the arm sinks slowly."""
    STOP = 3
    """No torque, until somebody resumes."""


@dataclass(frozen=True)
class Patience:
    """Ages of what is newest [s] from which on the arm holds, damps and stops."""

    hold: float
    damp: float
    stop: float

    def __post_init__(self) -> None:
        if not 0 < self.hold < self.damp < self.stop:
            raise ValueError(f"The patience {self} must rise from hold over damp to stop, all above zero.")

    def mode(self, age: float) -> Mode:
        """What an age asks for; one that is not a number asks to stop."""
        if age <= self.hold:
            return Mode.RUN
        if age <= self.damp:
            return Mode.HOLD
        return Mode.DAMP if age <= self.stop else Mode.STOP


@dataclass(frozen=True)
class FallbackSettings:
    """How patient, and how stiff."""

    joints: Patience = field(default_factory=lambda: Patience(0.06, 0.2, 1.0))
    camera: Patience = field(default_factory=lambda: Patience(0.35, 2.0, 5.0))
    plan: Patience = field(default_factory=lambda: Patience(0.25, 2.0, 5.0))
    """Counted from when the target was due."""
    loop: Patience = field(default_factory=lambda: Patience(0.1, 0.3, 2.0))
    """Counted from the last control step that came in time."""
    stiffness: float = 8.0
    """Of holding [N·m/rad]."""
    damping: float = 0.6
    """Of holding and damping [N·m·s/rad]: an STS3215's own."""
    remembered_s: float = 0.3
    """How long the torques are averaged that hold the arm against gravity [s]."""


class Fallback:
    """Decides the mode, and commands torques where the policy does not."""

    def __init__(self, settings: FallbackSettings, control_hz: float) -> None:
        self.settings = settings
        self.mode, self.reason = Mode.RUN, ""
        self._stopped: str | None = None
        """Why somebody stopped the arm; set by any thread, and read after everything else."""
        self._torques: deque[np.ndarray] = deque(maxlen=max(1, round(settings.remembered_s * control_hz)))
        self._place: np.ndarray | None = None

    def decide(self, joints: float, camera: float, plan: float, loop: float) -> Mode:
        """The mode for ages [s] of the newest joints, picture, target (from when it was due) and step in time."""
        if self.mode == Mode.STOP and self._stopped is None:
            return self.mode
        ages = {"joints": joints, "camera": camera, "plan": plan, "loop": loop}
        modes = {name: getattr(self.settings, name).mode(age) for name, age in ages.items()}
        worst = max(modes, key=lambda name: modes[name])
        mode, reason = modes[worst], "" if modes[worst] == Mode.RUN else f"no {MISSING[worst]} for {ages[worst]:.2f} s"
        stopped = self._stopped
        self.mode, self.reason = (mode, reason) if stopped is None else (Mode.STOP, stopped)
        if self.mode != Mode.HOLD:
            self._place = None
        return self.mode

    def stop(self, reason: str) -> None:
        """No torque from now on; may be called from any thread."""
        self._stopped = reason
        self.mode, self.reason = Mode.STOP, reason

    def resume(self) -> None:
        """Whoever looked after the robot says that it may move again."""
        self._stopped, self.mode, self.reason = None, Mode.RUN, ""
        self.forget()

    def forget(self) -> None:
        """The arm may be elsewhere now: what held it there does not hold it here."""
        self._torques.clear()
        self._place = None

    def moved(self, torque: np.ndarray) -> None:
        """The policy moved the arm, and this was sent; a mean of such torques holds it against gravity."""
        self._torques.append(np.asarray(torque, dtype=float))
        self._place = None

    def torque(
        self, position: np.ndarray | None, velocity: np.ndarray | None, joints: int, mode: Mode | None = None
    ) -> np.ndarray:
        """(J,) [N·m] for ``mode``, or the present one; None where the joints are not known."""
        mode = self.mode if mode is None else mode
        if mode == Mode.HOLD:
            held = np.mean(self._torques, 0) if self._torques else np.zeros(joints)
            if position is None or velocity is None:
                return held
            if self._place is None:
                self._place = position.copy()
            return held + self.settings.stiffness * (self._place - position) - self.settings.damping * velocity
        if mode == Mode.DAMP and velocity is not None:
            return -self.settings.damping * velocity
        return np.zeros(joints)
