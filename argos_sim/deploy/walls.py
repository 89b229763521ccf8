"""What keeps an arm off its table and in a box: torque that pushes a part toward them is taken away, near them.

Parts are the fingertip, and a ball about each joint that the arm carries, which the table alone stops. The torques that
push one no harder toward a plane than they may are a half-space; where several parts are near, the torque is projected
onto each in turn (Bauschke and Borwein, "On Projection Algorithms for Solving Convex Feasibility Problems", SIAM Review
38, 1996).
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

    Args:
        chain: of the arm.
        lowest: height that nothing is pushed below [m]; None where there is no table.
        box: x, y and z [m] that the fingertip is not pushed out of; None where there is none.
        radius: of the ball about each joint [m]; None where the table stops the fingertip alone.
        zone: distance in which torque toward a plane fades [m].
        reaction_s: how long a part is taken to go on as fast as it is [s].
    """

    def __init__(
        self, chain: Chain, lowest: float | None, box: Box | None, radius: float | None, zone: float, reaction_s: float
    ) -> None:
        self._chain, self._zone, self._reaction_s = chain, zone, reaction_s
        up, tip = np.array([0.0, 0.0, 1.0]), chain.points - 1
        joints = () if lowest is None or radius is None else range(tip)
        planes = [(joint, up, (lowest or 0.0) + (radius or 0.0)) for joint in joints]
        # The fingertip last, so that it is what holds exactly where not all can.
        planes += [] if lowest is None else [(tip, up, lowest)]
        for axis, (low, high) in enumerate(box or ()):
            normal = np.eye(3)[axis]
            planes += [(tip, normal, low), (tip, -normal, -high)]
        self._parts = [part for part, _, _ in planes]
        self._normals = np.reshape([normal for _, normal, _ in planes], (-1, 3))
        self._offsets = np.array([offset for _, _, offset in planes])

    def within(self, torque: np.ndarray, joint_pos: np.ndarray, joint_vel: np.ndarray) -> np.ndarray:
        """What is left of torques (…, J) [N·m] at joints (…, J) [rad] of these speeds [rad/s]."""
        if not self._parts:
            return torque
        points, jacobian = self._chain.points_and_jacobian(joint_pos)
        room = (points[..., self._parts, :] * self._normals).sum(-1) - self._offsets
        # (…, walls, J): joint motion that leads away from each.
        away = np.einsum("wi,...wij->...wj", self._normals, jacobian[..., self._parts, :, :])
        speed = (away * joint_vel[..., None, :]).sum(-1)
        share = 1.0 - np.clip((room + np.minimum(speed, 0.0) * self._reaction_s) / self._zone, 0.0, 1.0)
        near = [wall for wall in range(len(self._parts)) if (share[..., wall] > 0).any()]
        if not near:
            return torque
        pushing = np.minimum((away * torque[..., None, :]).sum(-1), 0.0)
        allowed = np.where(share > 0, (1.0 - share) * pushing, -np.inf)
        size = (away**2).sum(-1) + TINY
        for _ in range(ROUNDS if len(near) > 1 else 1):
            before = torque
            for wall in near:
                over = np.minimum((away[..., wall, :] * torque).sum(-1) - allowed[..., wall], 0.0)
                torque = torque - (over / size[..., wall])[..., None] * away[..., wall, :]
            if np.array_equal(before, torque):
                break
        return torque
