"""A page in headless Chromium, driven over its DevTools protocol: what a user sees, and what the browser says."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

START_S, ANSWER_S = 120.0, 240.0
"""Patience for the browser's start and for each of its answers: it draws without a GPU."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # containers' root has no user namespace to build one in
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",  # WebGL without a GPU
    "--remote-debugging-port=0",
)


def executable() -> str:
    """The browser; without one the test is skipped, but fails where ``CI`` is set, so that nobody misses it there."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    reason = "Chromium is not installed: apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Page:
    """One page; ``complaints`` collects its errors: exceptions, ``console.error``, and what could not be loaded."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self._session: str | None = None
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=ANSWER_S))
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.complaints.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def open(self, address: str, width: int = 1440, height: int = 900) -> None:
        """Go to ``address`` in a window of ``width`` × ``height`` pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._call("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 90.0) -> Any:
        """The first value of ``condition`` that is true."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
            time.sleep(0.2)
        return value

    def screenshot(self, path: Path | None = None) -> np.ndarray:
        """What is seen, uint8 (H, W, 3); also written to ``path``."""
        data = base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        if path is not None:
            picture.save(path, optimize=True)
        return np.asarray(picture)


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A page in a browser of its own, whose profile and log are in ``folder``; ended afterwards."""
    from websockets.sync.client import connect

    profile = folder / "profile"
    command = [executable(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with open(folder / "chromium.log", "w") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        found, end = profile / "DevToolsActivePort", time.monotonic() + START_S
        while not (found.is_file() and len(lines := found.read_text().split()) == 2):
            ended = browser.poll() is not None or time.monotonic() > end
            assert not ended, f"Chromium did not start: {(folder / 'chromium.log').read_text()[-1000:]}"
            time.sleep(0.1)
        with connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_size=None, compression=None) as socket:
            yield Page(socket)
    finally:
        browser.terminate()
        try:
            browser.wait(timeout=20)
        except subprocess.TimeoutExpired:
            browser.kill()
