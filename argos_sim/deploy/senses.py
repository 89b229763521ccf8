"""What of a robot's joints and pictures can be believed.

A read-out that cannot be is as good as none: how long none came is what ``fallback`` decides by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from argos_sim.deploy.robots import Frame, JointReading


@dataclass(frozen=True)
class SenseSettings:
    """What cannot be."""

    outside: float = 0.5
    """A joint beyond its range by more [rad]."""
    overspeed: float = 3.0
    """A joint faster than its largest speed times this."""
    jump: float = 0.05
    """A joint that moved by this [rad] more than its largest speed allows, ..."""
    jump_s: float = 0.06
    """... for at most so long a time [s], unless nothing was read for longer: one that is elsewhere from one read-out
    to the next, and stays there, has slipped or counts anew."""
    ahead_s: float = 0.02
    """A thing that was sensed later than now, by more [s]."""
    flat: float = 2.0
    """A picture in which no channel (0 to 255) deviates more from its mean: a lid, no signal, a lamp in the lens."""
    frozen: float = 0.05
    """A picture that is the same to the bit though a joint moved by more [rad]."""
    sight: float | None = 1.0
    """Pictures that show the arm further from where its joints are read, see ``sight.SightCheck``; None believes them,
    and so does a policy that was exported without its sight."""


class JointCheck:
    """Believes joints that could have come from where they were, since a beginning."""

    def __init__(
        self,
        limits: tuple[tuple[float, float], ...],
        velocity_limits: tuple[float, ...],
        begun: float,
        settings: SenseSettings,
    ) -> None:
        """``limits`` (J,) pairs [rad], ``velocity_limits`` (J,) [rad/s]; what was sensed before ``begun`` is not of
        now."""
        self.settings, self._begun = settings, begun
        self._lower, self._upper = np.asarray(limits, float).T
        self._fastest = np.asarray(velocity_limits, float)
        self._last: JointReading | None = None
        self._heard = begun
        """When the newest read-out was sensed, believed or not."""

    def refuses(self, reading: JointReading | None, now: float) -> str:
        """Why ``reading`` is not believed; an empty text where it is."""
        why = self._wrong(reading, now)
        if not why:
            self._last = reading
        if reading is not None and self._heard < reading.time <= now + self.settings.ahead_s:
            self._heard = reading.time
        return why

    def _wrong(self, reading: JointReading | None, now: float) -> str:
        if reading is None:
            return "no joints were read"
        cfg, shape = self.settings, self._fastest.shape
        position, velocity = reading.position, reading.velocity
        if position.shape != shape or velocity.shape != shape:
            return f"{position.shape} joints and {velocity.shape} speeds were read, not {shape}"
        if not (np.isfinite(position).all() and np.isfinite(velocity).all()):
            return "joints that are not numbers were read"
        if not reading.time <= now + cfg.ahead_s:
            return f"the joints were read {reading.time - now:.3f} s from now"
        if reading.time < self._begun:
            return "the joints were read before all began"
        if (position < self._lower - cfg.outside).any() or (position > self._upper + cfg.outside).any():
            return "a joint was read far outside its range"
        if (np.abs(velocity) > cfg.overspeed * self._fastest).any():
            return "a joint's speed cannot be"
        if self._last is not None:
            passed = reading.time - self._last.time
            if passed < 0:
                return "an older read-out came after a newer one"
            silent = reading.time - self._heard > cfg.jump_s
            longest = passed if silent else min(passed, cfg.jump_s)
            if (np.abs(position - self._last.position) > self._fastest * longest + cfg.jump).any():
                return "a joint jumped"
        return ""


class FrameCheck:
    """Believes pictures that show something, and something else once the arm has moved; each camera's by itself."""

    def __init__(self, settings: SenseSettings, cameras: Sequence[str] = ("front",)) -> None:
        self.settings = settings
        self._of = [f" of {name}" if len(cameras) > 1 else "" for name in cameras]
        self._seen: list[tuple[bytes, np.ndarray]] = []
        """Of each camera the picture that was new last, and the joints at that time."""
        self._time = -np.inf

    def refuses(self, frame: Frame, position: np.ndarray, now: float) -> str:
        """Why ``frame``, taken with the joints at ``position`` (J,), is not believed; an empty text where it is."""
        cfg = self.settings
        if not frame.time <= now + cfg.ahead_s:
            return f"the picture was taken {frame.time - now:.3f} s from now"
        if frame.time < self._time:
            return "an older picture came after a newer one"
        if len(frame.pictures) != len(self._of):
            return f"{len(frame.pictures)} pictures came from {len(self._of)} cameras"
        for picture, of in zip(frame.pictures, self._of, strict=True):
            if picture.size == 0 or _contrast(picture) < cfg.flat:
                return f"a picture{of} shows nothing"
        seen = [(picture.tobytes(), position) for picture in frame.pictures]
        # Where a picture is as before, the arm is measured from where it was new.
        kept = [old if old[0] == new[0] else new for old, new in zip(self._seen or seen, seen, strict=True)]
        self._seen, self._time = kept, frame.time
        for (_, then), of in zip(kept, self._of, strict=True):
            if np.abs(position - then).max() > cfg.frozen:
                return f"a picture{of} is the same though the arm moved"
        return ""


def _contrast(picture: np.ndarray) -> float:
    """Standard deviation of the channel of a picture (H, W, C) that has most."""
    return float(picture.reshape(-1, picture.shape[-1]).std(0).max())
