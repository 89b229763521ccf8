"""Pictures from the web, by their addresses: concurrent, bounded for each host, and never the end of a run.

Links die, hosts stall, servers answer with errors or with something that is no picture. Each such row is counted by
what went wrong and passed over. A body is read until ``deadline_s`` and ``max_bytes``, and no row is waited for longer
than twice the deadline, however slowly its host drips.
"""

from __future__ import annotations

import io
import threading
import time
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP")
AGENT = "ARGOS image fetcher"
MOST_REDIRECTS = 5


@dataclass(frozen=True)
class FetchConfig:
    """How pictures are asked for."""

    workers: int = 32
    """Downloads at once."""
    per_host: int = 4
    """Of them, those from one host."""
    connect_s: float = 5.0
    deadline_s: float = 20.0
    """Longest time for one picture, retries and waiting for its host's turn included."""
    retries: int = 2
    """After a time-out, a broken connection, or an answer that says it may pass (429, 5xx)."""
    backoff_s: float = 0.5
    """Before the first retry; doubled before the next."""
    max_bytes: int = 10_000_000
    min_side: int = 32
    """Pixels; smaller pictures are buttons and counters."""
    max_pixels: int = 50_000_000
    """A compressed picture may be a bomb."""


class FetchError(Exception):
    """A picture could not be had; ``reason`` is one of a few words that are counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@dataclass
class FetchCounts:
    """What became of the rows."""

    fetched: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lost = ", ".join(f"{count} {reason}" for reason, count in self.failed.most_common())
        return f"{self.fetched} pictures" + (f"; passed over: {lost}" if lost else "")


def decode_image(data: bytes, cfg: FetchConfig = FetchConfig()) -> np.ndarray:
    """uint8 (3, H, W) RGB from the bytes of a picture.

    Raises:
        FetchError: ``not a picture``, ``too small``, ``too large`` or ``damaged``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns of what is counted here
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                if min(picture.size) < cfg.min_side:
                    raise FetchError("too small", f"{picture.size}")
                if picture.size[0] * picture.size[1] > cfg.max_pixels:
                    raise FetchError("too large", f"{picture.size}")
                pixels = np.asarray(picture.convert("RGB"))
    except UnidentifiedImageError:
        raise FetchError("not a picture") from None
    except Image.DecompressionBombError as error:
        raise FetchError("too large", str(error)) from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what PIL raises on cut-off and broken files
        raise FetchError("damaged", str(error)) from None
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


class ImageFetcher:
    """Downloads pictures. Use as a context manager; it may be used from many threads."""

    def __init__(self, cfg: FetchConfig | None = None) -> None:
        self.cfg = cfg = cfg or FetchConfig()
        limits = httpx.Limits(max_connections=cfg.workers, max_keepalive_connections=cfg.workers)
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # or every request copies all hosts' cookies
        self._client = httpx.Client(limits=limits, headers={"User-Agent": AGENT}, cookies=no_cookies)
        self._hosts: defaultdict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(cfg.per_host))
        self._lock = threading.Lock()

    def __enter__(self) -> ImageFetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def fetch(self, url: str) -> np.ndarray:
        """The picture at ``url``, uint8 (3, H, W).

        Raises:
            FetchError: whatever went wrong, after the retries and within the deadline.
        """
        return decode_image(self._bytes(url), self.cfg)

    def _bytes(self, url: str) -> bytes:
        end = time.monotonic() + self.cfg.deadline_s
        for attempt in range(self.cfg.retries + 1):
            try:
                return self._once(url, end)
            except FetchError as error:
                wait = self.cfg.backoff_s * 2**attempt
                passes = error.reason in ("timed out", "no connection", "server error")
                if not passes or attempt == self.cfg.retries or time.monotonic() + wait >= end:
                    raise
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, url: str, end: float) -> bytes:
        """Follow an address to its picture, waiting for the turn of every host on the way."""
        for _ in range(MOST_REDIRECTS + 1):
            host = _host(url)
            with self._lock:
                turn = self._hosts[host]
            if not turn.acquire(timeout=max(0.0, end - time.monotonic())):
                raise FetchError("timed out", f"{host} is busy")
            try:
                found = self._ask(url, end)
            finally:
                turn.release()
            if isinstance(found, bytes):
                return found
            url = found
        raise FetchError("bad address", f"more than {MOST_REDIRECTS} redirects")

    def _ask(self, url: str, end: float) -> bytes | str:
        """The picture's bytes, or where else to ask."""
        left = end - time.monotonic()
        timeout = httpx.Timeout(max(0.01, left), connect=max(0.01, min(self.cfg.connect_s, left)))
        try:
            # A time-out of httpx begins anew with each byte; FetchedRows has the last word on a host that drips.
            with self._client.stream("GET", url, timeout=timeout) as answer:
                if answer.next_request is not None:
                    return str(answer.next_request.url)
                self._require_picture(answer)
                return self._body(answer, end)
        except httpx.TimeoutException as error:
            raise FetchError("timed out", str(error)) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise FetchError("bad address", str(error)) from None
        except httpx.HTTPError as error:
            raise FetchError("no connection", str(error)) from None

    def _require_picture(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status == 429 or status >= 500:
            raise FetchError("server error", str(status))
        if status != 200:
            raise FetchError("dead link", str(status))
        kind = answer.headers.get("content-type", "image/")
        if not kind.startswith(("image/", "application/octet-stream", "binary/")):
            raise FetchError("not a picture", kind)
        size = answer.headers.get("content-length", "0")
        if size.isdigit() and int(size) > self.cfg.max_bytes:
            raise FetchError("too large", size)

    def _body(self, answer: httpx.Response, end: float) -> bytes:
        """All bytes, or an error as soon as they are too many or too slow: one drop a second is never a time-out."""
        data = bytearray()
        for chunk in answer.iter_bytes():
            data += chunk
            if len(data) > self.cfg.max_bytes:
                raise FetchError("too large", f"more than {self.cfg.max_bytes} bytes")
            if time.monotonic() > end:
                raise FetchError("timed out", f"after {len(data)} bytes")
        return bytes(data)


def _host(url: str) -> str:
    """The host of an address; ``FetchError`` if it has none."""
    try:
        host = urlsplit(url).hostname if url.startswith(("http://", "https://")) else None
    except ValueError:
        host = None
    if not host:
        raise FetchError("bad address", url[:200])
    return host


class FetchedRows[Row]:
    """Rows with their pictures, in the rows' own order; those that cannot be had are counted and left out.

    Args:
        rows: (address, row) pairs; read only a little ahead of what is asked for.
        fetcher: downloads them, ``cfg.workers`` at once.
        require: raises ``FetchError`` for a row whose picture is not wanted; it is not downloaded.

    Attributes:
        counts: so far.
        consumed: rows taken so far, with or without a picture; a run that resumes skips so many.
    """

    def __init__(
        self, rows: Iterable[tuple[str, Row]], fetcher: ImageFetcher, require: Callable[[Row], None] | None = None
    ) -> None:
        self.rows, self.fetcher, self.require = rows, fetcher, require
        self.counts, self.consumed = FetchCounts(), 0

    def __iter__(self) -> Iterator[tuple[np.ndarray, Row]]:
        ahead = 2 * self.fetcher.cfg.workers
        pool = ThreadPoolExecutor(self.fetcher.cfg.workers, thread_name_prefix="fetch")
        waiting: deque[tuple[Future[np.ndarray], Row]] = deque()
        source = iter(self.rows)
        try:
            while True:
                while len(waiting) < ahead and (pair := next(source, None)) is not None:
                    waiting.append((pool.submit(self._fetch, *pair), pair[1]))
                if not waiting:
                    return
                future, row = waiting.popleft()
                try:
                    picture = self._wait(future)
                except FetchError as error:
                    self.counts.failed[error.reason] += 1
                    self.consumed += 1
                    continue
                self.counts.fetched += 1
                self.consumed += 1
                yield picture, row
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, url: str, row: Row) -> np.ndarray:
        if self.require is not None:
            self.require(row)
        try:
            return self.fetcher.fetch(url)
        except FetchError:
            raise
        except Exception as error:  # whatever a stranger's bytes bring about, it is one row
            raise FetchError("unexpected", repr(error)) from None

    def _wait(self, future: Future[np.ndarray]) -> np.ndarray:
        try:
            return future.result(timeout=2 * self.fetcher.cfg.deadline_s)
        except TimeoutError:
            raise FetchError("timed out", "the host drips") from None
