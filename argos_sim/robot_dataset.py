"""Recordings of a robot as a LeRobot dataset, with the features that ``argos_wm.data.layout`` lists.

A dataset has one clock: T frames, and R control steps that start at each. A robot has two, and neither waits for the
other. Control steps are taken as they were; of the R places at which the first frame may lie among them, the one is
taken at which pictures are nearest to their frames in time. What is not regular enough for that is refused, not mended.

Where a session had a camera file, its pictures are turned into those of training's camera, as which a dataset is to
look; recordings keep them as they came. What a robot cannot tell is missing: ``observation.environment_state``, the
blocks' places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from argos_sim.deploy.camera_file import TRAINED
from argos_sim.deploy.encoders import squared
from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.recording import Recording, Segment
from argos_sim.deploy.rectification import recorded_rectification
from argos_sim.deploy.robots import Frame
from argos_sim.lerobot_io import EpisodeWriter, RecordedEpisode
from argos_wm.data.files import DatasetError

TORN = 2.5
"""A segment whose last step is more periods than this before its end was torn off."""


@dataclass(frozen=True)
class Timing:
    """How regular one episode was [s]."""

    step: float
    """Largest distance of a control step from its place on the episode's clock."""
    picture: float
    """Largest distance of a picture's exposure from its frame."""


def kept(recording: Recording) -> Iterator[Segment]:
    """Segments that somebody, or the simulation, judged worth keeping, and that are whole."""
    steps, period = recording.steps, 1 / recording.about["rates"]["control_hz"]
    for segment in recording.segments():
        if segment.ended is None or not segment.text or not segment.kept:
            continue
        last = steps["time"][recording.within(segment)][-1]
        if segment.end - last <= TORN * period:
            yield segment


def episode_of(recording: Recording, segment: Segment, image_size: int) -> tuple[RecordedEpisode, Timing]:
    """One segment on the clock of a dataset; ``image_size`` in pixels.

    Raises:
        DatasetError: in one sentence, joints, control steps or pictures are missing in it, or the arm was held.
    """
    rates = recording.about["rates"]
    period, per_frame = 1 / rates["control_hz"], round(rates["control_hz"] / rates["camera_hz"])
    steps = recording.steps[recording.within(segment)]
    led = np.isfinite(steps["position"]).all(1) & np.isfinite(steps["target"]).all(1)
    steps = steps[int(np.argmax(led)) :]  # until there is a target the arm is held
    what = f"The episode {segment.text!r} of {recording.folder}"
    if not np.isfinite(steps["position"]).all():
        raise DatasetError(f"{what} lacks joints that were not read. Record it again.")
    if (steps["mode"] != Mode.RUN).any():
        mode = Mode(int(steps["mode"].max())).name
        raise DatasetError(f"{what} has a time in which the arm was not led (mode {mode}). Record it again.")
    ideal = steps["time"][0] + period * np.arange(len(steps))
    off = steps["time"] - ideal
    if len(steps) and np.abs(off - np.median(off)).max() > 0.5 * period:
        raise DatasetError(
            f"{what} has control steps up to {1e3 * np.abs(off - np.median(off)).max():.0f} ms from where they should "
            f"be, with {1e3 * period:.0f} ms between them: the machine was too busy. Record it again."
        )
    frames = list(recording.frames(segment.begin, segment.end))
    first, chosen, furthest = _aligned(steps["time"], frames, per_frame, what)
    if furthest > 1 / rates["camera_hz"]:
        raise DatasetError(f"{what} lacks pictures: one is {furthest:.2f} s from its frame. Record it again.")
    steps = steps[first : first + per_frame * len(chosen)]
    state = np.concatenate([steps["position"], steps["velocity"]], 1).reshape(len(chosen), per_frame, -1)
    torque = steps["sent"].reshape(len(chosen), per_frame, -1)
    images = _pictures(recording, chosen, image_size, what)
    episode = RecordedEpisode(images, state[:, 0], torque[:, 0], None, state, torque, segment.text)
    return episode, Timing(float(np.abs(off - np.median(off)).max()), furthest)


def _pictures(recording: Recording, frames: list[Frame], image_size: int, what: str) -> np.ndarray:
    """(T, image_size, image_size, 3) uint8, as training's camera would have taken them where that is known."""
    header, pictures = recording.about.get("camera_file"), [frame.pictures[0] for frame in frames]
    if header is not None:
        try:
            pictures = list(map(recorded_rectification(header, image_size), pictures))
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(f"{what} cannot be turned into what training's camera saw ({error}).") from None
    return np.stack([squared(picture, image_size) for picture in pictures])


def _aligned(times: np.ndarray, frames: list[Frame], per_frame: int, what: str) -> tuple[int, list[Frame], float]:
    """The control step of the first frame, the picture of each frame, and how far the furthest is from it [s]."""
    if not frames:
        raise DatasetError(f"{what} has no pictures: it was recorded without them, or the camera gave none.")
    taken = np.array([frame.time for frame in frames])
    best: tuple[float, int, np.ndarray] | None = None
    start = int(np.searchsorted(times, taken[0] - 0.5 * (times[1] - times[0]))) if len(times) > 1 else 0
    for first in range(start, start + per_frame):  # nothing was seen before the first picture
        places = times[first : len(times) - per_frame + 1 : per_frame]
        if not len(places):
            break
        apart = np.abs(places[:, None] - taken)
        nearest = apart.argmin(1)
        worst = float(apart[np.arange(len(places)), nearest].max())
        if best is None or worst < best[0]:
            best = worst, first, nearest
    if best is None or len(best[2]) < 2:
        raise DatasetError(f"{what} is shorter than two frames. Record a longer one.")
    return best[1], [frames[i] for i in best[2]], best[0]


def write_dataset(
    recordings: Iterable[Recording], root: Path, image_size: int, overwrite: bool = False
) -> tuple[list[Timing], list[str]]:
    """Write all kept episodes of ``recordings`` as the dataset ``root``, whole or not at all.

    Returns:
        How regular each episode was, and why others were refused.

    Raises:
        DatasetError: no episode is left, or a recording is of another robot, rate or camera than the first.
    """
    recordings = list(recordings)
    alike = _require_alike(recordings)
    timings, refused, rates = [], [], alike.about["rates"]
    with EpisodeWriter(
        root,
        alike.joint_names,
        image_size,
        round(rates["camera_hz"]),
        environment_dim=0,
        control_per_frame=round(rates["control_hz"] / rates["camera_hz"]),
        camera=alike.about["cameras"][0],
        robot_type=_robot_type(alike),
        overwrite=overwrite,
    ) as writer:
        for made in episodes_of(recordings, image_size):
            if isinstance(made, str):
                refused.append(made)
            else:
                writer.add(made[0])
                timings.append(made[1])
    return timings, refused


def episodes_of(recordings: Iterable[Recording], image_size: int) -> Iterator[tuple[RecordedEpisode, Timing] | str]:
    """Every kept episode, or why it is refused."""
    for recording in recordings:
        for segment in kept(recording):
            try:
                yield episode_of(recording, segment, image_size)
            except DatasetError as error:
                yield str(error)


def _require_alike(recordings: list[Recording]) -> Recording:
    """The first, after comparing the others with it."""
    if not recordings:
        raise DatasetError("There is no recording to make a dataset of.")
    first = recordings[0]
    for recording in recordings:
        for name in ("joints", "rates", "cameras", "robot", "joint_limits", "torque_limits", "identity"):
            mine, its = recording.about.get(name), first.about.get(name)
            if mine != its:
                raise DatasetError(
                    f"{recording.folder} has the {name} {mine} and {first.folder} {its}: they cannot be in one dataset."
                )
    require_seen_alike(recordings, first.about.get("camera_file") is not None)
    trained = [(recording.about.get("camera_file") or {}).get(TRAINED) for recording in recordings]
    if any(camera != trained[0] for camera in trained):
        raise DatasetError("The sessions were turned into different training cameras: they cannot be in one dataset.")
    if len(first.about["cameras"]) > 1:
        raise DatasetError(f"A dataset is written of one camera, and these are {', '.join(first.about['cameras'])}.")
    return first


def require_seen_alike(recordings: Iterable[Recording], rectified: bool) -> None:
    """Raise ``DatasetError`` unless all, or none, were made with a camera file."""
    for recording in recordings:
        if (recording.about.get("camera_file") is not None) != rectified:
            mine, others = ("without", "with") if rectified else ("with", "without")
            raise DatasetError(
                f"{recording.folder} was recorded {mine} --camera-file, and others {others}: they cannot be in one "
                "dataset. Go on as it was begun, or choose another folder."
            )


def _robot_type(recording: Recording) -> str:
    """The robot's model, as demonstrations name it, where the recording tells of one."""
    world = recording.about["world"]
    return "unknown" if world is None else Path(world["mjcf"]).stem
