"""The fetcher against a local server that really misbehaves."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from argos_wm.data.images import FetchConfig, FetchedRows, FetchError, ImageFetcher, decode_image

CONFIG = FetchConfig(workers=8, per_host=3, connect_s=1.0, deadline_s=1.5, backoff_s=0.05, max_bytes=200_000)


def picture(value: int = 128, size: tuple[int, int] = (48, 40), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, 0, 255 - value)).save(buffer, kind)
    return buffer.getvalue()


class Misbehaving(BaseHTTPRequestHandler):
    """Each path is a fault of its own."""

    requests: Counter[str]
    at_once: Counter[str]
    most_at_once = 0
    """Requests not yet answered, by the host that was asked, and the most there ever were at one."""
    lock = threading.Lock()
    unanswered = ""
    """The host of the request under way."""

    def do_GET(self) -> None:
        name, host = self.path.strip("/"), str(self.headers["Host"])
        with self.lock:
            self.unanswered = host
            self.at_once[host] += 1
            type(self).most_at_once = max(self.most_at_once, self.at_once[host])
            self.requests[name] += 1
            asked = self.requests[name]
        try:
            getattr(self, f"answer_{name.split('_')[0]}")(name, asked)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client had enough
        finally:
            self.answered()

    def answered(self) -> None:
        with self.lock:
            self.at_once[self.unanswered] -= bool(self.unanswered)
            self.unanswered = ""

    def send_response(self, code: int, message: str | None = None) -> None:
        self.answered()  # first: a client that has its last byte may ask again before this thread runs on
        super().send_response(code, message)

    def send(self, data: bytes, status: int = 200, kind: str = "image/png", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def answer_good(self, name: str, asked: int) -> None:
        time.sleep(0.02)
        self.send(picture(int(name.split("_")[1])))

    def answer_gone(self, name: str, asked: int) -> None:
        self.send(b"", 404)

    def answer_error(self, name: str, asked: int) -> None:
        self.send(b"", 500)

    def answer_flaky(self, name: str, asked: int) -> None:
        self.send(picture() if asked > 1 else b"", 200 if asked > 1 else 503)

    def answer_page(self, name: str, asked: int) -> None:
        self.send(b"<html>not found, but politely", kind="text/html")

    def answer_lie(self, name: str, asked: int) -> None:
        self.send(b"<html>with a picture's name")

    def answer_half(self, name: str, asked: int) -> None:
        data = picture(size=(300, 300), kind="JPEG")
        self.send(data[: len(data) // 2])

    def answer_broken(self, name: str, asked: int) -> None:
        data = picture()
        self.send(data[:20], length=len(data))
        self.connection.close()

    def answer_huge(self, name: str, asked: int) -> None:
        self.send(b"", length=10**9)

    def answer_endless(self, name: str, asked: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(bytes(10_000))

    def answer_stall(self, name: str, asked: int) -> None:
        time.sleep(5)

    def answer_drip(self, name: str, asked: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        for _ in range(50):
            self.wfile.write(b"x")
            time.sleep(0.1)

    def answer_header(self, name: str, asked: int) -> None:
        for _ in range(100):  # a header that never ends
            self.connection.sendall(b"X")
            time.sleep(0.1)

    def answer_loop(self, name: str, asked: int) -> None:
        self.send_response(302)
        self.send_header("Location", f"/{name}")
        self.end_headers()

    def answer_moved(self, name: str, asked: int) -> None:
        self.send_response(301)
        self.send_header("Location", "/good_7")
        self.end_headers()

    def answer_elsewhere(self, name: str, asked: int) -> None:
        port = str(self.headers["Host"]).rsplit(":", 1)[1]
        self.send_response(302)
        self.send_header("Location", f"http://127.0.0.1:{port}/good_{name.split('_')[1]}")
        self.end_headers()

    def answer_tiny(self, name: str, asked: int) -> None:
        self.send(picture(size=(1, 1)))

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[str]:
    Misbehaving.requests, Misbehaving.most_at_once, Misbehaving.at_once = Counter(), 0, Counter()
    instance = ThreadingHTTPServer(("", 0), Misbehaving)
    instance.daemon_threads = True
    threading.Thread(target=instance.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{instance.server_port}"
    instance.shutdown()
    instance.server_close()


def test_a_picture_arrives_whole_also_after_moving_or_a_passing_error(server: str) -> None:
    with ImageFetcher(CONFIG) as fetcher:
        for name, value in (("good_7", 7), ("moved", 7), ("flaky", 128)):
            image = fetcher.fetch(f"{server}/{name}")
            assert image.shape == (3, 40, 48) and image.dtype == np.uint8
            assert (image[0] == value).all() and (image[1] == 0).all()


@pytest.mark.parametrize(
    ("name", "reason", "requests"),
    [
        ("gone", "dead link", 1),
        ("error", "server error", 3),
        ("page", "not a picture", 1),
        ("lie", "not a picture", 1),
        ("half", "damaged", 1),
        ("broken", "no connection", 3),
        ("huge", "too large", 1),
        ("endless", "too large", 1),
        ("stall", "timed out", 1),
        ("drip", "timed out", 1),
        ("tiny", "too small", 1),
    ],
)
def test_every_fault_has_its_name_and_its_end(server: str, name: str, reason: str, requests: int) -> None:
    begin = time.monotonic()
    with ImageFetcher(CONFIG) as fetcher, pytest.raises(FetchError) as error:
        fetcher.fetch(f"{server}/{name}")
    assert error.value.reason == reason
    assert Misbehaving.requests[name] == requests
    assert time.monotonic() - begin < 3 * CONFIG.deadline_s


@pytest.mark.parametrize(
    "url", ["", "ftp://x/y.png", "http://", "not an address", "http://[image.jpg", "http://127.0.0.1:1/x.png"]
)
def test_bad_addresses_and_closed_ports(url: str) -> None:
    with ImageFetcher(CONFIG) as fetcher, pytest.raises(FetchError, match="bad address|no connection"):
        fetcher.fetch(url)


def test_a_redirect_in_a_circle_ends(server: str) -> None:
    with ImageFetcher(CONFIG) as fetcher, pytest.raises(FetchError, match="bad address"):
        fetcher.fetch(f"{server}/loop")


def test_rows_come_in_order_and_failures_are_counted(server: str) -> None:
    names = [f"good_{i}" if i % 3 else ("gone", "lie")[i % 2] for i in range(60)]
    with ImageFetcher(CONFIG) as fetcher:
        rows = FetchedRows(((f"{server}/{name}", i) for i, name in enumerate(names)), fetcher)
        seen = [(int(image[0, 0, 0]), row) for image, row in rows]
    assert seen == [(i, i) for i in range(60) if i % 3]
    assert rows.counts.fetched == 40 and rows.consumed == 60
    assert rows.counts.failed == {"dead link": 10, "not a picture": 10}
    assert str(rows.counts) == "40 pictures; passed over: 10 dead link, 10 not a picture"
    assert 1 < Misbehaving.most_at_once <= CONFIG.per_host


def test_hosts_that_all_point_to_one_do_not_overrun_it(server: str) -> None:
    port = server.rsplit(":", 1)[1]
    urls = [(f"http://127.0.0.{2 + i % 8}:{port}/elsewhere_{i}", i) for i in range(48)]
    with ImageFetcher(CONFIG) as fetcher:
        seen = [(int(image[0, 0, 0]), row) for image, row in FetchedRows(urls, fetcher)]
    assert seen == [(i, i) for i in range(48)]
    assert 1 < Misbehaving.most_at_once <= CONFIG.per_host


def test_one_stalling_picture_does_not_hold_up_the_others(server: str) -> None:
    names = ["stall", *(f"good_{i}" for i in range(40))]
    begin = time.monotonic()
    with ImageFetcher(CONFIG) as fetcher:
        seen = list(FetchedRows(((f"{server}/{name}", name) for name in names), fetcher))
    assert len(seen) == 40 and time.monotonic() - begin < 2 * CONFIG.deadline_s


def test_a_host_that_drips_its_header_is_left(server: str) -> None:
    begin = time.monotonic()
    with ImageFetcher(CONFIG) as fetcher:
        rows = FetchedRows([(f"{server}/header", 0), (f"{server}/good_1", 1)], fetcher)
        assert [row for _, row in rows] == [1]
    assert rows.counts.failed == {"timed out": 1} and time.monotonic() - begin < 3 * CONFIG.deadline_s


def test_pictures_that_are_none_or_bombs(server: str) -> None:
    for data, reason in ((b"", "not a picture"), (b"GIF89a", "not a picture"), (picture()[:60], "damaged")):
        with pytest.raises(FetchError) as error:
            decode_image(data)
        assert error.value.reason == reason
    with pytest.raises(FetchError, match="too large"):
        decode_image(picture(size=(400, 400)), FetchConfig(max_pixels=10_000))
    grey = io.BytesIO()
    Image.new("LA", (40, 40), (9, 128)).save(grey, "PNG")
    assert (decode_image(grey.getvalue()) == 9).all()
