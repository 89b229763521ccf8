"""Put a finished folder in its place: outputs are written beside their place and renamed, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path


def temporary_folder(target: Path) -> Path:
    """An empty folder ``<target>.tmp`` beside ``target``; what a killed run left there is removed."""
    path = target.with_name(target.name + ".tmp")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def replace_folder(new: Path, target: Path) -> None:
    """Rename ``new`` to ``target``; an earlier ``target`` is ``<target>.old`` in between, and removed at the end."""
    aside = target.with_name(target.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    if target.exists():
        target.rename(aside)
    new.rename(target)
    shutil.rmtree(aside, ignore_errors=True)
