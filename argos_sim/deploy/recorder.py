"""Everything that a control loop does, at its rate, in a file that a torn-off plug leaves readable.

``<folder>/steps.bin`` is one record after the other, of the kind that ``<folder>/steps.json`` states; a record that was
cut off at the end is left out by ``read_steps``. Beside it, ``frames.bin`` has the pictures that were believed
(``pictures.py``), and ``events.jsonl`` a line for whatever happens now and then: what is asked, another mode and why.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from argos_sim.deploy.pictures import packed
from argos_sim.deploy.robots import Frame

STEPS, KIND, FRAMES, EVENTS = "steps.bin", "steps.json", "frames.bin", "events.jsonl"
BLOCK = 50
"""Records that are written at once."""
PICTURES_WAIT = 32
"""Pictures are left out while so much waits to be written: they are large, and steps come first."""


class Recorder:
    """Writes records by a thread of its own, so that a slow disk delays nothing but the file.

    Attributes:
        problem: why nothing is written any more, such as a full disk; None while all goes well.
    """

    def __init__(self, folder: Path, joints: int, about: dict[str, Any], pictures: bool = True) -> None:
        """Begin a file in ``folder``; ``about`` is kept beside it, and what cameras see unless ``pictures`` is off."""
        require_new(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.kind, self._folder = step_kind(joints), folder
        header = {"kind": [[name, *map(_plain, rest)] for name, *rest in self.kind.descr]} | about
        (folder / KIND).write_text(json.dumps(header, indent=2) + "\n")
        self._file, self._frames, self._events = (
            (folder / name).open("wb", buffering=0) for name in (STEPS, FRAMES, EVENTS)
        )
        self._pictures, self._mode, self._told = pictures, 0, False
        self._block = np.zeros(BLOCK, self.kind)
        self._filled = 0
        self.problem: str | None = None
        self._blocks: queue.Queue[bytes | Frame | dict[str, Any] | None] = queue.Queue(maxsize=256)
        """Steps, pictures and events to be written; None ends it."""
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def add(self, reason: str = "", **values: Any) -> None:
        """One record; fields that are left out are zero. ``reason`` is of its mode, told where another one begins."""
        self._block[self._filled] = np.zeros((), self.kind)
        for name, value in values.items():
            self._block[name][self._filled] = value
        self._filled += 1
        if values.get("mode", 0) != self._mode:
            self._mode = values["mode"]
            self._put(_event("mode", mode=self._mode, reason=reason))
        if self._filled == BLOCK or self._told:
            self._told = False
            self._hand_over()

    def see(self, frame: Frame) -> None:
        """The pictures of one moment; they must not be changed any more."""
        if self._pictures and self._blocks.qsize() < PICTURES_WAIT:
            self._put(frame)
        elif self._pictures:
            self.problem = self.problem or "the disk is too slow"

    def tell(self, event: str, **what: Any) -> None:
        """Something that happened now, as plain values; the steps before it are written with the next one."""
        self._told = True
        self._put(_event(event, **what))

    def close(self) -> None:
        """Write what is left."""
        self._hand_over()
        with contextlib.suppress(queue.Full):  # a disk that takes nothing must not keep anybody
            self._blocks.put(None, timeout=2.0)
            self._thread.join(5.0)
        for file in (self._file, self._frames, self._events):
            file.close()

    def discard(self) -> None:
        """Close, and leave nothing behind: nobody moved."""
        self.close()
        for name in (STEPS, KIND, FRAMES, EVENTS):
            (self._folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others' files lie there, too
            self._folder.rmdir()

    def _hand_over(self) -> None:
        if self._filled:
            self._put(self._block[: self._filled].tobytes())
        self._filled = 0

    def _put(self, what: bytes | Frame | dict[str, Any]) -> None:
        try:
            self._blocks.put_nowait(what)
        except queue.Full:
            self.problem = self.problem or "the disk is too slow"

    def _write(self) -> None:
        while (block := self._blocks.get()) is not None:
            if self.problem is None or self.problem == "the disk is too slow":
                try:
                    if isinstance(block, Frame):
                        self._frames.write(packed(block))
                    elif isinstance(block, dict):
                        self._events.write(json.dumps(block).encode() + b"\n")
                    else:
                        self._file.write(block)
                except (OSError, ValueError) as error:  # a ValueError where it was closed meanwhile
                    self.problem = str(error)


def _event(name: str, **what: Any) -> dict[str, Any]:
    return {"time": time.monotonic(), "event": name} | what


def require_new(folder: Path) -> None:
    """Raise ``ValueError`` where a recording is there, which is not written over, or none can be made."""
    if (folder / KIND).exists():
        raise ValueError(f"There is a recording in {folder} already. Choose another folder.")
    require_place(folder)


def require_place(folder: Path) -> None:
    """Raise ``ValueError`` where a folder neither is nor can be made; nothing is made."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(f"{folder} cannot be made: {there} is no folder that may be written to. Choose another.")


def step_kind(joints: int) -> np.dtype:
    """What is known of one control step."""
    each = ("f4", (joints,))
    return np.dtype(
        [
            ("time", "f8"),  # monotonic [s]
            ("late", "f4"),  # after its deadline [s]
            ("took", "f4"),  # from its begin to the command [s]
            ("mode", "u1"),
            ("position", *each),
            ("velocity", *each),
            ("wanted", *each),  # torque before the guard [N·m]
            ("sent", *each),
            ("target", *each),  # joint positions of the target [rad]
            ("joints_age", "f4"),
            ("camera_age", "f4"),
            ("time_to_go", "f4"),
            ("plan", "u4"),  # number of the target
        ]
    )


def read_steps(folder: Path) -> np.ndarray:
    """All records of a finished or torn-off file.

    Raises:
        ValueError: there is none.
    """
    path = folder / KIND
    if not path.is_file() or not (folder / STEPS).is_file():
        raise ValueError(f"There is no recording in {folder}: {KIND} or {STEPS} is missing.")
    fields = [(name, kind, *(tuple(x) for x in shape)) for name, kind, *shape in json.loads(path.read_text())["kind"]]
    kind = np.dtype(fields)
    data = (folder / STEPS).read_bytes()
    return np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
