"""Whole files or one clear sentence: parquet and MP4 files of a dataset, checked without decoding them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import pyarrow as pa
import pyarrow.parquet as pq
from av.error import FFmpegError

COPY_AGAIN = "Copy the dataset again or record it again."


class DatasetError(ValueError):
    """A dataset is missing, incomplete, damaged, or not what was asked for."""


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a parquet file; ``DatasetError`` if it is missing or cut off."""
    try:
        return pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing. {COPY_AGAIN}") from None
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(damaged(path, error)) from None


def damaged(path: Path, error: Exception) -> str:
    """The sentence about a file that cannot be read."""
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return f"{path} cannot be read ({reason}); it may be cut off. {COPY_AGAIN}"


def require_table(path: Path, frames: int, columns: Sequence[str]) -> None:
    """Raise unless the parquet file opens and holds at least ``frames`` rows of ``columns``."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing. {COPY_AGAIN}") from None
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(damaged(path, error)) from None
    absent = [name for name in columns if name not in file.schema_arrow.names]
    if absent or file.metadata.num_rows < frames:
        what = f"lacks {', '.join(absent)}" if absent else f"holds {file.metadata.num_rows} of {frames} frames"
        raise DatasetError(f"{path} {what}. {COPY_AGAIN}")


def require_video(path: Path, seconds: float) -> None:
    """Raise unless the MP4 file is whole and lasts at least ``seconds``."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing. {COPY_AGAIN}")
    duration = 0.0
    try:
        _require_whole_mp4(path)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            duration = float((stream.duration or 0) * (stream.time_base or 0))
    except (FFmpegError, EOFError, IndexError) as error:
        raise DatasetError(damaged(path, error)) from None
    if duration < seconds:
        raise DatasetError(f"{path} lasts {duration:.1f} s and its episodes need {seconds:.1f} s. {COPY_AGAIN}")


def _require_whole_mp4(path: Path) -> None:
    """Walk the top-level MP4 boxes (ISO/IEC 14496-12); a box that ends beyond the file means that it was cut off.

    FFmpeg opens a cut-off file whose index comes first, and would fail hours later at its last episodes.
    """
    size, position = path.stat().st_size, 0
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(16)
            length = struct.unpack(">I", header[:4])[0] if len(header) >= 8 else size + 1
            if length == 1:
                length = struct.unpack(">Q", header[8:16])[0] if len(header) == 16 else size + 1
            if length == 0:
                return
            if length < 8 or position + length > size:
                raise EOFError(f"its data end at byte {size}")
            position += length
