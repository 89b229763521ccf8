"""Pictures as PNG files, by the standard library alone (PNG specification, second edition)."""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LEVEL = 1
"""zlib's fastest: camera noise is compressed no better by others."""


def png(picture: np.ndarray) -> bytes:
    """The file of a picture uint8 (H, W, 3), RGB."""
    height, width, _ = picture.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
    unfiltered = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with the number of its filter, none
    unfiltered[:, 1:] = picture.reshape(height, 3 * width)
    data = zlib.compress(unfiltered.tobytes(), LEVEL)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
