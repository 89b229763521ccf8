"""What holds an SO-100 against gravity, in numpy: masses and their places as ``so100.xml`` has them."""

from __future__ import annotations

import numpy as np

from argos_sim.deploy.body import Links
from argos_sim.deploy.manifest import DeployError, PolicyManifest

GRAVITY = 9.81
"""m/s², along −z of the base's frame."""
SO100: dict[str, tuple[float, tuple[float, float, float]]] = {
    "shoulder_pan": (0.1192, (-0.0001, 0.0591, 0.0311)),
    "shoulder_lift": (0.1624, (0.0, 0.0702, 0.0031)),
    "elbow_flex": (0.1480, (-0.0034, 0.0014, 0.0768)),
    "wrist_flex": (0.0661, (-0.0085, -0.0352, 0.0)),
    "wrist_roll": (0.0930, (0.0055, -0.0280, 0.0005)),
    "gripper": (0.0202, (-0.0016, -0.0303, 0.0004)),
}
"""Mass [kg] and centre of mass, in its own frame [m], of the link that each joint moves."""


class Weight:
    """Of the links of a manifest's body."""

    def __init__(self, manifest: PolicyManifest) -> None:
        """``DeployError`` where the policy does not know the arm's body, or it is no SO-100."""
        if manifest.body is None or set(manifest.joint_names) != set(SO100):
            raise DeployError("The policy does not know the arm's body, or it is no SO-100's: its weight is not known.")
        body, links = manifest.body, range(len(manifest.joint_names))
        self._links = Links(body)
        self._axes = np.array(body.axes, dtype=float)
        self._mass = np.array([SO100[name][0] for name in manifest.joint_names])
        self._com = np.array([[*SO100[name][1], 1.0] for name in manifest.joint_names])
        self._carries = np.array([[_above(body.parents, outer, inner) for outer in links] for inner in links])

    def torque(self, q: np.ndarray) -> np.ndarray:
        """(J,) [N·m] that keep an arm at rest at joints (J,) [rad]."""
        frames = self._links.frames(q)
        at = (frames @ self._com[..., None])[:, :3, 0]
        axes = (frames[:, :3, :3] @ self._axes[..., None])[..., 0]
        # A joint lifts what it carries by the vertical part of axis × arm.
        arms = at[None] - frames[:, None, :3, 3]
        lifted = axes[:, None, 0] * arms[..., 1] - axes[:, None, 1] * arms[..., 0]
        return GRAVITY * (self._carries * self._mass * lifted).sum(1)


def _above(parents: tuple[int, ...], outer: int, inner: int) -> bool:
    """Whether the joint ``inner`` moves the link ``outer``."""
    while outer > inner:
        outer = parents[outer]
    return outer == inner
