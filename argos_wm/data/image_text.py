"""Pictures with captions, from a Hugging Face dataset: of addresses, as LAION-COCO, or with the pictures inside.

Rows are streamed in the dataset's own order, which costs no memory and can be resumed by a number; they are shuffled
later, when their latents are read (``order.py``). What cannot be used is counted by its reason and passed over.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from argos_wm.data.files import DatasetError
from argos_wm.data.images import FetchConfig, FetchCounts, FetchedRows, FetchError, ImageFetcher, decode_image

URL_COLUMNS = ("url", "URL", "image_url")
TEXT_COLUMNS = ("caption", "text", "TEXT", "top_caption", "sentence")
IMAGE_COLUMNS = ("image", "jpg", "png", "webp")
"""Names by which the common datasets call what is needed; LAION-COCO has URL and TEXT, or url and top_caption."""
LOCAL_KINDS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}


@dataclass(frozen=True)
class ImageTextConfig:
    """Where pictures and captions come from."""

    source: str
    """Hub id, or a local file or folder of parquet, JSON lines or CSV."""
    split: str = "train"
    url_column: str | None = None
    text_column: str | None = None
    image_column: str | None = None
    """Columns; None takes the first known name. A picture in the dataset is preferred to its address."""
    least_words: int = 1
    """Of a caption; shorter ones are passed over."""
    most: int | None = None
    """Rows to take at most, those skipped included; None takes all."""
    fetch: FetchConfig = field(default_factory=FetchConfig)


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; exactly one of ``url`` and ``image`` is set."""

    text: str
    url: str | None
    image: str | None


class ImageText:
    """Pairs of pictures uint8 (3, H, W) and captions.

    Attributes:
        counts: what became of the rows so far.
        consumed: rows taken so far; give it as ``skip`` to go on from there.
    """

    def __init__(self, cfg: ImageTextConfig, skip: int = 0) -> None:
        """Open the dataset; ``DatasetError`` if it is not there or has no pictures or no captions."""
        self.cfg, self.skip = cfg, skip
        self.counts, self.consumed = FetchCounts(), skip
        self.dataset = _open(cfg) if cfg.most is None else _open(cfg).take(cfg.most)
        self.columns = find_columns(self.dataset.column_names, cfg)

    def __iter__(self) -> Iterator[tuple[np.ndarray, str]]:
        if self.columns.image is None:
            yield from self._downloaded()
            return
        for row in self._rows():
            self.consumed += 1
            caption = clean_caption(row[self.columns.text])
            try:
                self._require_words(caption)
                picture = decode_image(_image_bytes(row[self.columns.image]), self.cfg.fetch)
            except FetchError as error:
                self.counts.failed[error.reason] += 1
                continue
            except OSError:
                self.counts.failed["missing file"] += 1
                continue
            self.counts.fetched += 1
            yield picture, caption

    def _downloaded(self) -> Iterator[tuple[np.ndarray, str]]:
        column = self.columns.url or ""

        def addresses() -> Iterator[tuple[str, str]]:
            for row in self._rows():
                yield str(row[column] or ""), clean_caption(row[self.columns.text])

        with ImageFetcher(self.cfg.fetch) as fetcher:
            rows = FetchedRows(addresses(), fetcher, self._require_words)
            rows.counts = self.counts
            for picture, caption in rows:
                self.consumed = self.skip + rows.consumed
                yield picture, caption
            self.consumed = self.skip + rows.consumed

    def _rows(self) -> Iterator[dict[str, Any]]:
        rows = iter(self.dataset.skip(self.skip) if self.skip else self.dataset)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except (OSError, ValueError, RuntimeError) as error:  # a file that was cut off, or of another format
                raise DatasetError(
                    f"{self.cfg.source} cannot be read after row {self.consumed} ({str(error).splitlines()[0]}). "
                    "Download it again."
                ) from None
            yield row

    def _require_words(self, caption: str) -> None:
        if len(caption.split()) < self.cfg.least_words:
            raise FetchError("no caption")


def clean_caption(text: Any) -> str:
    """A caption in composed Unicode (NFC), of any script, on one line, without control characters."""
    if not isinstance(text, str):
        return ""
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(c if unicodedata.category(c)[0] != "C" or c in "\u200c\u200d" else " " for c in composed)
    return " ".join(kept.split())


def find_columns(names: list[str] | None, cfg: ImageTextConfig) -> Columns:
    """The columns to read; one sentence if there are none."""
    known = list(names or [])

    def choose(wanted: str | None, usual: tuple[str, ...], what: str, needed: bool) -> str | None:
        found = wanted if wanted is not None else next((name for name in usual if name in known), None)
        if (found is None and needed) or (found is not None and found not in known):
            raise DatasetError(
                f"{cfg.source} has no column {found or ' or '.join(usual)} for {what}; it has {', '.join(known)}. "
                f"Name the column of {what} in the settings."
            )
        return found

    text = choose(cfg.text_column, TEXT_COLUMNS, "captions", True)
    image = choose(cfg.image_column, IMAGE_COLUMNS, "pictures", False) if cfg.url_column is None else None
    url = choose(cfg.url_column, URL_COLUMNS, "addresses", True) if image is None else None
    assert text is not None
    return Columns(text, url, image)


def _open(cfg: ImageTextConfig) -> Any:
    """The dataset as a stream, its pictures left as they are stored."""
    import datasets  # takes seconds to import

    path = Path(cfg.source)
    try:
        if path.exists():
            files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in LOCAL_KINDS)
            kinds = {LOCAL_KINDS.get(file.suffix) for file in files}
            if not files or len(kinds) != 1 or None in kinds:
                raise DatasetError(
                    f"{path} should hold files of one kind, {', '.join(LOCAL_KINDS)}; it has "
                    f"{', '.join(sorted({f.suffix or f.name for f in files})) or 'none'}."
                )
            names = [str(file) for file in files]
            stream = datasets.load_dataset(str(kinds.pop()), data_files=names, split="train", streaming=True)
        else:
            stream = datasets.load_dataset(cfg.source, split=cfg.split, streaming=True)
        if stream.features is None:
            stream = stream._resolve_features()
        pictures = [name for name, feature in (stream.features or {}).items() if isinstance(feature, datasets.Image)]
        for name in pictures:
            stream = stream.cast_column(name, datasets.Image(decode=False))
        return stream
    except DatasetError:
        raise
    except Exception as error:  # datasets raises whatever its many readers and the hub raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DatasetError(
            f"{cfg.source} cannot be opened as a dataset ({reason}). Give a hub id that this machine can reach, or a "
            "local folder."
        ) from None


def _image_bytes(value: Any) -> bytes:
    """The stored bytes of a picture in a row."""
    if isinstance(value, dict):
        if value.get("bytes"):
            return value["bytes"]
        if value.get("path") and Path(value["path"]).is_file():
            return Path(value["path"]).read_bytes()
    if isinstance(value, bytes):
        return value
    raise FetchError("not a picture")
