"""The pilot's side of the browser's view: starts its process, and obeys what comes from it."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path

from argos_sim.deploy.exchange import Latest
from argos_sim.deploy.manifest import DeployError, PolicyManifest
from argos_sim.deploy.telemetry import Telemetry
from argos_sim.deploy.view.access import Access, ViewSettings
from argos_sim.deploy.view.server import COMMANDS, serve

PATIENCE_S = 60.0
"""How long the process may take to begin."""


class BrowserView:
    """Served until it is closed.

    Attributes:
        address: of the page, to be told to whoever started it: with the token, where it was drawn here and is wanted.
    """

    def __init__(
        self,
        folder: Path,
        manifest: PolicyManifest,
        telemetry: Telemetry,
        targets: Latest,
        settings: ViewSettings,
        obey: Callable[[str, str], str],
    ) -> None:
        """Start the process; ``DeployError`` in one sentence if it cannot listen.

        Args:
            targets: where the planner's process puts its targets.
            obey: called with ``("stop", "")`` or ``("ask", text)``, from a thread of its own; why it cannot be, or an
                empty text.
        """
        context: SpawnContext = multiprocessing.get_context("spawn")
        access = Access(settings)
        pipes = {kind: context.Pipe() for kind in COMMANDS}
        heard, began = context.Pipe(duplex=False)
        theirs, where = {kind: pair[1] for kind, pair in pipes.items()}, (settings.host, settings.port)
        arguments = (folder, manifest, telemetry, targets, where, access, theirs, began, os.getpid())
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        for pipe in (*theirs.values(), began):
            pipe.close()
        port, problem = _answered(heard)
        if problem:
            self.close()
            raise _cannot(settings, problem)
        host = socket.gethostname() if settings.host in ("0.0.0.0", "::") else settings.host
        host = f"[{host}]" if ":" in host else host
        self.address = f"http://{host}:{port}/" + (f"?token={access.token}" if access.public and access.drawn else "")
        self._obey = obey
        for kind, (mine, _) in pipes.items():
            threading.Thread(target=self._listen, args=(kind, mine), daemon=True).start()

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(2.0)

    def _listen(self, kind: str, pipe: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):  # the process is gone, and with it whoever would ask
            while True:
                text = json.loads(pipe.recv_bytes())
                pipe.send_bytes(json.dumps(self._obey(kind, text)).encode())


def require_free(settings: ViewSettings) -> None:
    """Raise ``DeployError`` if the view could not listen now: told before a robot is connected."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            probe.bind((settings.host, settings.port))
            probe.listen()
    except OSError as error:
        raise _cannot(settings, error.strerror or str(error)) from None


def _cannot(settings: ViewSettings, why: str) -> DeployError:
    return DeployError(f"The view cannot be served at {settings.host}:{settings.port} ({why}).")


def _answered(heard: Connection) -> tuple[int, str]:
    """The port at which the process listens, or why it does not."""
    with contextlib.suppress(EOFError, OSError):
        if heard.poll(PATIENCE_S):
            port, problem = json.loads(heard.recv_bytes())
            return port, problem
    return 0, "its process did not begin"
