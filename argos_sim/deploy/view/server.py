"""The browser's view in a process of its own, by the standard library's HTTP server.

Nothing that a viewer does reaches the control loop but two requests: to stop, and to do something else. They go to the
pilot's process as JSON over pipes, a stop over one of its own, where it waits for nothing. Requests are never logged:
an address may hold the token.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from argos_sim.deploy.exchange import Latest
from argos_sim.deploy.manifest import PolicyManifest
from argos_sim.deploy.telemetry import Telemetry
from argos_sim.deploy.view.access import Access
from argos_sim.deploy.view.board import Board

REFRESH_S = 0.1
"""Between two states."""
SILENCE_S = 10.0
"""A viewer that is silent for so long in the middle of a request is hung up on."""
VIEWERS = 32
"""Connections at a time; more are hung up on."""
VIEWERS_OF_ONE = 16
"""Those from one address, so that one machine cannot keep others from stopping the arm."""
LARGEST_REQUEST = 8192
"""Bytes of what is posted."""
COMMANDS = ("stop", "ask")
ANSWER_S = 10.0
"""How long the pilot's process may take to answer."""
NICENESS = 10
PAGE = Path(__file__).with_name("page.html")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src blob:; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Nothing is kept, loaded from elsewhere, or framed by another page, which might lay something over the button."""


class Server(ThreadingHTTPServer):
    """Listens as soon as it is made; ``OSError`` where it cannot."""

    daemon_threads = True
    request_queue_size = VIEWERS

    def __init__(self, host: str, port: int, access: Access, board: Board, commands: dict[str, Connection]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.access, self.board = access, board
        self.page = PAGE.read_text()
        self._commands = {kind: (pipe, threading.Lock()) for kind, pipe in commands.items()}
        self._open: collections.Counter[str] = collections.Counter()
        self._counting = threading.Lock()
        super().__init__((host, port), Handler)

    def command(self, kind: str, text: str = "") -> str:
        """Ask the pilot's process; why it does not, or an empty text."""
        pipe, alone = self._commands[kind]
        with alone:
            try:
                while pipe.poll():  # an answer that came too late
                    pipe.recv_bytes()
                pipe.send_bytes(json.dumps(text).encode())
                if pipe.poll(ANSWER_S):
                    return json.loads(pipe.recv_bytes())
            except (EOFError, OSError):
                return "The robot's process has ended."
        return "The robot's process does not answer."

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if one is left."""
        where = client_address[0]
        with self._counting:
            full = self._open.total() >= VIEWERS or self._open[where] >= VIEWERS_OF_ONE
            self._open[where] += not full
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One viewer's requests."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._counting:
                self._open[client_address[0]] -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that is gone or sends rubbish is nobody's concern."""


class Handler(BaseHTTPRequestHandler):
    """One viewer's connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ARGOS", ""
    timeout = SILENCE_S
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        """The page, the state, what was before, and pictures."""
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        access, board = self.server.access, self.server.board
        if not self._is_let_in(self._given() or (query.get("token") if address.path == "/" else None)):
            return
        if address.path == "/":
            page = self.server.page.replace("{{token}}", "" if access.public else access.token)
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page.encode())
        elif address.path in ("/state", "/past"):
            self._answer(HTTPStatus.OK, "application/json", board.state() if address.path == "/state" else board.past())
        elif address.path in ("/picture", "/plan"):
            camera = query.get("camera", "0")
            make = board.picture if address.path == "/picture" else board.plan
            picture = make(int(camera)) if camera.isascii() and camera.isdecimal() and len(camera) < 4 else None
            if picture is None:
                self._refuse(HTTPStatus.NOT_FOUND, "There is no such picture.")
            else:
                self._answer(HTTPStatus.OK, "image/png", picture)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")

    def do_POST(self) -> None:
        """``/stop``, and ``/ask`` with ``{"text": …}``; with the token in the header Authorization."""
        if not self._is_let_in(self._given(), changes=True):
            return
        if self.path == "/stop":  # whatever else the request says or does not
            self.close_connection = True
            self._tell(self.server.command("stop"))
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal() and len(length) < 10):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "A request says how long it is.")
        elif int(length) > LARGEST_REQUEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A request has at most {LARGEST_REQUEST} bytes.")
        else:
            self._obey(self.rfile.read(int(length)))

    def _obey(self, body: bytes) -> None:
        if self.path != "/ask":
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")
            return
        try:
            asked = json.loads(body)
            text = asked["text"] if isinstance(asked, dict) else None
        except (ValueError, KeyError, RecursionError):
            text = None
        if isinstance(text, str):
            self._tell(self.server.command("ask", text))
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, 'What is asked is given as {"text": …}.')

    def _tell(self, problem: str) -> None:
        if problem:
            self._refuse(HTTPStatus.CONFLICT, problem)
        else:
            self._answer(HTTPStatus.OK, "application/json", b"{}")

    def _given(self) -> str | None:
        """The token in the header Authorization."""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if kind == "Bearer" else None

    def _is_let_in(self, token: str | None, changes: bool = False) -> bool:
        access, host = self.server.access, self.headers.get("Host")
        if not access.is_ours(host) or not access.same_origin(self.headers.get("Origin"), host):
            self._refuse(HTTPStatus.FORBIDDEN, "This machine is not called so, or another page asks.")
        elif (access.public or changes) and not access.knows(token):
            self._refuse(HTTPStatus.FORBIDDEN, "The view wants its token: the terminal says at which address.")
        else:
            return True
        return False

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self.close_connection = True  # what may be left of the request is not read
        self._answer(status, "text/plain; charset=utf-8", sentence.encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(
    folder: Path,
    manifest: PolicyManifest,
    telemetry: Telemetry,
    targets: Latest,
    where: tuple[str, int],
    access: Access,
    commands: dict[str, Connection],
    began: Connection,
    parent: int,
) -> None:
    """In the process: say at which port it listens, or why not, and serve until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when all ends
    os.nice(NICENESS)
    try:
        board = Board(folder, manifest, telemetry, targets)
        server = Server(*where, access, board, commands)
    except (OSError, OverflowError) as error:
        began.send_bytes(json.dumps([0, getattr(error, "strerror", None) or str(error)]).encode())
        return
    began.send_bytes(json.dumps([server.server_address[1], ""]).encode())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        while os.getppid() == parent:
            board.update()
            time.sleep(REFRESH_S)
