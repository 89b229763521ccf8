"""What a LeRobot v3 dataset on disk must hold before anything is trained on it.

``check_dataset`` opens every file but decodes nothing: a missing feature, a wrong shape or a file that was cut off ends
in one ``DatasetError`` sentence before any long work starts.

Features read (``J`` joints, ``R`` control steps a frame):

    observation.images.<camera>    video or image (H, W, 3)
    observation.state              (2J,) positions [rad], velocities [rad/s]; or (J,) positions alone
    action                         (J,)
    observation.environment_state  (E,) privileged state, optional
    control.state, control.action  (R, 2J) and (R, J) at the control rate, optional, both or none
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from argos_wm.data.files import DatasetError, damaged, read_table, require_table, require_video

STATE = "observation.state"
ACTION = "action"
ENVIRONMENT_STATE = "observation.environment_state"
CONTROL_STATE = "control.state"
CONTROL_ACTION = "control.action"
SUPPORTED_VERSION = "v3."


def image_feature(camera: str) -> str:
    """The LeRobot name of a camera's feature."""
    return f"observation.images.{camera}"


@dataclass(frozen=True)
class Camera:
    """A camera of a dataset."""

    name: str
    """After ``observation.images.``."""
    height: int
    width: int
    video: bool
    """Its pictures are stored as video; else as images inside the data files."""

    @property
    def key(self) -> str:
        return image_feature(self.name)


@dataclass(frozen=True)
class DatasetSummary:
    """What ``check_dataset`` found."""

    root: Path
    fps: float
    """Camera frames a second."""
    episodes: int
    frames: int
    cameras: tuple[Camera, ...]
    """Those that were asked for."""
    joint_count: int
    """J."""
    has_velocities: bool
    """``observation.state`` holds 2J values; else J positions, and velocities are finite differences."""
    control_per_frame: int
    """R; 1 for a dataset without ``control.*``."""
    has_control: bool
    environment_dim: int
    """E; 0 for a dataset without privileged state."""
    tasks: tuple[str, ...]
    """Instructions in the order of their task index."""
    data_path: str
    """Template of the data files, filled with chunk_index and file_index."""
    video_path: str | None
    """Template of the video files, filled with video_key, chunk_index and file_index."""


def check_dataset(
    root: Path | str,
    camera: str | Sequence[str] = "front",
    joint_names: Sequence[str] | None = None,
    fps: float | None = None,
) -> DatasetSummary:
    """Validate a LeRobot v3 dataset on disk and say what it holds.

    Args:
        root: folder that holds ``meta/``, ``data/`` and ``videos/``.
        camera: name after ``observation.images.``, or several.
        joint_names: the J joints expected, in order; where the dataset names its own, they must agree.
        fps: the camera rate expected [Hz]; None accepts any.

    Raises:
        DatasetError: one sentence that says what is wrong, where, and what to do.
    """
    root = Path(root)
    if not (root / "meta" / "info.json").is_file():
        raise DatasetError(
            f"There is no LeRobot dataset at {root}: meta/info.json is missing. "
            "Record demonstrations there or correct the path."
        )
    info = _read_info(root)
    features = info["features"]
    names = (camera,) if isinstance(camera, str) else tuple(camera)
    _require_features(root, features, names)
    joints, has_velocities = _check_joints(root, features, joint_names)
    if fps is not None and info["fps"] != fps:
        raise DatasetError(
            f"{root} was recorded at {info['fps']} frames/s and {fps} are expected. "
            "Set the camera rate to the dataset's or record it again."
        )
    if info["total_episodes"] < 1 or info["total_frames"] < 1:
        raise DatasetError(f"{root} holds no episodes. Record demonstrations before training on it.")
    cameras = tuple(_camera(root, features[image_feature(name)], name) for name in names)
    control = _control_per_frame(root, features, joints)
    episodes = read_episode_table(root)
    _check_data_files(root, info, episodes)
    for one in cameras:
        if one.video:
            _check_video_files(root, info, episodes, one.key)
    return DatasetSummary(
        root=root,
        fps=float(info["fps"]),
        episodes=len(episodes),
        frames=int(info["total_frames"]),
        cameras=cameras,
        joint_count=joints,
        has_velocities=has_velocities,
        control_per_frame=control or 1,
        has_control=control > 0,
        environment_dim=int(features[ENVIRONMENT_STATE]["shape"][0]) if ENVIRONMENT_STATE in features else 0,
        tasks=_read_tasks(root),
        data_path=info["data_path"],
        video_path=info.get("video_path"),
    )


def read_episode_table(root: Path) -> list[dict[str, Any]]:
    """One row an episode from ``meta/episodes``: lengths, file indices, video times; statistics left out."""
    files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    rows: list[dict[str, Any]] = []
    for path in files:
        try:
            names = [name for name in pq.read_schema(path).names if not name.startswith("stats/")]
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(damaged(path, error)) from None
        rows += read_table(path, names).to_pylist()
    if not rows:
        raise DatasetError(
            f"{root} holds no episodes: meta/episodes is empty. Finish the recording or record it again."
        )
    return sorted(rows, key=lambda row: row["episode_index"])


def _read_info(root: Path) -> dict[str, Any]:
    path = root / "meta" / "info.json"
    try:
        info = json.loads(path.read_text())
    except ValueError as error:
        raise DatasetError(damaged(path, error)) from None
    missing = [
        k
        for k in ("codebase_version", "fps", "features", "total_episodes", "total_frames", "data_path")
        if k not in info
    ]
    if missing:
        raise DatasetError(f"{path} lacks {', '.join(missing)}. Record the dataset again with lerobot 0.6 or later.")
    if not str(info["codebase_version"]).startswith(SUPPORTED_VERSION):
        raise DatasetError(
            f"{root} is a LeRobot {info['codebase_version']} dataset and v3 is read here. "
            "Convert it with lerobot's convert_dataset_v21_to_v30."
        )
    return info


def _require_features(root: Path, features: dict[str, Any], cameras: Sequence[str]) -> None:
    missing = [name for name in (*map(image_feature, cameras), STATE, ACTION) if name not in features]
    if (CONTROL_STATE in features) != (CONTROL_ACTION in features):
        missing.append(CONTROL_ACTION if CONTROL_STATE in features else CONTROL_STATE)
    if missing:
        raise DatasetError(
            f"{root} lacks the features {', '.join(missing)}; it has {', '.join(sorted(features))}. "
            "Name another camera or record the dataset with these features."
        )


def _camera(root: Path, image: dict[str, Any], name: str) -> Camera:
    """A camera of RGB pictures, in whichever order the dataset declares their shape."""
    shape, video = tuple(int(n) for n in image["shape"]), image["dtype"] == "video"
    if len(shape) == 3 and shape[2] == 3:
        return Camera(name, shape[0], shape[1], video)
    if len(shape) == 3 and shape[0] == 3:
        return Camera(name, shape[1], shape[2], video)
    raise DatasetError(
        f"{image_feature(name)} of {root} has the shape {shape} and RGB pictures (H, W, 3) are read. "
        "Name an RGB camera."
    )


def _check_joints(root: Path, features: dict[str, Any], joint_names: Sequence[str] | None) -> tuple[int, bool]:
    """(J, whether velocities are recorded)."""
    state, action = (int(features[name]["shape"][0]) for name in (STATE, ACTION))
    joints = len(joint_names) if joint_names is not None else action
    if action != joints:
        raise DatasetError(
            f"action of {root} has {action} values a frame and {joints} are expected, one a joint. "
            "Name its joints in order."
        )
    if state not in (joints, 2 * joints):
        raise DatasetError(
            f"{STATE} of {root} has {state} values a frame; {joints} positions, or {2 * joints} positions and "
            "velocities, are read. Record the dataset again."
        )
    recorded = features[ACTION].get("names")
    if joint_names is not None and isinstance(recorded, list) and len(recorded) == joints:
        plain = [str(name).split(".")[0].removeprefix("main_") for name in recorded]
        if plain != list(joint_names):
            raise DatasetError(
                f"{root} was recorded with the joints {', '.join(plain)} and {', '.join(joint_names)} are expected. "
                "Use the robot that it was recorded with."
            )
    return joints, state == 2 * joints


def _control_per_frame(root: Path, features: dict[str, Any], joints: int) -> int:
    """R, or 0 without ``control.*``."""
    if CONTROL_STATE not in features:
        return 0
    state, action = (tuple(features[name]["shape"]) for name in (CONTROL_STATE, CONTROL_ACTION))
    if len(state) != 2 or action != (state[0], joints) or state[1] != 2 * joints:
        raise DatasetError(
            f"{CONTROL_STATE} {state} and {CONTROL_ACTION} {action} of {root} should be (R, {2 * joints}) and "
            f"(R, {joints}). Record the dataset again."
        )
    return int(state[0])


def _read_tasks(root: Path) -> tuple[str, ...]:
    table = read_table(root / "meta" / "tasks.parquet").to_pandas()
    return tuple(str(task) for task in table.sort_values("task_index").index)


def _check_data_files(root: Path, info: dict[str, Any], episodes: list[dict[str, Any]]) -> None:
    """Every data file opens and holds the frames of its episodes."""
    frames: dict[Path, int] = {}
    for row in episodes:
        path = root / info["data_path"].format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
        frames[path] = frames.get(path, 0) + row["length"]
    for path, expected in frames.items():
        require_table(path, expected, [STATE, ACTION])


def _check_video_files(root: Path, info: dict[str, Any], episodes: list[dict[str, Any]], key: str) -> None:
    """Every video file is whole and lasts as long as its episodes say, to within half a frame."""
    ends: dict[Path, float] = {}
    for row in episodes:
        if row.get(f"videos/{key}/to_timestamp") is None:
            raise DatasetError(
                f"Episode {row['episode_index']} of {root} has no video of {key}: its recording was stopped before the "
                "video was encoded. Record the dataset again."
            )
        path = root / info["video_path"].format(
            video_key=key, chunk_index=row[f"videos/{key}/chunk_index"], file_index=row[f"videos/{key}/file_index"]
        )
        ends[path] = max(ends.get(path, 0.0), row[f"videos/{key}/to_timestamp"])
    for path, end in ends.items():
        require_video(path, end - 0.5 / info["fps"])
