"""Backgrounds from a user's photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from argos_sim.pipeline.settings import Settings
from argos_sim.randomization.backgrounds import make_background_bank
from argos_sim.randomization.photographs import photograph_bank


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A red and a blue picture, of which the left is dark, one in a folder below."""
    (tmp_path / "kitchen").mkdir()
    for name, channel in (("red.png", 0), ("kitchen/blue.JPG", 2)):
        pixels = np.zeros((90, 160, 3), np.uint8)
        pixels[:, 80:, channel] = 200
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def test_every_photograph_is_cut_in_turn_and_anew(photographs: Path) -> None:
    bank = photograph_bank(photographs, 8, (24, 32), seeded())
    assert bank.shape == (8, 3, 24, 32) and bank.dtype == torch.uint8
    assert (bank[0::2, 0].amax((1, 2)) <= 5).all() and (bank[1::2, 2].amax((1, 2)) == 0).all()
    assert len({cut.numpy().tobytes() for cut in bank}) > 4
    assert torch.equal(bank, photograph_bank(photographs, 8, (24, 32), seeded()))


def test_photographs_are_one_family_among_others(photographs: Path) -> None:
    bank = make_background_bank(["canonical", f"photographs:{photographs}"], 6, 16, seeded())
    grey = (bank.float().std(1).amax((1, 2)) < 10).tolist()
    assert grey[0::2] == [True] * 3 and not all(grey[1::2])


def test_a_broken_photograph_is_named_and_left_out(photographs: Path) -> None:
    (photographs / "cut-off.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    with pytest.warns(UserWarning, match=r"1 of the photographs .* cut-off.jpg"):
        bank = photograph_bank(photographs, 4, (16, 16), seeded())
    assert bank[:, 1].max() <= 5, "nothing green was photographed"


def test_folders_without_pictures_are_refused(tmp_path: Path, photographs: Path) -> None:
    with pytest.raises(ValueError, match="no folder of photographs .*nowhere"):
        Settings(photographs=str(tmp_path / "nowhere")).ranges()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="empty holds no picture"):
        Settings(photographs=str(empty)).ranges()
    (empty / "broken.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="None of the photographs"), pytest.warns(UserWarning, match=r"broken\.png"):
        photograph_bank(empty, 2, (8, 8), seeded())
    families = Settings(photographs=str(photographs)).ranges("train").background_families
    assert families[-1] == f"photographs:{photographs}"
    assert Settings(photographs=str(photographs)).ranges("unseen") == Settings().ranges("unseen")
