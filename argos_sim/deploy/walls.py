"""What keeps an arm off its table and in a box: torque that pushes a part toward them is taken away, near them.

Parts are the fingertips, and a ball about each joint that the arm carries. The torques that push one no harder toward a
plane than they may are a half-space; where several parts are near, the torque is projected onto each in turn (Bauschke
and Borwein, "On Projection Algorithms for Solving Convex Feasibility Problems", SIAM Review 38, 1996).
"""

from __future__ import annotations

import numpy as np

from argos_sim.deploy.body import Chain

TINY = 1e-9
ROUNDS = 8
"""Of projections, at most: parts that are near at once are few, and their half-spaces are far from opposite."""
Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]


class Walls:
    """Planes and the parts of an arm that they stop.

    A box is open, to all but the fingertips, on sides that the arm comes in through: those that its base is beyond, or
    nearer to than a ball and the zone; and at its top, where elbow and wrist are while the hand works below, and a
    wall would take what holds them up.

    Args:
        chain: of the arm.
        limits: largest torques (J,) [N·m], in whose shares the distance to a half-space is counted.
        lowest: height that nothing is pushed below [m]; None where there is no table.
        box: x, y and z [m] that nothing is pushed out of; None where there is none.
        radius: of the ball about each joint [m]; None where the fingertips alone are stopped.
        zone: distance in which torque toward a plane fades [m].
        reaction_s: how long a part is taken to go on as fast as it is [s].
    """

    def __init__(
        self,
        chain: Chain,
        limits: np.ndarray,
        lowest: float | None,
        box: Box | None,
        radius: float | None,
        zone: float,
        reaction_s: float,
    ) -> None:
        self._chain, self._scale, self._zone, self._reaction_s = chain, limits**2, zone, reaction_s
        first = chain.points - chain.tips
        balls = 0 if radius is None else first
        size, parts = radius or 0.0, [*range(balls), *range(first, chain.points)]
        planes = [] if lowest is None else [(2, 1.0, lowest, parts)]
        for axis, ends in enumerate(box or ()):
            for sign, end in zip((1.0, -1.0), ends, strict=True):
                is_open = -sign * end < size + zone or (axis, sign) == (2, -1.0)
                planes.append((axis, sign, sign * end, parts[balls:] if is_open else parts))
        walls = [(part, axis, sign, end + size * (part < first)) for axis, sign, end, held in planes for part in held]
        walls.sort()  # fingertips last, so that they are what holds best where not all can
        self._parts, self._axes = (np.array([wall[n] for wall in walls], dtype=int) for n in (0, 1))
        self._signs, self._offsets = (np.array([wall[n] for wall in walls]) for n in (2, 3))

    def within(self, torque: np.ndarray, joint_pos: np.ndarray, joint_vel: np.ndarray) -> np.ndarray:
        """What is left of torques (…, J) [N·m] at joints (…, J) [rad] of these speeds [rad/s]."""
        if not len(self._parts):
            return torque
        points, jacobian = self._chain.points_and_jacobian(joint_pos)
        room = np.moveaxis(points[..., self._parts, self._axes] * self._signs - self._offsets, -1, 0)
        # (walls, …, J): joint motion that leads away from each.
        away = jacobian[..., self._parts, self._axes, :] * self._signs[:, None]
        away = np.ascontiguousarray(np.moveaxis(away, -2, 0))
        speed = (away * joint_vel).sum(-1)
        share = 1.0 - np.clip((room + np.minimum(speed, 0.0) * self._reaction_s) / self._zone, 0.0, 1.0)
        near = np.flatnonzero(share.reshape(len(share), -1).any(1))
        if not len(near):
            return torque
        away, share = away[near], share[near]
        pushing = np.minimum((away * torque).sum(-1), 0.0)
        allowed = np.where(share > 0, (1.0 - share) * pushing, -np.inf)
        back = away * self._scale
        size = (away * back).sum(-1) + TINY
        for _ in range(ROUNDS if len(near) > 1 else 1):
            before = torque
            for wall in range(len(near)):
                over = np.minimum((away[wall] * torque).sum(-1) - allowed[wall], 0.0)
                torque = torque - (over / size[wall])[..., None] * back[wall]
            if np.array_equal(before, torque):
                break
        return torque
