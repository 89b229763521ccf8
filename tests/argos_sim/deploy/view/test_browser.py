"""Laws of the browser's view: it shows what the pilot does, obeys who may, and no viewer disturbs the arm."""

from __future__ import annotations

import io
import json
import os
import queue
import re
import shutil
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image

from argos_sim.deploy.decoder import DecoderRuntime
from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.live import Watched, run_text
from argos_sim.deploy.manifest import DeployError, read_manifest
from argos_sim.deploy.pilot import Pilot
from argos_sim.deploy.robots import Frame
from argos_sim.deploy.telemetry import Telemetry
from argos_sim.deploy.view.access import ViewSettings
from argos_sim.deploy.view.browser import BrowserView
from argos_sim.deploy.view.server import LARGEST_REQUEST, VIEWERS
from tests.argos_sim.deploy.pilots import RESTING, StandIn, flying, until
from tests.argos_sim.deploy.tiny import NAMES

TOKEN = "a token that somebody chose"
NOTHING_THERE = "nothing can be asked"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Seen:
    """A view, the pilot that it shows, and what it was asked."""

    view: BrowserView
    pilot: Pilot
    robot: StandIn
    asked: list[tuple[str, str]] = field(default_factory=list)
    frames: list[np.ndarray] = field(default_factory=list)

    def get(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of an answer; a body is posted."""
        request = urllib.request.Request(base(self.view) + path, body, headers or {})
        try:
            with OPENER.open(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def state(self) -> dict[str, Any]:
        return json.loads(self.get("/state", headers=bearer(TOKEN))[1])


def base(view: BrowserView) -> str:
    return f"http://127.0.0.1:{urlsplit(view.address).port}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def viewed(policy: Path, settings: ViewSettings) -> Iterator[Seen]:
    telemetry = Telemetry(read_manifest(policy), pictures=True)
    with flying(policy, telemetry=telemetry) as (pilot, robot):
        asked: list[tuple[str, str]] = []

        def obey(kind: str, text: str) -> str:
            asked.append((kind, text))
            return NOTHING_THERE if text == "dance" else ""

        frames: list[np.ndarray] = []

        def kept(frame: Frame) -> Frame:
            if not frames or frames[-1] is not frame.pictures[0]:
                frames.append(frame.pictures[0])
            return frame

        robot.bent_frame = kept
        view = BrowserView(policy, pilot.manifest, telemetry, pilot.planning.targets, settings, obey)
        try:
            yield Seen(view, pilot, robot, asked, frames)
        finally:
            view.close()


@pytest.fixture(scope="module")
def here(policy: Path) -> Iterator[Seen]:
    """As it is served where nothing is said: on loopback, free to look at."""
    with viewed(policy, ViewSettings(port=0)) as seen:
        yield seen


@pytest.fixture(scope="module")
def guarded(policy: Path) -> Iterator[Seen]:
    """In a network, with a token of somebody's."""
    with viewed(policy, ViewSettings(port=0, host="0.0.0.0", token=TOKEN)) as seen:
        yield seen


def page_token(seen: Seen) -> str:
    found = re.search(r'const token = "([^"]*)"', seen.get("/")[1].decode())
    assert found is not None
    return found[1]


def moving(seen: Seen) -> None:
    def led() -> bool:
        if seen.pilot.fallback.mode == Mode.STOP:  # on a busy machine
            seen.pilot.resume()
        return seen.pilot.counts["targets"] > 0 and seen.pilot.fallback.mode == Mode.RUN

    until(led, "moving")


def test_the_state_is_the_pilots(here: Seen) -> None:
    moving(here)
    until(lambda: (here.state().get("counts") or {}).get("targets", 0) >= 1, "a target in the view")
    state = here.state()
    assert state["joints"]["names"] == list(NAMES) and state["joints"]["position"] == pytest.approx(RESTING, abs=1e-4)
    assert all(np.isfinite(state["joints"]["target"])) and len(state["joints"]["sent"]) == 3
    assert state["text"] == "touch the red block" and state["mode"] in ("RUN", "HOLD")
    assert state["latencies"]["step"][0] > 0 and state["latencies"]["plan"][0] > 0
    assert state["pictures"]["cameras"] == ["front"] and state["drawn"]["note"] == ""
    until(lambda: len(json.loads(here.get("/past")[1])) >= 3, "something that is past")
    past = json.loads(here.get("/past")[1])
    assert past[-1]["position"] == pytest.approx(RESTING, abs=1e-4)
    steps = state["steps"]
    until(lambda: here.state()["steps"] > steps + 5, "later steps")


def test_the_picture_is_the_cameras(here: Seen) -> None:
    until(lambda: here.get("/picture?camera=0")[0] == 200, "a picture")
    first = here.get("/picture?camera=0")[1]
    until(lambda: here.get("/picture?camera=0")[1] != first, "another picture")
    image = Image.open(io.BytesIO(here.get("/picture?camera=0")[1]))
    assert any(np.array_equal(np.asarray(image), frame) for frame in here.frames)
    for wrong in ("1", "-1", "x", "٣", "9" * 50):
        assert here.get(f"/picture?camera={quote(wrong)}")[0] == 404


def test_the_plan_is_drawn_as_the_decoder_does(here: Seen, policy: Path) -> None:
    decoder = DecoderRuntime(policy, here.pilot.manifest)
    until(lambda: here.pilot.planning.target() is not None, "a target")

    def same() -> bool:
        newest = here.pilot.planning.target()
        assert newest is not None
        image = Image.open(io.BytesIO(here.get("/plan")[1]))
        return np.array_equal(np.asarray(image), decoder.draw(newest[1]["vision"])[0])

    until(same, "the picture of the newest plan")
    number = here.pilot.planning.targets.count
    until(lambda: here.pilot.planning.targets.count > number, "a later plan")
    until(same, "the picture of the later plan")


def test_the_page_needs_nothing_from_elsewhere_and_nobody_may_frame_it(here: Seen) -> None:
    status, page = here.get("/")
    assert status == 200 and not re.search(rb'(src|href)\s*=\s*["\']|@import|url\(|https?://', page)
    with OPENER.open(base(here.view) + "/state", timeout=20) as answer:
        headers = answer.headers
    assert headers["X-Frame-Options"] == "DENY" and "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Access-Control-Allow-Origin"] is None and headers["Cache-Control"] == "no-store"


def test_on_loopback_the_page_carries_what_it_stops_the_arm_with(here: Seen) -> None:
    here.asked.clear()
    for headers in ({}, bearer(""), bearer("wrong"), {"Cookie": f"token={page_token(here)}"}):
        assert here.get("/stop", b"{}", headers=headers)[0] == 403
    assert here.asked == [] and "token" not in here.view.address
    assert here.get("/stop", b"{}", headers=bearer(page_token(here))) == (200, b"{}")
    assert here.asked == [("stop", "")]


def test_in_a_network_nothing_is_shown_without_the_token(guarded: Seen) -> None:
    until(lambda: guarded.get("/picture", headers=bearer(TOKEN))[0] == 200, "a picture")
    for path in ("/", "/state", "/past", "/picture", "/plan", "/nothing"):
        for headers in ({}, bearer("wrong"), {"Authorization": TOKEN}):
            assert guarded.get(path, headers=headers)[0] == 403
        assert guarded.get(f"{path}?token=wrong")[0] == 403
    asked = quote(TOKEN)
    assert guarded.get(f"/state?token={asked}")[0] == 403, "in the address only for the page, which is not asked again"
    assert guarded.get("/stop", b"{}")[0] == 403 and guarded.get(f"/stop?token={asked}", b"{}")[0] == 403
    status, page = guarded.get(f"/?token={asked}")
    assert status == 200 and TOKEN.encode() not in page and b'const token = ""' in page
    assert (
        guarded.get("/state", headers=bearer(TOKEN))[0] == 200
        and guarded.get("/nothing", headers=bearer(TOKEN))[0] == 404
    )
    assert TOKEN not in guarded.view.address and guarded.asked == []


def test_a_drawn_token_is_told_in_the_address_and_works(policy: Path) -> None:
    with viewed(policy, ViewSettings(port=0, host="0.0.0.0")) as seen:
        found = urlsplit(seen.view.address)
        assert found.hostname == socket.gethostname().lower() and found.query.startswith("token=")
        assert seen.get("/")[0] == 403 and seen.get(f"/?{found.query}")[0] == 200


def test_a_strangers_name_or_page_is_refused_even_with_the_token(guarded: Seen, here: Seen) -> None:
    for seen, token in ((guarded, TOKEN), (here, page_token(here))):
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            assert seen.get("/state", headers=bearer(token) | headers)[0] == 403
            assert seen.get("/stop", b"{}", headers=bearer(token) | headers)[0] == 403


def test_what_is_asked_arrives_whole_and_a_refusal_comes_back(guarded: Seen) -> None:
    guarded.asked.clear()
    told = json.dumps({"text": "touch the grün block"}).encode()
    assert guarded.get("/ask", told, headers=bearer(TOKEN))[0] == 200
    assert guarded.get("/ask", b'{"text": "dance"}', headers=bearer(TOKEN)) == (409, NOTHING_THERE.encode())
    assert guarded.asked == [("ask", "touch the grün block"), ("ask", "dance")]
    for body in (b"", b"{", b'"text"', b'{"text": 3}', b"\xff", b"[" * 5000):
        assert guarded.get("/ask", body, headers=bearer(TOKEN))[0] == 400
    assert guarded.get("/ask", b"x" * (LARGEST_REQUEST + 1), headers=bearer(TOKEN))[0] == 413
    assert guarded.get("/dance", b"{}", headers=bearer(TOKEN))[0] == 404
    assert len(guarded.asked) == 2


def raw(seen: Seen, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", urlsplit(seen.view.address).port or 0), 20)
    connection.sendall(data)
    return connection


def test_a_stop_needs_no_body(policy: Path) -> None:
    with viewed(policy, ViewSettings(port=0)) as seen:
        token = page_token(seen)
        request = f"POST /stop HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        raw(seen, request.encode())
        until(lambda: ("stop", "") in seen.asked, "a stop")


def test_an_ask_that_nobody_answered_in_time_is_not_done_later(policy: Path) -> None:
    with Watched(policy, lambda _: StandIn(), view=ViewSettings(port=0)) as watched:
        answer: queue.Queue[str] = queue.Queue()
        watched._asked.put(("go left", answer, time.monotonic() - 0.1))
        watched._listen(0.1, judged=False)
        assert watched.pilot is not None and watched.pilot.text == "" and answer.empty()


def test_a_stop_before_the_pilot_is_there_stops_it(policy: Path) -> None:
    watched = Watched(policy, lambda _: StandIn())
    watched.stop("stopped by hand")
    with watched:
        assert watched.pilot is not None
        watched.pilot.start()
        until(lambda: watched.pilot is not None and watched.pilot.fallback.mode == Mode.STOP, "a stop")


def test_viewers_that_hang_or_send_rubbish_disturb_neither_the_arm_nor_each_other(here: Seen) -> None:
    moving(here)
    steps, targets = here.pilot.counts["steps"], here.pilot.counts["targets"]
    rubbish = [
        b"\x00\xff\x16\x03\x01" * 50,
        b"GET /state HTTP/1.1\r\nHost: local",
        b"\r\n\r\n",
        b"GET " + b"x" * 70_000,
    ]
    rubbish.append(b"POST /stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n")
    for data in rubbish:
        raw(here, data).close()
    silent = [raw(here, rubbish[1]) for _ in range(5)]
    assert here.get("/state")[0] == 200, "others are served beside those who hang"
    gone = raw(here, b"GET /picture HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset in the middle of an answer
    gone.close()
    crowd = [raw(here, b"") for _ in range(VIEWERS + 8)]
    until(lambda: here.pilot.counts["targets"] > targets + 1 and here.pilot.counts["steps"] > steps + 20, "going on")
    assert here.pilot.fallback.mode != Mode.STOP
    for connection in (*silent, *crowd):
        connection.close()
    until(lambda: _served(here), "being served again")


def _served(seen: Seen) -> bool:
    try:
        return seen.get("/state")[0] == 200
    except OSError:
        return False


def test_requests_are_logged_nowhere(policy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with viewed(policy, ViewSettings(port=0, token=TOKEN)) as seen:
        asked = quote(TOKEN)
        assert seen.get(f"/?token={asked}")[0] == 200 and seen.get("/stop")[0] == 403
        raw(seen, b"rubbish\r\n\r\n").close()
        raw(seen, f"GET /?token={asked} HTTP/1.1\r\n".encode()).close()
        time.sleep(0.3)
    out, err = capfd.readouterr()
    assert out == "" and err == ""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def fails(_: object) -> StandIn:
    raise AssertionError("a robot is connected before the port is known to be free")


def test_a_port_that_is_taken_is_one_sentence_before_a_robot_is_connected(policy: Path, taken: int) -> None:
    sentence = rf"^The view cannot be served at 127.0.0.1:{taken} \(Address already in use\)\.$"
    with pytest.raises(DeployError, match=sentence):
        Watched(policy, fails, view=ViewSettings(port=taken)).__enter__()
    with pytest.raises(DeployError, match="cannot be served at 192.0.2.1:0 "):  # nobody's address
        Watched(policy, fails, view=ViewSettings(0, "192.0.2.1")).__enter__()


def test_a_port_that_is_taken_in_the_meantime_lets_go_of_the_robot(
    policy: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = StandIn()
    monkeypatch.setattr("argos_sim.deploy.live.require_free", lambda _: None)
    with pytest.raises(DeployError, match=rf"at 127.0.0.1:{taken} \(Address already in use\)\.$"):
        Watched(policy, lambda _: robot, view=ViewSettings(port=taken)).__enter__()
    assert robot.closed and not np.any(robot.sent)


def test_a_view_that_is_killed_leaves_the_arm_alone(policy: Path) -> None:
    with viewed(policy, ViewSettings(port=0)) as seen:
        moving(seen)
        os.kill(seen.view._process.pid or 0, signal.SIGKILL)
        targets = seen.pilot.counts["targets"]
        until(lambda: seen.pilot.counts["targets"] > targets + 1, "later targets")
        assert seen.pilot.fallback.mode != Mode.STOP and seen.asked == []


def test_an_export_without_decoder_says_so_and_shows_the_rest(policy: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(policy, tmp_path / "policy"))
    manifest = read_manifest(copy)
    networks = {name: file for name, file in manifest.networks.items() if name != "decoder"}
    (copy / "policy.yaml").write_text(replace(manifest, networks=networks).to_yaml())
    with viewed(copy, ViewSettings(port=0)) as seen:
        until(lambda: seen.get("/picture")[0] == 200, "a picture")
        assert "exported without a decoder" in seen.state()["drawn"]["note"] and seen.get("/plan")[0] == 404


def test_a_run_is_asked_for_something_else_and_stopped_in_the_browser(policy: Path) -> None:
    robot, answers = StandIn(), []
    with Watched(policy, lambda _: robot, view=ViewSettings(port=0)) as watched:
        assert isinstance(watched.pilot, Pilot) and watched._view is not None
        seen = Seen(watched._view, watched.pilot, robot)

        def viewer() -> None:
            token = bearer(page_token(seen))
            answers.append(seen.get("/ask", b'{"text": "touch the blue block"}', headers=token)[0])
            answers.append(seen.get("/ask", json.dumps({"text": "x" * 600}).encode(), headers=token))
            until(lambda: watched.pilot is not None and watched.pilot.counts["targets"] > 0, "a target")
            answers.append(seen.get("/stop", b"{}", headers=token)[0])

        thread = threading.Thread(target=viewer)
        thread.start()
        begin = time.monotonic()
        run_text(watched, "touch the red block", 60.0)
        thread.join()
        assert time.monotonic() - begin < 50 and watched.stopped == "stopped in the browser"
        assert (
            answers[0] == 200 and answers[1][0] == 409 and b"at most 512 bytes" in answers[1][1] and answers[2] == 200
        )
        assert watched.pilot.text == "touch the blue block" and watched.pilot.fallback.mode == Mode.STOP
    assert robot.closed and not np.any(robot.sent[-1])
