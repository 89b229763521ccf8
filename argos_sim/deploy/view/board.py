"""What the browser's view shows now: state as JSON, pictures as PNG, made once for all who ask."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np

from argos_sim.deploy.decoder import DecoderRuntime
from argos_sim.deploy.exchange import Latest
from argos_sim.deploy.manifest import DECODER, DeployError, PolicyManifest
from argos_sim.deploy.telemetry import Telemetry
from argos_sim.deploy.view.digest import Digest
from argos_sim.deploy.view.png import png

NO_DECODER = "This policy was exported without a decoder, so there is no picture of the plan. Export it again."


class Board:
    """Kept up to date by one thread, read by many."""

    def __init__(self, folder: Path, manifest: PolicyManifest, telemetry: Telemetry, targets: Latest) -> None:
        self._digest, self._pictures, self._targets = Digest(telemetry, manifest), telemetry.pictures, targets
        self._cameras = list(manifest.spec.get("cameras", ("front",)))
        self._lock = threading.Lock()
        self._made: dict[str, tuple[int, list[bytes]]] = {}
        self._state = b"{}"
        self._decoder: DecoderRuntime | None = None
        self._note = "" if DECODER in manifest.networks else NO_DECODER
        if not self._note:
            try:
                self._decoder = DecoderRuntime(folder, manifest)
            except DeployError as error:
                self._note = str(error)
        self.update()

    def update(self) -> None:
        """Take in what is new."""
        self._digest.update()
        state: dict[str, Any] = self._digest.state() or {}
        plan = {"number": self._targets.count, "note": self._note}
        pictures = {"number": 0 if self._pictures is None else self._pictures.count, "cameras": self._cameras}
        self._state = json.dumps(state | {"pictures": pictures, "drawn": plan}, allow_nan=False).encode()
        self._past = list(self._digest.past)

    def state(self) -> bytes:
        """As JSON: ``Digest.state``, and numbers of the newest pictures."""
        return self._state

    def past(self) -> bytes:
        """As JSON: ``Digest.past``."""
        return json.dumps(self._past, allow_nan=False).encode()

    def picture(self, camera: int) -> bytes | None:
        """The newest PNG of what a camera sees; None where there is none."""
        return None if self._pictures is None else self._newest("seen", self._pictures, self._seen, camera)

    def plan(self, camera: int) -> bytes | None:
        """The newest PNG of what a camera should see according to the planner; None where there is none."""
        return None if self._decoder is None else self._newest("planned", self._targets, self._planned, camera)

    def _newest(self, name: str, latest: Latest, make: Any, camera: int) -> bytes | None:
        with self._lock:
            number, made = self._made.get(name, (0, []))
            if number != latest.count and (newest := latest.read()) is not None:
                made = make(newest[1])
                self._made[name] = (newest[0], made)
        return made[camera] if 0 <= camera < len(made) and made[camera] else None

    def _seen(self, value: dict[str, Any]) -> list[bytes]:
        sizes = value["sizes"]
        cut = [picture[: int(h), : int(w)] for picture, (h, w) in zip(value["pictures"], sizes, strict=True)]
        return [png(np.ascontiguousarray(picture)) if picture.size else b"" for picture in cut]

    def _planned(self, value: dict[str, Any]) -> list[bytes]:
        assert self._decoder is not None
        return [png(picture) for picture in self._decoder.draw(value["vision"])]
