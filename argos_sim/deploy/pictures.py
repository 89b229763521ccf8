"""Pictures as they came, one after the other in a file that a torn-off plug leaves readable.

Each is a record of its own: what ``HEAD`` states, then the picture, losslessly: the differences between neighbours in a
row, deflated. That takes nothing but numpy, a third to two thirds of the bytes, and 15 ms of a core for 640x480 pixels.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from argos_sim.deploy.robots import Frame

MARK = b"PICT"
HEAD = np.dtype(
    [
        ("mark", "S4"),
        ("time", "f8"),  # monotonic [s]
        ("camera", "u1"),
        ("cameras", "u1"),  # of the moment
        ("height", "u2"),
        ("width", "u2"),
        ("channels", "u1"),
        ("bytes", "u4"),  # that follow
        ("check", "u4"),  # CRC-32 of these
    ]
)


def packed(frame: Frame) -> bytes:
    """The pictures of one moment as they are stored."""
    parts = []
    for camera, picture in enumerate(frame.pictures):
        body = zlib.compress(np.diff(picture, axis=1, prepend=picture.dtype.type(0)).tobytes(), 1)
        head = np.array(
            [(MARK, frame.time, camera, len(frame.pictures), *picture.shape, len(body), zlib.crc32(body))], HEAD
        )
        parts += [head.tobytes(), body]
    return b"".join(parts)


def read_frames(path: Path, begin: float = -math.inf, end: float = math.inf) -> Iterator[Frame]:
    """The moments of a finished or torn-off file from ``begin`` to before ``end``, oldest first; one that is not whole
    ends them."""
    if not path.is_file():
        return
    pictures: list[np.ndarray] = []
    with path.open("rb") as file:
        while len(data := file.read(HEAD.itemsize)) == HEAD.itemsize:
            head = np.frombuffer(data, HEAD)[0]
            if head["mark"] == MARK and not begin <= head["time"] < end:
                file.seek(int(head["bytes"]), os.SEEK_CUR)
                continue
            body = file.read(int(head["bytes"]))
            if head["mark"] != MARK or len(body) != head["bytes"] or zlib.crc32(body) != head["check"]:
                return
            if head["camera"] == 0:
                pictures = []
            shape = (int(head["height"]), int(head["width"]), int(head["channels"]))
            steps = np.frombuffer(zlib.decompress(body), np.uint8)
            if steps.size != math.prod(shape):
                return
            pictures.append(np.cumsum(steps.reshape(shape), axis=1, dtype=np.uint8))
            if len(pictures) == head["cameras"]:
                yield Frame(tuple(pictures), float(head["time"]))
