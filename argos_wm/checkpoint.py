"""Weights and settings on disk: safetensors and JSON, written to a temporary name and renamed.

A reader gets one sentence when a file is missing, cut off, or belongs to another network; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


class CheckpointError(ValueError):
    """A file of weights or settings is missing, damaged, of another network, or cannot be written."""


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write to, which then takes the place of ``path``; of a failure, as on a full disk, nothing is
    left but one sentence."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} cannot be written ({error}). What was there before is as it was; make room, or make it writable, "
            "and run the same command again."
        ) from None


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write ``tensors`` to ``path`` (safetensors), whole or not at all."""
    with _replacing(path) as temporary:
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary)


def load_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file; raise ``CheckpointError`` in one sentence if it is missing or cut off."""
    if not path.is_file():
        raise CheckpointError(f"There are no weights at {path}. Run the stage that makes them, or correct the path.")
    try:
        return load_file(path, device=device)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}); it may be cut off. Make it again."
        ) from None


def save_json(path: Path, data: Any) -> None:
    """Write ``data`` to ``path`` as indented JSON, whole or not at all. NaN is refused."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all."""
    with _replacing(path) as temporary:
        temporary.write_text(text)


def load_json(path: Path) -> Any:
    """Read JSON; raise ``CheckpointError`` in one sentence if it is missing or cut off."""
    if not path.is_file():
        raise CheckpointError(f"There is no {path}. Run the stage that makes it, or correct the path.")
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); it may be cut off. Make it again.") from None


def load_into(module: nn.Module, tensors: dict[str, Tensor], source: Path | str) -> None:
    """Copy ``tensors`` into ``module``; name the first entries that are missing, unknown or of another shape."""
    own = module.state_dict()
    problems = [f"{k} is missing" for k in own if k not in tensors]
    problems += [f"{k} is unknown" for k in tensors if k not in own]
    problems += [
        f"{k} is {tuple(tensors[k].shape)} and should be {tuple(own[k].shape)}"
        for k in own
        if k in tensors and tensors[k].shape != own[k].shape
    ]
    if problems:
        raise CheckpointError(
            f"{source} does not fit {type(module).__name__}: {'; '.join(problems[:3])}"
            f"{f' and {len(problems) - 3} more' if len(problems) > 3 else ''}. Use the settings it was trained with."
        )
    module.load_state_dict(tensors)


def weights_hash(*modules: nn.Module) -> str:
    """The first 16 hex digits of the SHA-256 of all parameters and buffers, by name, as stored."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
