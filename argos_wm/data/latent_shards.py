"""Latents on disk: encoded once, trained on many times, larger than memory.

A folder of shards, each a safetensors file of as many rows, and ``index.json`` with the encoder's ``LatentSpec``, every
shard's rows, bytes and SHA-256. Shards are read through memory maps, so that a run holds what it touches and no more.
A shard that was cut off is found when the folder is opened, one that was altered when it is first touched.

Rows are of any shape and kept in float16 or bfloat16; with a ``ChannelCodec`` only the leading principal components of
their channels are kept. Each row may have a note, such as its caption, in a JSON-lines file beside its shard; of notes,
too, only what is asked for is held.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from argos_wm.checkpoint import CheckpointError, load_json, load_tensors, save_json, save_tensors, write_text
from argos_wm.latents import LatentSpec

INDEX, CODEC, ROWS = "index.json", "codec.safetensors", "rows"
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
VERSION = 1
SHARD_BYTES = 256 * 2**20
"""About what a shard holds, and a writer waits for."""
MOST_ROWS = 4096
"""Of a shard."""
MOST_MAPS = 256
"""Shards mapped at once; each holds a file descriptor, of which a process usually has 1,024."""


@dataclass(frozen=True, eq=False)
class ChannelCodec:
    """Keeps the leading principal components of channels, as DINO-Foresight does (arXiv 2412.11673).

    Attributes:
        mean: (C,).
        components: (K, C) orthonormal.
        kept: share of the variance that they hold.
    """

    mean: Tensor
    components: Tensor
    kept: float

    @staticmethod
    def fit(latents: Tensor, channels: int) -> ChannelCodec:
        """From latents (…, C), the ``channels`` directions that hold most of their variance."""
        x = latents.flatten(0, -2).double()
        if not 1 <= channels <= x.shape[-1]:
            raise ValueError(f"A codec of {channels} channels does not fit latents of {x.shape[-1]}; keep 1 to all.")
        mean = x.mean(0)
        values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
        kept = float(values[:channels].sum() / values.sum().clamp_min(1e-12))
        return ChannelCodec(mean.float(), vectors[:, :channels].T.float().contiguous(), kept)

    def encode(self, latents: Tensor) -> Tensor:
        """(…, C) to (…, K)."""
        return (latents.float() - self.mean) @ self.components.T

    def decode(self, codes: Tensor) -> Tensor:
        """(…, K) to (…, C)."""
        return codes.float() @ self.components + self.mean


class LatentShardWriter:
    """Appends rows to a folder; what was written whole before a kill is kept, and ``rows`` says where to go on.

    Args:
        folder: made if missing.
        spec: whose latents these are; a folder of another's is refused.
        rows_per_shard: rows of one file; None makes files of about ``SHARD_BYTES``.
        dtype: ``float16`` or ``bfloat16``.
        codec: applied to the last axis, or None.
        source: what the rows were made from, such as a dataset's name and settings; a folder of another is refused.
    """

    def __init__(
        self,
        folder: Path,
        spec: LatentSpec,
        rows_per_shard: int | None = None,
        dtype: str = "float16",
        codec: ChannelCodec | None = None,
        source: Any = None,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"Latents cannot be kept as {dtype!r}; choose {' or '.join(DTYPES)}.")
        if rows_per_shard is None:
            channels = spec.channels if codec is None else len(codec.components)
            rows_per_shard = min(MOST_ROWS, max(1, SHARD_BYTES // (2 * spec.patches * channels)))
        self.folder, self.rows_per_shard, self.codec = folder, rows_per_shard, codec
        self.index: dict[str, Any] = {
            "version": VERSION,
            "spec": spec.to_json(),
            "dtype": dtype,
            "rows_per_shard": rows_per_shard,
            "codec": None if codec is None else {"channels": len(codec.components), "kept": codec.kept},
            "source": source,
            "complete": False,
            "shards": [],
        }
        if (folder / INDEX).is_file():
            self._continue(load_json(folder / INDEX))
        elif codec is not None:
            save_tensors(folder / CODEC, {"mean": codec.mean, "components": codec.components})
        self._pending: list[Tensor] = []
        self._notes: list[Any] = []

    @property
    def rows(self) -> int:
        """Rows that are safely on disk."""
        return sum(shard["rows"] for shard in self.index["shards"])

    def add(self, rows: Tensor, notes: Sequence[Any] | None = None) -> None:
        """Append rows (N, …), each with a note of plain values; either all rows of a folder have notes or none."""
        if notes is not None and len(notes) != len(rows):
            raise ValueError(f"{len(rows)} rows came with {len(notes)} notes; each needs its own.")
        kept = rows if self.codec is None else self.codec.encode(rows)
        self._pending.append(kept.to(DTYPES[self.index["dtype"]]).cpu())
        self._notes += [] if notes is None else notes
        while sum(map(len, self._pending)) >= self.rows_per_shard:
            joined = torch.cat(self._pending)
            self._write(joined[: self.rows_per_shard])
            self._pending = [joined[self.rows_per_shard :]]

    def last_note(self) -> Any:
        """The note of the last row that is safely on disk, or None."""
        if not self.rows:
            return None
        path = self.folder / _notes_name(len(self.index["shards"]) - 1)
        lines = path.read_text().split("\n")[:-1] if path.is_file() else []
        return json.loads(lines[-1]) if lines else None

    def finish(self, extra: dict[str, Any] | None = None) -> None:
        """Write what is left and mark the folder complete; ``extra`` is kept in the index. A folder without rows never
        is: whoever made it tries again."""
        left = torch.cat(self._pending) if self._pending else torch.zeros(0)
        if len(left):
            self._write(left)
        self._pending = []
        self.index |= {"complete": self.rows > 0, "extra": extra or {}}
        save_json(self.folder / INDEX, self.index)

    def _write(self, rows: Tensor) -> None:
        name = f"shard-{len(self.index['shards']):05d}.safetensors"
        path = self.folder / name
        save_tensors(path, {ROWS: rows})
        if self._notes:
            mine, self._notes = self._notes[: len(rows)], self._notes[len(rows) :]
            text = "".join(json.dumps(note) + "\n" for note in mine)
            write_text(self.folder / _notes_name(len(self.index["shards"])), text)
        self.index["shards"].append(
            {"file": name, "rows": len(rows), "bytes": path.stat().st_size, "sha256": _sha256(path)}
        )
        save_json(self.folder / INDEX, self.index)

    def _continue(self, stored: dict[str, Any]) -> None:
        for key in ("version", "spec", "dtype", "rows_per_shard", "codec", "source"):
            if stored.get(key) != json.loads(json.dumps(self.index[key])):
                raise CheckpointError(
                    f"{self.folder} holds latents with another {key} ({stored.get(key)!r}, and now "
                    f"{self.index[key]!r}). Write to another folder, or delete this one."
                )
        if stored["complete"]:
            raise CheckpointError(f"{self.folder} is complete; nothing can be added to it.")
        self.index["shards"] = stored["shards"]


class LatentShards:
    """Rows of a finished folder by number, through memory maps.

    Args:
        folder: written by ``LatentShardWriter``.
        spec: the encoder's, if the rows must be its own.
        verify: compare each shard's SHA-256 when it is first touched.
    """

    def __init__(self, folder: Path, spec: LatentSpec | None = None, verify: bool = True) -> None:
        self.folder, self.verify = folder, verify
        self.index = _read_index(folder)
        self.spec = LatentSpec.from_json(self.index["spec"])
        if spec is not None:
            spec.require(self.spec, "the encoder", f"the latent cache {folder}")
        shards = self.index["shards"]
        for shard in shards:
            _require_whole(folder / shard["file"], shard["bytes"])
        self.starts = np.cumsum([0, *(shard["rows"] for shard in shards)])
        self.dtype = DTYPES[self.index["dtype"]]
        self.codec = None
        if self.index["codec"] is not None:
            self.codec = ChannelCodec(**load_tensors(folder / CODEC), kept=self.index["codec"]["kept"])
        self._maps: dict[int, np.ndarray] = {}
        self._lines: dict[int, np.ndarray] = {}
        # Shared with processes that are forked from here: each shard is compared once, not once in each.
        self._verified = torch.zeros(len(shards), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Rows (…, *shape) at indices of any shape, as float32 if they were coded, else as they are stored."""
        flat = rows.reshape(-1).numpy()
        if len(flat) and (flat.min() < 0 or flat.max() >= len(self)):
            raise IndexError(f"{self.folder} has {len(self)} rows; row {int(flat.max())} was asked for.")
        which = np.searchsorted(self.starts, flat, side="right") - 1
        out = torch.empty(len(flat), *self._map(0).shape[1:], dtype=self.dtype)
        for number in np.unique(which):
            mine = np.flatnonzero(which == number)
            local = flat[mine] - self.starts[number]
            order = np.argsort(local, kind="stable")  # a disk prefers to be read forwards
            out[torch.from_numpy(mine[order])] = torch.from_numpy(self._map(int(number))[local[order]]).view(self.dtype)
        decoded = out if self.codec is None else self.codec.decode(out)
        return decoded.unflatten(0, rows.shape) if rows.ndim != 1 else decoded

    @property
    def bytes(self) -> int:
        """Of all shards."""
        return sum(shard["bytes"] for shard in self.index["shards"])

    def notes(self, rows: Tensor) -> list[Any]:
        """The notes of rows (N,)."""
        flat = rows.numpy()
        which = np.searchsorted(self.starts, flat, side="right") - 1
        notes: list[Any] = [None] * len(flat)
        for number in np.unique(which):
            lines = self._line_ends(int(number))
            with open(self.folder / _notes_name(int(number)), "rb") as file:
                for i in np.flatnonzero(which == number):
                    first, last = lines[flat[i] - self.starts[number] :][:2].tolist()
                    file.seek(first)
                    notes[i] = json.loads(file.read(last - first))
        return notes

    def every_note(self) -> Iterator[Any]:
        """All notes in order, a shard of them in memory at a time."""
        for number in range(len(self.index["shards"])):
            self._line_ends(number)
            with open(self.folder / _notes_name(number), "rb") as file:
                yield from (json.loads(line) for line in file)

    def _line_ends(self, number: int) -> np.ndarray:
        """Where each line of a shard's notes begins, and the last one ends, in bytes: four bytes a row are kept."""
        if number not in self._lines:
            path, rows = self.folder / _notes_name(number), self.index["shards"][number]["rows"]
            text = np.frombuffer(path.read_bytes() if path.is_file() else b"", np.uint8)
            ends = np.flatnonzero(text == ord("\n")) + 1
            if len(ends) != rows:
                raise CheckpointError(f"{path} has {len(ends)} of {rows} notes. Encode the data again.")
            self._lines[number] = np.concatenate([[0], ends]).astype(np.uint32)
        return self._lines[number]

    def _map(self, number: int) -> np.ndarray:
        """A shard's rows as 16-bit integers, mapped, its checksum compared on first touch."""
        if number not in self._maps:
            if len(self._maps) >= MOST_MAPS:
                self._maps.pop(next(iter(self._maps)))
            shard = self.index["shards"][number]
            path = self.folder / shard["file"]
            if self.verify and not self._verified[number] and _sha256(path) != shard["sha256"]:
                raise CheckpointError(
                    f"{path} was altered since it was written (its checksum differs). Encode the data again."
                )
            self._verified[number] = True
            self._maps[number] = _map_rows(path)
        return self._maps[number]


def _read_index(folder: Path) -> dict[str, Any]:
    index = load_json(folder / INDEX)
    if index.get("version") != VERSION:
        raise CheckpointError(
            f"{folder} is a latent cache of version {index.get('version')!r}; this ARGOS reads version {VERSION}. "
            "Encode the data again."
        )
    if not index["complete"]:
        raise CheckpointError(f"{folder} is not complete: encoding was interrupted. Run it again; it goes on.")
    return index


def _require_whole(path: Path, size: int) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing. Encode the data again.")
    if path.stat().st_size != size:
        raise CheckpointError(
            f"{path} has {path.stat().st_size} of {size} bytes; it may be cut off. Encode the data again."
        )


def _map_rows(path: Path) -> np.ndarray:
    """The one tensor of a safetensors file of 16-bit numbers, memory-mapped, as int16 of its shape."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    entry = header[ROWS]
    return np.memmap(path, np.int16, "r", 8 + length + entry["data_offsets"][0], tuple(entry["shape"]))


def _notes_name(number: int) -> str:
    return f"shard-{number:05d}.jsonl"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
