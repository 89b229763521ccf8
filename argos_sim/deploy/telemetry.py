"""What the control loop does, in shared memory for whoever looks on: the terminal, and a browser's process.

Writing takes some microseconds and waits for nobody. The control thread writes its steps, the camera's thread the
pictures; targets are read where the planner's process puts them.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import SpawnContext
from typing import TYPE_CHECKING, Any

import numpy as np

from argos_sim.deploy.exchange import Latest
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.planning import LONGEST_TEXT
from argos_sim.deploy.robots import Frame, JointReading
from argos_sim.deploy.safety import RULES

if TYPE_CHECKING:
    from argos_sim.deploy.pilot import Pilot, Target

KEPT_S = 2.0
"""How long a step is kept, for those who look seldom [s]."""
LONGEST_REASON = 240
"""Bytes of a reason in UTF-8; what is longer is cut off."""
SIDE = 240
"""Largest side of a picture for people [pixels]."""
COUNTS = ("missed", "frames", "targets", "targets_too_late", "refused")


class Telemetry:
    """Written by a pilot's threads, read by anybody.

    Attributes:
        steps: the last control steps, see ``step``.
        pictures: what each camera shows, its central square of at most ``SIDE`` pixels; None where nobody looks.
    """

    def __init__(self, manifest: PolicyManifest, pictures: bool = False) -> None:
        context: SpawnContext = multiprocessing.get_context("spawn")
        joints, cameras = len(manifest.joint_names), len(manifest.spec.get("cameras", ("front",)))
        each = ("f4", (joints,))
        fields = {
            "time": ("f8", ()),
            **dict.fromkeys(("late", "took", "encoded", "planned"), ("f4", ())),
            **dict.fromkeys(("joints_age", "camera_age", "plan_age", "time_to_go"), ("f4", ())),
            **dict.fromkeys(("position", "velocity", "wanted", "sent", "target"), each),
            "mode": ("u1", ()),
            "acted": ("?", (len(RULES), joints)),
            "plan": ("u4", ()),
            **dict.fromkeys(COUNTS, ("u4", ())),
            "text": (f"S{LONGEST_TEXT}", ()),
            **dict.fromkeys(("reason", "refused_because"), (f"S{LONGEST_REASON}", ())),
        }
        self.steps = Latest(context, fields, slots=round(KEPT_S * manifest.rates["control_hz"]) + 1)
        shape = (cameras, SIDE, SIDE, 3)
        seen = {"pictures": ("u1", shape), "sizes": ("u2", (cameras, 2)), "time": ("f8", ())}
        self.pictures = Latest(context, seen) if pictures else None
        self._shape = shape

    def step(
        self,
        pilot: Pilot,
        now: float,
        durations: tuple[float, float],
        ages: dict[str, float],
        reading: JointReading | None,
        torques: tuple[np.ndarray, np.ndarray],
        target: Target | None,
    ) -> None:
        """One control step of ``pilot``.

        Args:
            now: when it began.
            durations: by how much it was late, and how long it took [s].
            ages: of joints, camera and plan, as ``Fallback.decide`` takes them [s].
            reading: the joints that were believed.
            torques: wanted and sent (J,) [N·m].
            target: that was followed.
        """
        fallback = pilot.fallback
        self.steps.write(
            time=now,
            late=durations[0],
            took=durations[1],
            encoded=pilot.encoded.newest,
            planned=pilot.planned.newest,
            joints_age=ages["joints"],
            camera_age=ages["camera"],
            plan_age=ages["plan"],
            time_to_go=np.nan if target is None else target.due - now,
            position=np.nan if reading is None else reading.position,
            velocity=np.nan if reading is None else reading.velocity,
            wanted=torques[0],
            sent=torques[1],
            target=np.nan if target is None else target.joints,
            mode=int(fallback.mode),
            acted=pilot.guard.acted,
            plan=0 if target is None else target.number,
            text=pilot.text.encode(),
            reason=_cut(fallback.reason),
            refused_because=_cut(pilot.refused_because),
            **{name: pilot.counts[name] for name in COUNTS},
        )

    def saw(self, frame: Frame) -> None:
        """New pictures, whatever the policy thinks of them; such as cannot be shown are left black."""
        if self.pictures is None:
            return
        shown, sizes = np.zeros(self._shape, np.uint8), np.zeros((self._shape[0], 2), int)
        for i, picture in enumerate(frame.pictures[: self._shape[0]]):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape) == 0:
                continue
            small = reduced(picture)
            sizes[i] = small.shape[:2]
            shown[i, : small.shape[0], : small.shape[1]] = small
        self.pictures.write(pictures=shown, sizes=sizes, time=frame.time)


def reduced(picture: np.ndarray) -> np.ndarray:
    """The central square of a picture (H, W, 3), every so manieth pixel of it, so that it has at most ``SIDE``."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left, every = (height - side) // 2, (width - side) // 2, -(-side // SIDE)
    return picture[top : top + side : every, left : left + side : every]


def _cut(reason: str) -> bytes:
    return reason.encode(errors="replace")[:LONGEST_REASON]


def words(value: Any) -> str:
    """Text as it crossed between processes, without what a terminal would obey or was cut in half."""
    text = bytes(value).rstrip(b"\0").decode(errors="ignore")
    return "".join(character if character.isprintable() else " " for character in text)
