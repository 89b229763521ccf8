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
    red, blue = (bank[:, channel].amax((1, 2)) > 20 for channel in (0, 2))
    assert red.sum() + blue.sum() >= 7 and not (red & blue).any() and 3 <= red.sum() <= 4
    assert len({cut.numpy().tobytes() for cut in bank}) > 4
    assert torch.equal(bank, photograph_bank(photographs, 8, (24, 32), seeded()))


def test_all_of_many_photographs_have_their_turn_and_those_that_cannot_be_read_are_replaced(tmp_path: Path) -> None:
    for i in range(30):
        Image.new("L", (20, 20), 8 * i).save(tmp_path / f"{i:02}.png")
    seen = {
        int(cut.float().mean()) // 8 for seed in range(6) for cut in photograph_bank(tmp_path, 10, (8, 8), seeded(seed))
    }
    assert len(seen) > 20
    for i in range(20):
        (tmp_path / f"{i:02}.png").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="20 of the photographs"):
        bank = photograph_bank(tmp_path, 25, (8, 8), seeded())
    assert {int(cut.float().mean()) // 8 for cut in bank} == set(range(20, 30))


def test_photographs_are_turned_the_right_way_and_keep_what_they_show(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    Image.fromarray(pixels).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    whole = photograph_bank(tmp_path, 20, (32, 16), seeded())
    assert (whole.float()[:, 0].std(2).mean((1,)) < 8).all(), "rows are even: the edge lies across, not along"
    (tmp_path / "phone.jpg").unlink()
    Image.fromarray(np.full((30, 30), 30000, np.uint16)).save(tmp_path / "deep.png")
    assert photograph_bank(tmp_path, 2, (8, 8), seeded()).unique().tolist() == [30000 // 256]
    (tmp_path / "deep.png").unlink()
    Image.new("RGBA", (30, 30), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert photograph_bank(tmp_path, 2, (8, 8), seeded()).unique().tolist() == [255]


def test_photographs_are_one_family_among_others(photographs: Path) -> None:
    bank = make_background_bank(["canonical", f"photographs:{photographs}"], 6, 16, seeded())
    grey = (bank.float().std(1).amax((1, 2)) < 10).tolist()
    assert grey[0::2] == [True] * 3 and not all(grey[1::2])


@pytest.mark.parametrize(("chunk", "error"), [(b"IHDR", ValueError), (b"IDAT", SyntaxError)])
def test_photographs_that_say_a_wrong_length_are_left_out(
    photographs: Path, chunk: bytes, error: type[Exception]
) -> None:
    """Pillow has no one exception for what it cannot read: of a file cut off it says ``OSError``, here others."""
    whole, damaged = (photographs / "red.png").read_bytes(), photographs / "damaged.png"
    place = whole.index(chunk)
    length = int.from_bytes(whole[place - 4 : place], "big") // 2
    damaged.write_bytes(whole[: place - 4] + length.to_bytes(4, "big") + whole[place:])
    with pytest.raises(error), Image.open(damaged) as picture:
        picture.load()
    with pytest.warns(UserWarning, match=r"1 of the photographs .* damaged.png"):
        assert len(photograph_bank(photographs, 4, (16, 16), seeded())) == 4


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
