"""A sheet for each randomization preset, in which environments differ by what it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tasks  # noqa: F401
from argos_sim.pipeline import look
from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.ranges import PRESETS

SIDE, CELL, GAP, MARGIN, TOP = 3, 128, 4, 16, 52


def spread(sheet: Image.Image) -> float:
    """Standard deviation of a pixel over the cells [of 255], its mean over all pixels."""
    steps = [i * (CELL + GAP) for i in range(SIDE)]
    corners = [(MARGIN + x, TOP + y) for y in steps for x in steps]
    cells = [np.asarray(sheet.crop((x, y, x + CELL, y + CELL)), np.float32) for x, y in corners]
    return float(np.std(cells, 0).mean())


@pytest.mark.slow
def test_a_sheet_for_each_preset_shows_what_it_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "ENVIRONMENTS", SIDE**2)
    paths = look.look(Settings(preset="smoke", run_dir=str(tmp_path), device="cpu"))
    assert [path.name for path in paths] == [f"{name}.png" for name in PRESETS]
    sheets = {path.stem: Image.open(path).convert("RGB") for path in paths}
    side = SIDE * (CELL + GAP) - GAP
    assert {sheet.size for sheet in sheets.values()} == {(2 * MARGIN + side, TOP + side + MARGIN)}
    nominal = spread(sheets.pop("nominal"))
    assert all(spread(sheet) > 2 * nominal > 0 for sheet in sheets.values())
