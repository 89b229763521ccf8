"""Pictures with captions from real files: parquet with pictures inside, and addresses on a local server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from argos_wm.data.files import DatasetError
from argos_wm.data.image_text import ImageText, ImageTextConfig, clean_caption
from tests.argos_wm.data.test_images import CONFIG, picture, server

__all__ = ["server"]


def config(source: Path, **settings) -> ImageTextConfig:
    return ImageTextConfig(str(source), fetch=CONFIG, **settings)


@pytest.fixture
def with_pictures(tmp_path: Path) -> Path:
    """A parquet file of twelve rows as the datasets library writes it, with two bad pictures and an empty caption."""
    rows = [{"image": {"bytes": picture(i), "path": None}, "text": f"a picture number {i}"} for i in range(12)]
    rows[3]["image"] = {"bytes": b"no picture at all", "path": None}
    rows[5]["image"] = {"bytes": picture(5)[:70], "path": None}
    rows[7]["text"] = "  \n"
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    path = tmp_path / "data" / "train.parquet"
    path.parent.mkdir()
    datasets.Dataset.from_list(rows, features=features).to_parquet(path)
    return path


def addresses(server: str, path: Path) -> Path:
    names = ["good_0", "gone", "good_2", "lie", "good_4", "good_5"]
    captions = ["one", "two", "दो लाल डिब्बे", "four", "", "赤いブロックに触れて"]
    rows = [{"URL": f"{server}/{n}", "TEXT": c} for n, c in zip(names, captions, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def values(pairs: Iterator[tuple]) -> list[tuple[int, str]]:
    return [(int(image[0, 0, 0]), caption) for image, caption in pairs]


def test_pictures_inside_a_dataset_come_with_their_captions(with_pictures: Path) -> None:
    source = ImageText(config(with_pictures.parent))
    seen = values(iter(source))
    assert [value for value, _ in seen] == [0, 1, 2, 4, 6, 8, 9, 10, 11]
    assert seen[3] == (4, "a picture number 4")
    assert source.counts.failed == {"not a picture": 1, "damaged": 1, "no caption": 1} and source.consumed == 12


def test_a_stream_goes_on_from_a_number(with_pictures: Path) -> None:
    whole = values(iter(ImageText(config(with_pictures))))
    source = ImageText(config(with_pictures))
    stream = iter(source)
    first = [next(stream) for _ in range(4)]
    rest = values(iter(ImageText(config(with_pictures), skip=source.consumed)))
    assert values(iter(first)) + rest == whole


def test_addresses_are_downloaded_and_dead_links_are_counted(server: str, tmp_path: Path) -> None:
    source = ImageText(config(addresses(server, tmp_path / "rows.jsonl")))
    assert values(iter(source)) == [(0, "one"), (2, "दो लाल डिब्बे"), (5, "赤いブロックに触れて")]
    assert source.counts.failed == {"dead link": 1, "not a picture": 1, "no caption": 1} and source.consumed == 6


def test_captions_are_composed_and_on_one_line() -> None:
    assert clean_caption("a\tred\u0000 block\r\n") == "a red block"
    assert clean_caption("e\u0301te\u0301") == "été"
    assert clean_caption(None) == "" and clean_caption(3.5) == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text_column": "title"}, "no column title for captions; it has image, text"),
        ({"url_column": "link"}, "no column link for addresses"),
        ({"image_column": "photo"}, "no column photo for pictures"),
    ],
)
def test_missing_columns_are_named(with_pictures: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ImageText(config(with_pictures, **settings))


def test_what_is_no_dataset_is_refused_in_one_sentence(tmp_path: Path, with_pictures: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be opened"):
        ImageText(config(Path("nobody/nothing")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="should hold files of one kind"):
        ImageText(config(tmp_path / "empty"))
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(with_pictures.read_bytes()[:-50])
    with pytest.raises(DatasetError, match=r"cut\.parquet"):
        list(ImageText(config(cut)))
    pq.write_table(pa.table({"number": [1, 2]}), tmp_path / "other.parquet")
    with pytest.raises(DatasetError, match="no column caption or text"):
        ImageText(config(tmp_path / "other.parquet"))
