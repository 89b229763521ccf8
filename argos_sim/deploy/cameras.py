"""Several cameras of one arm: which is which, and one frame of pictures that are not taken in step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from argos_sim.deploy.fallback import FallbackSettings
from argos_sim.deploy.manifest import DeployError
from argos_sim.deploy.robots import Frame


class CameraSet:
    """Cameras such as lerobot's, of which each gives its newest picture by ``read_latest``, in the policy's order.

    Args:
        delay_s: age of a picture when it comes: exposure, transfer and decoding [s], 0.03 to 0.1 for a usual webcam.

    Raises:
        DeployError: a delay that is none, or for which the arm would be held.
    """

    def __init__(self, cameras: Sequence[Any], delay_s: float = 0.0) -> None:
        require_delay(delay_s)
        self._cameras, self._delay = cameras, delay_s
        self._newest: list[tuple[np.ndarray, float] | None] = [None] * len(cameras)
        """Each camera's picture, and when it was first seen."""
        self._frame: Frame | None = None

    def frame(self) -> Frame | None:
        """The newest pictures, of the time when the oldest of them was first seen here, less the delay; None before
        there is one of each.

        A frame is new once every camera has another picture: one that gives none makes it old, whatever the others see.
        """
        now = time.monotonic()
        for i, camera in enumerate(self._cameras):
            try:
                picture = np.asarray(camera.read_latest())
            except (RuntimeError, TimeoutError, ConnectionError):  # none yet, too old, or gone: the fallback's matter
                continue
            newest = self._newest[i]
            if newest is None or newest[0] is not picture:
                self._newest[i] = (picture, now)
        seen = [newest for newest in self._newest if newest is not None]
        before = [None] * len(seen) if self._frame is None else self._frame.pictures
        new = all(picture is not old for (picture, _), old in zip(seen, before, strict=False))
        if len(seen) == len(self._cameras) and new:
            self._frame = Frame(tuple(picture for picture, _ in seen), min(at for _, at in seen) - self._delay)
        return self._frame

    def close(self) -> None:
        """Disconnect them."""
        disconnect_all(self._cameras)


def disconnect_all(cameras: Iterable[Any]) -> None:
    """Disconnect each, whatever becomes of another."""
    for camera in cameras:
        with contextlib.suppress(Exception):
            camera.disconnect()


def require_delay(delay_s: float) -> None:
    """Raise ``DeployError`` where a camera's delay [s] is none, or the arm would be held for it."""
    most = FallbackSettings().camera.hold
    if not 0 <= delay_s < most:
        raise DeployError(f"A camera's delay is 0 s or more and less than {most:g}, and not {delay_s:g}.")


def camera_places(named: Sequence[str], cameras: Sequence[str]) -> dict[str, str]:
    """Number or path of each of the policy's ``cameras``.

    Args:
        named: ``name=place`` of each, or one place alone where there is but one camera.

    Raises:
        DeployError: a camera is not named, named twice, unknown, or the same as another.
    """
    alone = len(named) == len(cameras) == 1 and not named[0].startswith(f"{cameras[0]}=")
    split = [each.partition("=") for each in named]
    pairs = [(cameras[0], named[0])] if alone else [(name, place) for name, _, place in split]
    places = [place for _, place in pairs]
    if sorted(name for name, _ in pairs) != sorted(cameras) or not all(places) or len(set(places)) < len(places):
        example = " ".join(f"{name}={i}" for i, name in enumerate(cameras))
        raise DeployError(
            f"The policy has the cameras {', '.join(cameras)}: name each once, as in --camera {example}, and not "
            f"{' '.join(named)}."
        )
    return dict(pairs)
