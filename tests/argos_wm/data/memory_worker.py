"""Encodes and trains on as many rows as it is told, and prints how many bytes it read from and how many it held.

``python -m tests.argos_wm.data.memory_worker FOLDER ROWS``; run by ``test_bounded_memory.py``, twice.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from dataclasses import replace
from pathlib import Path

import torch

from argos_wm.data.caching import clip_rows
from argos_wm.data.latent_cache import LatentCache, encode_episodes
from argos_wm.data.latent_shards import LatentShards, LatentShardWriter
from argos_wm.data.sources import ClipWindows, PictureWindows, RobotWindows
from argos_wm.data.windows import WindowConfig
from argos_wm.encoders.text import HashedNGramEncoder
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import LoopConfig
from argos_wm.training.mixture import train_on_mixture
from argos_wm.world_model import WorldModel
from tests.argos_wm.data.test_latent_cache import LIMIT, episode
from tests.argos_wm.toy import SMALL, SPEC

EPISODE = 50
WIDE = replace(SPEC, channels=2048)
"""A row of 4 patches is 16 KiB."""


class Encoder:
    """Makes large latents of small pictures."""

    spec = WIDE

    def encode_vision(self, images: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(images), WIDE.patches, WIDE.channels)

    def encode_proprio(self, raw: torch.Tensor) -> torch.Tensor:
        return raw


def held() -> int:
    """Bytes of memory that are in use and cannot be given back to a file, as pages of mapped files can."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed and is only kept for later does not count
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def cache_rows(folder: Path, rows: int, kind: str) -> None:
    """Pictures or clips on disk."""
    writer = LatentShardWriter(folder, WIDE)
    for first in range(0, rows, EPISODE):
        notes = [{"text": f"{kind} {first}", "row": first, "frame": i} for i in range(EPISODE)]
        writer.add(torch.randn(EPISODE, WIDE.patches, WIDE.channels), notes)
    writer.finish({"kind": kind, "fps": 10.0})


def main(folder: Path, rows: int) -> None:
    """Every kind of source, ``rows`` rows of each."""
    torch.manual_seed(0)
    for kind in ("pictures", "clips"):
        cache_rows(folder / kind, rows, kind)
    encode_episodes((episode(EPISODE) for _ in range(rows // EPISODE)), Encoder(), LIMIT, folder / "robots")  # pyright: ignore[reportArgumentType]
    written = held()
    cache = LatentCache.load(folder / "robots", WIDE, most_in_memory=0)
    windows, config = WindowConfig(), SMALL
    shape = (windows, config.history, config.action_steps)
    sources = {
        "pictures": PictureWindows(LatentShards(folder / "pictures"), config.history, config.action_steps),
        "clips": ClipWindows(LatentShards(folder / "clips"), *shape),
        "robots": RobotWindows(cache, torch.arange(len(cache)), *shape),
    }
    text = HashedNGramEncoder()
    loop = LoopConfig(steps=40, batch_size=48, warmup_steps=1)
    model = WorldModel(config, WIDE, text.dim, 2)
    train_on_mixture(model, sources, None, text, loop, folder / "run", RunLogger(folder / "run", "none"))
    clips = sum(1 for _ in clip_rows(LatentShards(folder / "clips").every_note()))
    assert clips == rows // EPISODE
    on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(on_disk, written, held())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
