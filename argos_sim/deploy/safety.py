"""The last gate before the motors, which trusts neither the policy nor the sensors.

Whatever is asked and whatever is read, what comes out is finite and within the limits of torque, and of its rate where
one is set. Within those, torque is taken away that would push a joint out of its range, make it too fast, do too much
work, heat a hot motor, or push fingertips, elbow or wrist through the table or out of a box; a joint that would run
past the end of its range is braked in time, with the torque at hand, and one that is pushed there is pushed back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from argos_sim.deploy.body import Chain
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.walls import TINY, Walls

RULES = ("limit", "wall", "range", "speed", "brake", "spring", "power", "rate")
"""Names of the guard's rules, in their order."""
CHANGED = 1e-3
"""A rule that changes a torque by more than this share of its limit has acted."""


@dataclass(frozen=True)
class SafetySettings:
    """How early and how hard the guard acts."""

    soft_zone: float = 0.15
    """Distance from an end of the range in which torque toward it fades to zero [rad]; about 9 degrees, and never more
    than a tenth of the range."""
    stop_zone: float = 0.03
    """Distance from an end of the range at which a spring begins to push back, against gravity, too [rad]."""
    stop_stiffness: float = 12.0
    """Of that spring [N·m/rad]; stable with 40 ms of delay."""
    stop_damping: float = 0.4
    """Beside the motor's own, likewise [N·m·s/rad]."""
    torque_share: float = 1.0
    """Share of the torque limits that is left, for a first run with less force; braking and springs have no more."""
    speed_fade: float = 0.8
    """Share of the velocity limit beyond which torque that speeds the joint up fades; zero torque at the limit."""
    torque_rate: float | None = None
    """Fastest that torque may grow, in either direction [N·m/s]; toward zero it may fall at once, since less torque is
    never refused. None lets every joint go from rest to its limit in one control step."""
    reaction_s: float = 0.06
    """From a read-out to the torque that answers it: age of the read-out, a control step, the way to the motor [s]."""
    braking_share: float = 0.7
    """Share of the torque left over from gravity that braking counts on."""
    power: float | None = 40.0
    """Mechanical power of all motors together [W]; eight times what a brisk movement of an SO-100 takes."""
    temperature: tuple[float, float] = (55.0, 65.0)
    """Of a motor [°C], from which its torque fades, and at which none is left."""
    lowest: float | None = -0.01
    """Height below which torque may not push a fingertip [m]; the table is at 0, and fingers give a little."""
    joint_radius: float | None = 0.03
    """Of a ball about each joint that the arm carries, which may not be pushed below that height, either, nor out of
    the box [m]; motors and brackets of an SO-100 are as large. None lets them stop the fingertips alone."""
    box: tuple[tuple[float, float], tuple[float, float], tuple[float, float]] | None = None
    """x, y and z [m] in the base frame out of which torque may not push a part; see ``Walls`` for where the arm comes
    in."""
    wall: float = 0.02
    """Distance from table and box in which torque toward them fades [m]."""

    def __post_init__(self) -> None:
        ends = [*self.temperature, *(x for pair in self.box or () for x in pair), self.lowest or 0.0]
        zones = (self.soft_zone, self.stop_zone, self.wall)
        positive = (*zones, self.stop_stiffness, self.stop_damping, self.reaction_s, self.braking_share)
        optional = [x for x in (self.torque_rate, self.power, self.joint_radius) if x is not None]
        if not (np.isfinite([*ends, *positive, *optional]).all() and min([*positive, *optional]) > 0):
            raise ValueError(f"{self} must be finite numbers, above zero but for temperatures and the box.")
        if not 0 < self.torque_share <= 1:
            raise ValueError(f"{self}: torque_share must lie above 0, and be 1 at most.")
        if not 0 < self.speed_fade < 1 or any(low >= high for low, high in (self.temperature, *(self.box or ()))):
            raise ValueError(f"{self}: speed_fade must lie between 0 and 1, and pairs must rise.")


class SafetyGuard:
    """Holds torques within the limits of a manifest.

    Attributes:
        refused: what could not be trusted in the last step, so that it gave no torque; empty where all could.
        acted: (rules, J) bool, which of ``RULES`` changed which joint's torque in the last ``apply``.
    """

    def __init__(self, manifest: PolicyManifest, settings: SafetySettings | None = None) -> None:
        self.settings = settings or SafetySettings()
        self._lower, self._upper = np.asarray(manifest.joint_limits, dtype=np.float64).T
        self._torque_limit = self.settings.torque_share * np.asarray(manifest.torque_limits, dtype=np.float64)
        self._velocity_limit = np.asarray(manifest.velocity_limits, dtype=np.float64)
        self._soft_zone = np.minimum(self.settings.soft_zone, 0.1 * (self._upper - self._lower))
        rate, hz = self.settings.torque_rate, manifest.rates["control_hz"]
        self._max_growth = self._torque_limit if rate is None else np.full_like(self._torque_limit, rate / hz)
        self._ramp_s = 0.0 if rate is None else self._torque_limit / rate
        self._walls: Walls | None = None
        if manifest.body is not None:
            cfg, chain = self.settings, Chain(manifest.body)
            self._walls = Walls(
                chain, self._torque_limit, cfg.lowest, cfg.box, cfg.joint_radius, cfg.wall, cfg.reaction_s
            )
            self._lightest, self._heaviest = np.asarray(manifest.body.inertia, dtype=float).T
            spare = self._torque_limit - np.asarray(manifest.body.gravity)
            self._braking = self.settings.braking_share * np.maximum(spare, 0.05 * self._torque_limit)
        self.refused = ""
        self.acted = np.zeros((len(RULES), len(self._torque_limit)), dtype=bool)
        self.reset()

    def reset(self) -> None:
        """The motors are at rest: the next torque starts from zero."""
        self._last = np.zeros_like(self._torque_limit)
        self.acted = np.zeros_like(self.acted)

    def unseen(self, torque: np.ndarray) -> np.ndarray:
        """What may be sent (J,) [N·m] of a torque where the joints are not known: within limits and rate, all that can
        be held then; zero where it is no J finite numbers, see ``refused``."""
        values = self._trusted(torque=torque)
        if values is None:
            return self._last.copy()
        within = np.clip(values["torque"], -self._torque_limit, self._torque_limit)
        self._last = self._grown(within, self._last)
        self.acted = np.zeros_like(self.acted)
        return self._last.copy()

    def apply(
        self,
        torque: np.ndarray,
        joint_pos: np.ndarray,
        joint_vel: np.ndarray,
        temperature: np.ndarray | None = None,
    ) -> np.ndarray:
        """The torque (J,) [N·m] that may be sent; zero where an argument is no J finite numbers, see ``refused``.

        Args:
            torque: (J,) wanted [N·m].
            joint_pos: (J,) [rad].
            joint_vel: (J,) [rad/s].
            temperature: (J,) of the motors [°C], or None where it is not known.
        """
        known = {} if temperature is None else {"temperature": temperature}
        values = self._trusted(torque=torque, joint_pos=joint_pos, joint_vel=joint_vel, **known)
        if values is None:
            return self._last.copy()
        steps = [values["torque"]]
        with np.errstate(over="ignore", invalid="ignore"):
            hot = values.get("temperature")
            pos, vel = values["joint_pos"], values["joint_vel"]
            self._last = self.limited(values["torque"], pos, vel, self._last, hot, steps)
            self.acted = ~(np.abs(np.diff(steps, axis=0)) <= CHANGED * self._torque_limit)
        return self._last.copy()

    def _trusted(self, **given: object) -> dict[str, np.ndarray] | None:
        """What is given as arrays; None where one is no J finite numbers: it is told, and the motors are at rest."""
        values, self.refused = {}, ""
        for name, value in given.items():
            array = _numbers(value)
            if array is None or array.shape != self._torque_limit.shape or not np.isfinite(array).all():
                self.refused = f"{name} {value} should be {len(self._torque_limit)} finite numbers"
                self.reset()
                return None
            values[name] = array
        return values

    def limited(
        self,
        torque: np.ndarray,
        joint_pos: np.ndarray,
        joint_vel: np.ndarray,
        last: np.ndarray,
        temperature: np.ndarray | None = None,
        steps: list[np.ndarray] | None = None,
    ) -> np.ndarray:
        """All rules, for any number of arms (…, J): the torque that may follow the torque ``last``; finite and within
        the limits for any finite numbers. What each of ``RULES`` leaves is appended to ``steps``."""
        note = (lambda _: None) if steps is None else steps.append
        pos, vel = np.clip(joint_pos, -1e6, 1e6), np.clip(joint_vel, -1e6, 1e6)  # squares stay finite
        limit = self._torque_limit if temperature is None else self._torque_limit * self._cool(temperature)
        allowed = np.clip(torque, -limit, limit)
        note(allowed)
        if self._walls is not None:
            allowed = self._walls.within(allowed, pos, vel)
        note(allowed)
        # After the walls, whose way out may lead through a joint that is at its end or too fast: a joint's rules win.
        allowed = allowed * self._range_factor(allowed, pos)
        note(allowed)
        allowed = allowed * self._speed_factor(allowed, vel)
        note(allowed)
        if self._walls is not None:  # the body is known
            allowed = self._braked(allowed, pos, vel)
        note(allowed)
        allowed = self._pushed_back(allowed, pos, vel)
        note(allowed)
        allowed = self._within_power(allowed, vel)
        note(allowed)
        allowed = self._grown(allowed, last)
        note(allowed)
        allowed = np.where(np.isfinite(allowed).all(-1, keepdims=True), allowed, 0.0)
        return np.clip(allowed, -limit, limit)

    def _grown(self, torque: np.ndarray, last: np.ndarray) -> np.ndarray:
        """As much of a torque as may follow ``last`` within a control step."""
        return np.clip(torque, np.minimum(last, 0.0) - self._max_growth, np.maximum(last, 0.0) + self._max_growth)

    def _range_factor(self, torque: np.ndarray, joint_pos: np.ndarray) -> np.ndarray:
        """1 for torque away from the near end of the range, and down to 0 at the end for torque toward it."""
        room = np.where(torque > 0, self._upper - joint_pos, joint_pos - self._lower)
        return np.clip(room / self._soft_zone, 0.0, 1.0)

    def _speed_factor(self, torque: np.ndarray, joint_vel: np.ndarray) -> np.ndarray:
        """1 for torque that brakes, and down to 0 at the velocity limit for torque that speeds the joint up."""
        share = np.abs(joint_vel) / self._velocity_limit
        fade = np.clip((1.0 - share) / (1.0 - self.settings.speed_fade), 0.0, 1.0)
        return np.where(torque * joint_vel > 0, fade, 1.0)

    def _cool(self, temperature: np.ndarray) -> np.ndarray:
        """Share of the torque that motors of this temperature [°C] may give."""
        begin, end = self.settings.temperature
        return np.clip((end - temperature) / (end - begin), 0.0, 1.0)

    def _braked(self, torque: np.ndarray, joint_pos: np.ndarray, joint_vel: np.ndarray) -> np.ndarray:
        """Brake what would run past the end of its range with what braking counts on."""
        # The speed is over by a reaction's time: as much as the newest read-out may be old, and once more to act.
        speed = np.abs(joint_vel)
        room = np.where(joint_vel > 0, self._upper - joint_pos, joint_pos - self._lower)
        room = room - speed * (2 * self.settings.reaction_s + self._ramp_s)
        needed = self._heaviest * speed**2 / (2 * np.maximum(room, 1e-3))
        # No harder than what stops the lightest posture within a reaction, or late read-outs would make it swing.
        brake = np.minimum(self._torque_limit, self._lightest * speed / self.settings.reaction_s)
        harder = np.where(joint_vel > 0, np.minimum(torque, -brake), np.maximum(torque, brake))
        return np.where(needed >= self._braking, harder, torque)

    def _pushed_back(self, torque: np.ndarray, joint_pos: np.ndarray, joint_vel: np.ndarray) -> np.ndarray:
        """A spring at both ends of the range, for what gravity or a hand pushes there."""
        cfg = self.settings
        low, high = self._lower + cfg.stop_zone - joint_pos, joint_pos - self._upper + cfg.stop_zone
        slow = cfg.stop_damping * joint_vel
        least = np.where(low > 0, np.maximum(cfg.stop_stiffness * low - slow, 0.0), -np.inf)
        most = np.where(high > 0, np.minimum(-cfg.stop_stiffness * high - slow, 0.0), np.inf)
        return np.clip(torque, np.minimum(least, most), np.maximum(least, most))

    def _within_power(self, torque: np.ndarray, joint_vel: np.ndarray) -> np.ndarray:
        """Scale what does work, all alike, so that all together do no more than they may."""
        if self.settings.power is None:
            return torque
        work = np.maximum(torque * joint_vel, 0.0)
        share = np.minimum(1.0, self.settings.power / np.maximum(work.sum(-1, keepdims=True), TINY))
        return np.where(work > 0, share * torque, torque)


def _numbers(value: object) -> np.ndarray | None:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
