"""Train a world model on several kinds of data at once: robots, videos of people, pictures with captions.

Which samples make a batch follows from its number alone (``data/mixture.py``), so that a run that was killed, or that
goes on with another number of processes, sees what one in peace would. Each source's loss, its share of the rows and
how often it has been seen whole are logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from argos_wm.data.mixture import Mixture
from argos_wm.data.sources import Source
from argos_wm.data.windows import Windows
from argos_wm.encoders.text import TextEncoder
from argos_wm.training.ahead import Ahead
from argos_wm.training.logger import RunLogger
from argos_wm.training.loop import Forward, LoopConfig, fit
from argos_wm.training.parallel import Parallel
from argos_wm.training.planner import looks_at
from argos_wm.world_model import WorldModel


def train_on_mixture(
    model: WorldModel,
    sources: Mapping[str, Source],
    weights: Mapping[str, float] | None,
    text_encoder: TextEncoder,
    loop: LoopConfig,
    out_dir: Path,
    logger: RunLogger,
    label: str = "planner",
    parallel: Parallel | None = None,
    look: Callable[[WorldModel], dict[str, Tensor]] | None = None,
) -> WorldModel:
    """Train ``model``; resumes by itself, as ``fit`` does.

    Args:
        model: its history and action steps are those that the sources were made with.
        sources: by name; all of the model's latents.
        weights: share of each source in the rows; None weighs by size.
        look: further figures for the log, such as ``Probe``'s, now and then.

    Returns:
        the averaged weights, in evaluation mode.
    """
    mixture = Mixture({name: len(source) for name, source in sources.items()}, weights, loop.seed)
    device = next(model.parameters()).device

    def draw(number: int) -> tuple[Windows, list[str], dict[str, slice]]:
        """Windows, what is said of them, and which rows are whose."""
        drawn = mixture.batch(number, loop.rows)
        parts, texts, rows = [], [], {}
        for index, name in enumerate(mixture.names):
            mine = torch.from_numpy(drawn.sample[drawn.source == index])
            if len(mine):
                windows, said = sources[name](mine)
                rows[name] = slice(len(texts), len(texts) + len(said))
                parts.append(windows)
                texts += said
        return Windows.cat(parts) if len(parts) > 1 else parts[0], texts, rows

    ahead = Ahead(draw, loop, parallel, device)

    def loss(forward: Forward, number: int) -> dict[str, Tensor]:
        windows, texts, rows = ahead(number)
        values = forward(windows.to(device).float(), text_encoder(texts).to(device), per_row=True)
        of_rows = values.pop("row_loss")
        for name, seen in mixture.epochs(number, loop.rows).items():
            values[f"{name}_epochs"] = torch.tensor(seen)
            values[f"{name}_share"] = torch.tensor(len(of_rows[rows[name]]) / loop.rows if name in rows else 0.0)
        values |= {f"{name}_loss": of_rows[part].mean() for name, part in rows.items()}
        looked = {} if look is None or not looks_at(number // loop.micro_batches, loop) else look(model)
        return values | looked

    trained = fit(model.to(device), loss, loop, out_dir, logger, label, parallel)
    assert isinstance(trained, WorldModel)
    return trained
