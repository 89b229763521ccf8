"""Read demonstrations: LeRobot v3 datasets, recorded in simulation or on a real arm, one episode at a time.

Pictures are decoded in order, the rest comes from the parquet files at once; ``argos_wm.data.layout`` says which
features are read. Everything is local; the hub is not asked. Recordings of a real SO-100 lack ``control.*``: they are
read with R = 1 from ``observation.state`` and ``action``, in the units in which they were recorded.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from av.error import FFmpegError
from PIL import Image
from torch.nn import functional as F

from argos_wm.data.files import COPY_AGAIN, DatasetError, read_table
from argos_wm.data.layout import (
    ACTION,
    CONTROL_ACTION,
    CONTROL_STATE,
    ENVIRONMENT_STATE,
    STATE,
    Camera,
    DatasetSummary,
    check_dataset,
    read_episode_table,
)
from argos_wm.data.video import VideoReader

__all__ = ["DatasetError", "DatasetSummary", "Episode", "check_dataset", "read_episodes"]


@dataclass
class Episode:
    """One demonstration of T frames at ``fps``, with R control steps a frame."""

    images: np.ndarray
    """uint8 RGB (T, 3, H, W); where several cameras were named, (T, V, 3, H, W) at the first one's size."""
    state: np.ndarray
    """float32 (T, 2J): positions [rad], then velocities [rad/s]."""
    action: np.ndarray
    """float32 (T, J), for recordings of ours torques [N·m]."""
    environment_state: np.ndarray | None
    """float32 (T, E) privileged state, where recorded."""
    control_state: np.ndarray
    """float32 (T, R, 2J) at the R control steps that start at each frame."""
    control_action: np.ndarray
    """float32 (T, R, J) at the same steps."""
    task: str
    """The instruction."""
    fps: float
    """Camera frames a second."""

    def __len__(self) -> int:
        return len(self.images)


def read_episodes(
    root: Path | str,
    camera: str | Sequence[str] = "front",
    joint_names: Sequence[str] | None = None,
    episodes: Sequence[int] | None = None,
    fps: float | None = None,
) -> Iterator[Episode]:
    """Check the dataset at once, then yield its episodes in order.

    Args:
        root: folder of the dataset.
        camera: name after ``observation.images.``, or several, in the encoder's order.
        joint_names: the J joints expected, in order; None takes them from the dataset's ``action``.
        episodes: indices to read, in this order; None reads all.
        fps: the camera rate expected [Hz]; None accepts any.

    Raises:
        DatasetError: in one sentence, for whatever ``check_dataset`` finds, or a picture that cannot be decoded.
    """
    summary = check_dataset(root, camera, joint_names, fps)
    rows = {row["episode_index"]: row for row in read_episode_table(summary.root)}
    chosen = list(rows) if episodes is None else list(episodes)
    unknown = [index for index in chosen if index not in rows]
    if unknown:
        raise DatasetError(
            f"{root} has no episode {unknown[0]}; it has {len(rows)}, counted from 0. Choose among them."
        )
    return _iterate(summary, [rows[index] for index in chosen], isinstance(camera, str))


def _iterate(summary: DatasetSummary, rows: list[dict[str, Any]], single: bool) -> Iterator[Episode]:
    columns, loaded = {}, None
    videos = {camera: _Videos(summary, camera) for camera in summary.cameras if camera.video}
    try:
        for row in rows:
            path = summary.root / summary.data_path.format(
                chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
            )
            if path != loaded:
                columns, loaded = _read_columns(path, summary), path
            frames = np.flatnonzero(columns["episode_index"] == row["episode_index"])
            if len(frames) != row["length"]:
                raise DatasetError(
                    f"Episode {row['episode_index']} of {path} has {len(frames)} of {row['length']} frames. "
                    "Record the dataset again."
                )
            mine = {name: values[frames] for name, values in columns.items()}
            views = []
            for camera in summary.cameras:
                read = videos[camera].read if camera.video else partial(_decode_images, summary, camera)
                views.append(_require_shape(summary, camera, row, read(row, mine)))
            yield _episode(summary, views[0] if single else _stacked(views), mine)
    finally:
        for reader in videos.values():
            reader.close()


def _read_columns(path: Path, summary: DatasetSummary) -> dict[str, np.ndarray]:
    """All columns that an episode needs from one data file, as arrays (frames, …)."""
    shapes = {"episode_index": (), "task_index": (), "timestamp": (), ACTION: (summary.joint_count,)}
    shapes[STATE] = ((1 + summary.has_velocities) * summary.joint_count,)
    if summary.environment_dim:
        shapes[ENVIRONMENT_STATE] = (summary.environment_dim,)
    if summary.has_control:
        shapes[CONTROL_STATE] = (summary.control_per_frame, 2 * summary.joint_count)
        shapes[CONTROL_ACTION] = (summary.control_per_frame, summary.joint_count)
    inside = [camera.key for camera in summary.cameras if not camera.video]
    table = read_table(path, [*shapes, *inside])
    columns: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        values = _flat(table.column(name).combine_chunks())
        if values.size != len(table) * int(np.prod(shape)):
            raise DatasetError(
                f"{name} of {path} does not have the shape {shape} in every frame. Record the dataset again."
            )
        columns[name] = values.reshape(len(table), *shape)
    for key in inside:
        columns[key] = np.array(table.column(key).to_pylist(), dtype=object)
    return columns


def _flat(array: Any) -> np.ndarray:
    """The numbers of a column of nested lists, in one dimension."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    while pa.types.is_nested(array.type):
        array = array.flatten()
    return array.to_numpy(zero_copy_only=False)


def _episode(summary: DatasetSummary, images: np.ndarray, columns: dict[str, np.ndarray]) -> Episode:
    state = columns[STATE].astype(np.float32)
    if not summary.has_velocities:
        state = np.concatenate([state, _velocities(state, summary.fps)], axis=-1)
    action = columns[ACTION].astype(np.float32)
    if summary.has_control:
        control_state = columns[CONTROL_STATE].astype(np.float32)
        control_action = columns[CONTROL_ACTION].astype(np.float32)
    else:
        control_state, control_action = state[:, None], action[:, None]
    environment_state = columns.get(ENVIRONMENT_STATE)
    return Episode(
        images=images,
        state=state,
        action=action,
        environment_state=None if environment_state is None else environment_state.astype(np.float32),
        control_state=control_state,
        control_action=control_action,
        task=summary.tasks[int(columns["task_index"][0])],
        fps=summary.fps,
    )


def _velocities(positions: np.ndarray, fps: float) -> np.ndarray:
    """Backward differences (T, J), which is all that a robot could have sensed; at rest before the first frame."""
    return np.diff(positions, axis=0, prepend=positions[:1]) * np.float32(fps)


class _Videos:
    """A camera's video file that is being read, kept open from one episode to the next."""

    def __init__(self, summary: DatasetSummary, camera: Camera):
        self._summary, self._key = summary, camera.key
        self._reader: VideoReader | None = None

    def read(self, row: dict[str, Any], columns: dict[str, np.ndarray]) -> np.ndarray:
        """Pictures (T, 3, H, W) of the episode ``row`` at the timestamps in its columns [s from its start]."""
        key = self._key
        path = self._summary.root / str(self._summary.video_path).format(
            video_key=key, chunk_index=row[f"videos/{key}/chunk_index"], file_index=row[f"videos/{key}/file_index"]
        )
        times = row[f"videos/{key}/from_timestamp"] + columns["timestamp"].astype(np.float64)
        try:
            if self._reader is None or self._reader.path != path:
                self.close()
                self._reader = VideoReader(path, self._summary.fps)
            return self._reader.read(times.tolist())
        except (LookupError, EOFError, FFmpegError) as error:
            raise DatasetError(
                f"Episode {row['episode_index']} cannot be decoded from {path} ({error}). {COPY_AGAIN}"
            ) from None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _decode_images(
    summary: DatasetSummary, camera: Camera, row: dict[str, Any], columns: dict[str, np.ndarray]
) -> np.ndarray:
    """Pictures stored as encoded bytes inside the data file."""
    pictures = []
    for cell in columns[camera.key]:
        try:
            pictures.append(np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")))
        except (OSError, TypeError) as error:
            raise DatasetError(
                f"A picture of episode {row['episode_index']} of {summary.root} cannot be decoded ({error}). "
                f"{COPY_AGAIN}"
            ) from None
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))


def _stacked(views: list[np.ndarray]) -> np.ndarray:
    """Pictures (T, 3, H, W) of each of V cameras as (T, V, 3, H, W), at the first one's size."""
    size = views[0].shape[2:]
    return np.stack([view if view.shape[2:] == size else _resized(view, size) for view in views], 1)


def _resized(images: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    resized = F.interpolate(torch.from_numpy(images), size=size, mode="bilinear", antialias=True)
    return resized.numpy()


def _require_shape(summary: DatasetSummary, camera: Camera, row: dict[str, Any], images: np.ndarray) -> np.ndarray:
    height, width = camera.height, camera.width
    if images.shape[1:] != (3, height, width):
        raise DatasetError(
            f"Episode {row['episode_index']} of {summary.root} has pictures of {images.shape[2]}x{images.shape[3]} "
            f"pixels and its meta/info.json says {height}x{width}. Record the dataset again."
        )
    return images
