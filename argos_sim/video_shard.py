"""One H.264 file of a LeRobot dataset, many episodes end to end, and the table that goes with it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from lerobot.configs import RGBEncoderConfig


class VideoShard:
    """Encodes pictures into one open video file and keeps the other columns until the file is full."""

    def __init__(self, chunk: int, file: int, path: Path, shape: tuple[int, ...], fps: int, codec: RGBEncoderConfig):
        """Open ``path`` for pictures of ``shape`` (H, W, 3); ``chunk`` and ``file`` are its indices in the dataset."""
        self.chunk, self.file = chunk, file
        self.frames = 0
        self.columns: list[dict[str, np.ndarray]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._video = av.open(str(path), "w")
        options = codec.get_codec_options(encoder_threads=1, as_strings=True)
        self._stream = self._video.add_stream("libx264", rate=fps, options=options)
        self._stream.height, self._stream.width = shape[:2]
        self._stream.pix_fmt = codec.pix_fmt

    def add(self, images: np.ndarray, columns: dict[str, np.ndarray]) -> None:
        """Append an episode: ``images`` uint8 (T, H, W, 3), which start with a key frame, and ``columns`` (T, …)."""
        for i, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = self.frames + i
            if i == 0:
                frame.pict_type = PictureType.I
            self._video.mux(self._stream.encode(frame))
        self.columns.append(columns)
        self.frames += len(images)

    def close(self) -> None:
        """Write what the encoder still holds, and the file's index."""
        self._video.mux(self._stream.encode())
        self._video.close()
