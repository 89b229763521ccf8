"""A recording in rerun: both arms in 3D, what the cameras saw, all curves and what happened, on one time line.

Entities, seconds counted from the first step:

    world/recorded/<body>, world/simulated/<body>        the robot's links as recorded, and the ghost that is simulated
    world/simulated/<block>                              blocks, where a simulated robot's places of them are known
    camera/<name>                                        pictures
    position/<joint>/{recorded, simulated, target}       [rad];  velocity [rad/s] likewise, without a target
    difference/<joint>                                   simulated less recorded [rad]
    torque/<joint>/{wanted, sent}                        before and after the guard [N·m]
    loop/{late, took, joints_age, camera_age}            [ms]
    plan/{number, time_to_go}, mode                      of the target [s]; as ``fallback.Mode`` counts
    events                                               sentences
"""

# mujoco is a compiled module without type stubs
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from argos_sim.deploy.recording import Recording
from argos_sim.mujoco_c import scene
from argos_sim.mujoco_c.world import World
from argos_sim.replay.happenings import happenings
from argos_sim.replay.resimulation import Played
from argos_sim.replay.shapes import log_links

APPLICATION, TIME = "argos_replay", "time"
GHOST, BLOCK_ALPHA = (60, 140, 255, 110), 160
"""Colour of the simulated arm, and how opaque its blocks are; 255 is solid."""
LOOP = ("late", "took", "joints_age", "camera_age")
JPEG_QUALITY = 95


class Viewer:
    """Writes a recording to a stream of rerun's."""

    def __init__(self, recording: Recording, world: World | None) -> None:
        """``world`` is what the arm looks like; without it there are no arms in 3D."""
        self.recording, self.world = recording, world
        self.stream = rr.RecordingStream(APPLICATION)
        self._zero = float(recording.steps["time"][0])

    def write(self, played: Sequence[Played]) -> None:
        """Everything, with the segments that were played."""
        self._curves()
        self._simulated_curves(played)
        for happening in happenings(self.recording):
            self.stream.set_time(TIME, duration=max(0.0, happening.time - self._zero))
            self.stream.log("events", rr.TextLog(happening.text, level=happening.level))
        self._pictures()
        if self.world is not None:
            self._arms(self.world, played)
        self.stream.send_blueprint(self._blueprint())

    def _send(self, entity: str, times: np.ndarray, values: np.ndarray) -> None:
        known = np.isfinite(values)
        if known.any():
            column = rr.TimeColumn(TIME, duration=times[known] - self._zero)
            self.stream.send_columns(entity, [column], rr.Scalars.columns(scalars=values[known].astype(float)))

    def _curves(self) -> None:
        steps = self.recording.steps
        times = steps["time"]
        columns = {
            "position/{}/recorded": "position",
            "position/{}/target": "target",
            "velocity/{}/recorded": "velocity",
        }
        columns |= {"torque/{}/wanted": "wanted", "torque/{}/sent": "sent"}
        for joint, name in enumerate(self.recording.joint_names):
            for entity, column in columns.items():
                self._send(entity.format(name), times, steps[column][:, joint])
        for name in LOOP:
            self._send(f"loop/{name}", times, 1e3 * steps[name])
        for entity, column in (("plan/number", "plan"), ("plan/time_to_go", "time_to_go"), ("mode", "mode")):
            self._send(entity, times, steps[column].astype(float))

    def _simulated_curves(self, played: Sequence[Played]) -> None:
        for part in played:
            times = self.recording.steps["time"][part.steps]
            for joint, name in enumerate(self.recording.joint_names):
                self._send(f"position/{name}/simulated", times, part.position[:, joint])
                self._send(f"velocity/{name}/simulated", times, part.velocity[:, joint])
                self._send(f"difference/{name}", times, part.difference[:, joint])

    def _pictures(self) -> None:
        names = self.recording.about["cameras"]
        for frame in self.recording.frames():
            self.stream.set_time(TIME, duration=max(0.0, frame.time - self._zero))
            for name, picture in zip(names, frame.pictures, strict=False):
                self.stream.log(f"camera/{name}", rr.Image(picture).compress(jpeg_quality=JPEG_QUALITY))

    def _arms(self, world: World, played: Sequence[Played]) -> None:
        self.stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        model = scene.build(world)
        steps = self.recording.steps
        known = np.isfinite(steps["position"]).all(1)
        bodies = scene.robot_bodies(model, world)
        log_links(self.stream, "world/recorded", model, bodies, None)
        self._poses("world/recorded", model, bodies, steps["time"][known], steps["position"][known])
        if not played:
            return
        log_links(self.stream, "world/simulated", model, bodies, GHOST)
        for part in played:
            times = steps["time"][part.steps]
            self._poses("world/simulated", model, bodies, times, part.position)
            for number, (name, colour) in enumerate(world.objects.items()):
                if number >= part.objects.shape[1]:
                    break
                rgba = (*(round(255 * c) for c in colour), BLOCK_ALPHA)
                box = rr.Boxes3D(half_sizes=[[world.half_size] * 3], colors=[rgba], fill_mode="solid")
                self.stream.log(f"world/simulated/{name}", box, static=True)
                self._moved(f"world/simulated/{name}", times, part.objects[:, number, :3], part.objects[:, number, 3:])

    def _poses(self, root: str, model: Any, bodies: np.ndarray, times: np.ndarray, joints: np.ndarray) -> None:
        """Where each link is, by forward kinematics."""
        places, turns = body_poses(model, self.recording.joint_names, joints)
        for body in bodies:
            self._moved(f"{root}/{model.body(body).name}", times, places[:, body], turns[:, body])

    def _moved(self, entity: str, times: np.ndarray, places: np.ndarray, turns: np.ndarray) -> None:
        """``turns`` (K, 4) as MuJoCo has them, w first; rerun has w last."""
        columns = rr.Transform3D.columns(translation=places, quaternion=np.roll(turns, -1, axis=1))
        self.stream.send_columns(entity, [rr.TimeColumn(TIME, duration=times - self._zero)], columns)

    def _blueprint(self) -> rrb.Blueprint:
        names, each = self.recording.joint_names, rrb.TimeSeriesView
        curves = [
            rrb.Vertical(*(each(origin=f"{what}/{name}", name=name) for name in names), name=what)
            for what in ("position", "velocity", "torque")
        ]
        others = [each(origin=what, name=what) for what in ("difference", "loop", "plan", "mode")]
        seen = rrb.Horizontal(
            *(rrb.Spatial2DView(origin=f"camera/{n}", name=n) for n in self.recording.about["cameras"])
        )
        left = rrb.Vertical(
            rrb.Spatial3DView(origin="world", name="recorded, and simulated in blue"),
            seen,
            rrb.TextLogView(origin="events", name="events"),
            row_shares=[3, 2, 1],
        )
        return rrb.Blueprint(rrb.Horizontal(left, rrb.Tabs(*curves, *others)), collapse_panels=True)


def body_poses(model: Any, names: Sequence[str], joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (K, B, 3) [m] and quaternions (K, B, 4), w first, of all bodies at ``joints`` (K, J) [rad]."""
    data = mujoco.MjData(model)
    where = [int(model.joint(name).qposadr[0]) for name in names]
    places, turns = [], []
    for position in joints:
        data.qpos[where] = position
        mujoco.mj_kinematics(model, data)
        places.append(data.xpos.copy())
        turns.append(data.xquat.copy())
    return np.array(places), np.array(turns)
