"""Write demonstrations as a LeRobot v3 dataset; ``argos_wm.data.layout`` lists its features.

Why not ``LeRobotDataset.save_episode``: it rewrites the metadata and remuxes the growing video with every episode: 6
episodes/s on two cores with any codec, and its batch encoding fails in lerobot 0.6.1 unless the metadata buffer is one
episode. Here a shard of up to ``SHARD_SECONDS`` is one open video and one table, and lerobot's own functions describe
and write the files: 93 episodes/s in all. ``LeRobotDataset`` reads the result, ``delta_timestamps`` included.

Codecs measured at 28 frames of 64x64 pixels with coloured noise everywhere (the worst case), one core:

    codec                             episodes/s   KB/episode   PSNR
    AV1 (lerobot's default), 4:2:0            46           32     22 dB
    H.264 ultrafast, crf 12, 4:2:0           300           62     22 dB
    H.264 ultrafast, crf 18, 4:4:4           390           56     38 dB
    H.264 ultrafast, crf 12, 4:4:4           320           99     42 dB   <- chosen
    PNG in parquet                            63          287     exact

Chroma at half resolution (4:2:0) smears the colours of a block that is five pixels wide, whatever the bit rate.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from lerobot.configs import RGBEncoderConfig
from lerobot.datasets.compute_stats import aggregate_stats
from lerobot.datasets.feature_utils import create_empty_dataset_info, get_hf_features_from_features
from lerobot.datasets.io_utils import (
    write_info,
    write_stats,
    write_table_one_row_group_per_episode,
    write_tasks,
)
from lerobot.datasets.utils import DEFAULT_EPISODES_PATH
from lerobot.datasets.video_utils import get_video_info
from lerobot.utils.constants import DEFAULT_FEATURES

from argos_sim.dataset_stats import image_stats, vector_stats
from argos_sim.folders import replace_folder, temporary_folder
from argos_sim.video_shard import VideoShard
from argos_wm.data.files import DatasetError
from argos_wm.data.layout import ACTION, CONTROL_ACTION, CONTROL_STATE, ENVIRONMENT_STATE, STATE, image_feature

CODEBASE_VERSION = "v3.0"
SHARD_SECONDS = 900.0
"""lerobot compares video times in float32 to within 0.1 ms, which holds below 1024 s; a file must stay shorter."""
GROUP_OF_PICTURES = 8
"""A random read decodes at most this many frames; every episode starts with a key frame."""


@dataclass
class RecordedEpisode:
    """One successful episode of T frames, with R control steps a frame."""

    images: np.ndarray
    """uint8 (T, H, W, 3) RGB."""
    state: np.ndarray
    """(T, 2J): sensed positions [rad], then velocities [rad/s]."""
    action: np.ndarray
    """(T, J) torque [N·m] commanded at the frame's control step."""
    environment_state: np.ndarray | None
    """(T, E) privileged state: each block's position [m, environment frame] and quaternion (x, y, z, w); None where the
    layout has none, as of a robot."""
    control_state: np.ndarray
    """(T, R, 2J) sensed at the R control steps that start at each frame."""
    control_action: np.ndarray
    """(T, R, J) torque [N·m], the expert's clean label at the same steps."""
    task: str
    """The instruction, such as "touch the red block"."""


class EpisodeWriter:
    """Writes episodes into ``root``, whole or not at all.

    Everything goes to ``<root>.tmp`` beside it, which ``finalize`` renames: a killed run leaves no half-written
    dataset, and an existing one stays until then. As a context manager it finalizes, or discards after an exception.
    """

    def __init__(
        self,
        root: Path | str,
        joint_names: Sequence[str],
        image_size: int | tuple[int, int] = 64,
        fps: int = 10,
        environment_dim: int = 21,
        control_per_frame: int = 5,
        camera: str = "front",
        robot_type: str = "unknown",
        overwrite: bool = False,
    ):
        """Set the layout.

        Args:
            root: folder of the dataset to make.
            joint_names: the J joints, in order.
            image_size: H = W, or (H, W), in pixels.
            fps: camera rate [Hz].
            environment_dim: E, values of the privileged state; 0 leaves the feature out.
            control_per_frame: R, control steps a camera frame.
            camera: name after ``observation.images.``.
            robot_type: stored in the dataset's ``meta/info.json``.
            overwrite: replace a dataset that is already there; without it that is an error.
        """
        self.root = Path(root)
        if self.root.exists() and not overwrite:
            raise DatasetError(f"{self.root} exists already. Allow it to be overwritten or choose another folder.")
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        self._camera = image_feature(camera)
        self._features = _features(self._camera, size, list(joint_names), environment_dim, control_per_frame)
        self._fps = fps
        self._info = create_empty_dataset_info(CODEBASE_VERSION, fps, dict(self._features), True, robot_type)
        self._temporary = temporary_folder(self.root)
        self._codec = RGBEncoderConfig(
            vcodec="h264", pix_fmt="yuv444p", g=GROUP_OF_PICTURES, crf=12, preset="ultrafast"
        )
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []
        self._stats: list[dict[str, Any]] = []
        self._frames = 0
        self._shard: VideoShard | None = None
        self._shards = 0

    @property
    def episodes(self) -> int:
        """How many episodes were added."""
        return len(self._rows)

    def add(self, episode: RecordedEpisode) -> None:
        """Append one episode; its arrays' shapes must be those of the layout."""
        values = {
            STATE: episode.state,
            ACTION: episode.action,
            CONTROL_STATE: episode.control_state,
            CONTROL_ACTION: episode.control_action,
        }
        if episode.environment_state is not None:
            values[ENVIRONMENT_STATE] = episode.environment_state
        if (ENVIRONMENT_STATE in values) != (ENVIRONMENT_STATE in self._features):
            raise DatasetError(f"Either all episodes of {self.root} have {ENVIRONMENT_STATE}, or none.")
        length = self._check(values, episode.images)
        shard = self._open_shard(length)
        columns: dict[str, np.ndarray] = {k: np.asarray(v, dtype=np.float32) for k, v in values.items()}
        columns["timestamp"] = (np.arange(length) / self._fps).astype(np.float32)
        columns["frame_index"] = np.arange(length)
        columns["episode_index"] = np.full(length, self.episodes)
        columns["index"] = np.arange(self._frames, self._frames + length)
        columns["task_index"] = np.full(length, self._tasks.setdefault(episode.task, len(self._tasks)))
        stats = {name: vector_stats(value) for name, value in columns.items()}
        stats[self._camera] = image_stats(episode.images)
        self._rows.append(self._row(shard, episode.task, length) | _flatten(stats))
        self._stats.append(stats)
        shard.add(episode.images, columns)
        self._frames += length

    def finalize(self) -> Path:
        """Write the metadata and put the dataset in its place; returns ``root``."""
        if not self._rows:
            self.discard()
            raise DatasetError(f"No episode was recorded for {self.root}. Look at why every episode failed.")
        self._close_shard()
        first = self._temporary / str(self._info.video_path).format(video_key=self._camera, chunk_index=0, file_index=0)
        self._info.features[self._camera]["info"] = get_video_info(first, video_encoder=self._codec)
        self._info.total_episodes, self._info.total_frames = self.episodes, self._frames
        self._info.total_tasks = len(self._tasks)
        self._info.splits = {"train": f"0:{self.episodes}"}
        write_info(self._info, self._temporary)
        index = pd.Index(list(self._tasks), name="task")
        write_tasks(pd.DataFrame({"task_index": list(self._tasks.values())}, index=index), self._temporary)
        write_stats(aggregate_stats(self._stats), self._temporary)
        path = self._temporary / DEFAULT_EPISODES_PATH.format(chunk_index=0, file_index=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self._rows), path)
        replace_folder(self._temporary, self.root)
        return self.root

    def discard(self) -> None:
        """Remove what was written so far; an existing dataset at ``root`` stays."""
        if self._shard is not None:
            self._shard.close()
            self._shard = None
        shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> EpisodeWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finalize()
        else:
            self.discard()

    def _check(self, values: dict[str, np.ndarray], images: np.ndarray) -> int:
        """T, after comparing every array with the layout."""
        for name, array in {self._camera: images, **values}.items():
            expected = (len(images), *self._features[name]["shape"])
            if array.shape != expected or not len(images):
                raise DatasetError(f"{name} of episode {self.episodes} is {array.shape} and should be {expected}.")
            if name != self._camera and not np.isfinite(array).all():
                raise DatasetError(f"{name} of episode {self.episodes} holds NaN or infinity. Keep such episodes out.")
        if images.dtype != np.uint8:
            raise DatasetError(f"{self._camera} of episode {self.episodes} is {images.dtype} and should be uint8.")
        return len(images)

    def _row(self, shard: VideoShard, task: str, length: int) -> dict[str, Any]:
        """The episode's row of ``meta/episodes``."""
        video = f"videos/{self._camera}"
        return {
            "episode_index": self.episodes,
            "tasks": [task],
            "length": length,
            "data/chunk_index": shard.chunk,
            "data/file_index": shard.file,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + length,
            f"{video}/chunk_index": shard.chunk,
            f"{video}/file_index": shard.file,
            f"{video}/from_timestamp": shard.frames / self._fps,
            f"{video}/to_timestamp": (shard.frames + length) / self._fps,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }

    def _open_shard(self, length: int) -> VideoShard:
        """The shard that takes the next ``length`` frames."""
        if self._shard is not None and self._shard.frames + length > SHARD_SECONDS * self._fps:
            self._close_shard()
        if self._shard is None:
            chunk, file = divmod(self._shards, self._info.chunks_size)
            path = self._temporary / str(self._info.video_path).format(
                video_key=self._camera, chunk_index=chunk, file_index=file
            )
            self._shard = VideoShard(chunk, file, path, self._features[self._camera]["shape"], self._fps, self._codec)
            self._shards += 1
        return self._shard

    def _close_shard(self) -> None:
        shard, self._shard = self._shard, None
        if shard is None:
            return
        shard.close()
        columns = {name: np.concatenate([c[name] for c in shard.columns]) for name in shard.columns[0]}
        schema = get_hf_features_from_features(self._features)
        table = datasets.Dataset.from_dict({k: columns[k] for k in schema}, features=schema).with_format("arrow")[:]
        path = self._temporary / self._info.data_path.format(chunk_index=shard.chunk, file_index=shard.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table_one_row_group_per_episode(table, path)


def _features(
    camera: str, size: tuple[int, int], joints: list[str], environment_dim: int, control_per_frame: int
) -> dict[str, Any]:
    """LeRobot's description of every column."""
    state = [f"{name}.pos" for name in joints] + [f"{name}.vel" for name in joints]
    torque = [f"{name}.torque" for name in joints]
    privileged = {"dtype": "float32", "shape": (environment_dim,), "names": None}
    return {
        camera: {"dtype": "video", "shape": (*size, 3), "names": ["height", "width", "channels"]},
        STATE: {"dtype": "float32", "shape": (len(state),), "names": state},
        ACTION: {"dtype": "float32", "shape": (len(torque),), "names": torque},
        **({ENVIRONMENT_STATE: privileged} if environment_dim else {}),
        CONTROL_STATE: {"dtype": "float32", "shape": (control_per_frame, len(state)), "names": None},
        CONTROL_ACTION: {"dtype": "float32", "shape": (control_per_frame, len(torque)), "names": None},
        **DEFAULT_FEATURES,
    }


def _flatten(stats: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    return {f"stats/{name}/{kind}": value.tolist() for name, kinds in stats.items() for kind, value in kinds.items()}
