"""The planner in a process of its own: it is asked for a target, and answers when it has one.

Requests and targets are latest values: a request that a newer one overtook is never answered, and nobody waits.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import numpy as np

from argos_sim.deploy.exchange import Latest
from argos_sim.deploy.manifest import PLANNER, DeployError, PolicyManifest, read_manifest, read_network
from argos_sim.deploy.planner import PlannerRuntime
from argos_sim.deploy.signals import leave_to_parent
from argos_sim.deploy.text import load_text

LONGEST_TEXT = 512
"""Bytes of an instruction in UTF-8."""
POLL_S = 0.002
PATIENCE_S = 60.0
"""How long the process may take to begin."""


class PlanningProcess:
    """Asks the planner, and shows its newest target."""

    def __init__(self, folder: Path | str, manifest: PolicyManifest, seed: int = 0) -> None:
        """Start the process; ``DeployError`` in one sentence if it does not begin."""
        if manifest.planner is None:
            raise DeployError(f"The policy at {folder} was exported without its planner. Export the whole policy.")
        for name in PLANNER:  # what is missing or damaged is told here, and not by a process that ends
            read_network(folder, manifest, name)
        load_text(folder, manifest)
        shapes, states = manifest.inputs, len(manifest.planner.history)
        vision, proprio = shapes["vision"], shapes["target_proprio"]
        context: SpawnContext = multiprocessing.get_context("spawn")
        self._requests = Latest(
            context,
            {
                "vision": ("f4", (states, *vision)),
                "proprio": ("f4", (states, *proprio)),
                "known": ("?", (states,)),
                "text": (f"S{LONGEST_TEXT}", ()),
                "horizon": ("f8", ()),
                "time": ("f8", ()),
            },
        )
        self._targets = Latest(
            context,
            {"vision": ("f4", vision), "proprio": ("f4", proprio), "asked": ("f8", ()), "due": ("f8", ())}
            | {"made": ("f8", ())},
        )
        self._began = context.Event()
        arguments = (str(folder), self._requests, self._targets, self._began, seed, os.getpid())
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        end = time.monotonic() + PATIENCE_S
        while not self._began.wait(0.05):
            if time.monotonic() > end or not self._process.is_alive():
                self.close()
                raise DeployError(f"The planner's process for {folder} did not begin.")

    def ask(
        self, vision: np.ndarray, proprio: np.ndarray, known: np.ndarray, text: str, horizon: float, now: float
    ) -> None:
        """Ask for the state wanted ``horizon`` seconds after ``now``, the time of the newest of the states; the other
        arguments are those of ``PlannerRuntime.next_state``."""
        given: dict[str, Any] = {"vision": vision, "proprio": proprio, "known": known, "text": encoded_text(text)}
        self._requests.write(**given, horizon=horizon, time=now)

    @property
    def targets(self) -> Latest:
        """Where the process puts them, for others who read them."""
        return self._targets

    def target(self, after: int = 0) -> tuple[int, dict[str, Any]] | None:
        """Number and content of the newest target, if it is newer than the one of number ``after``: vision (P, C),
        proprio (D,), and times asked, due and made."""
        return self._targets.read(after)

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process is."""
        return self._process.is_alive()

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(2.0)


def encoded_text(text: str) -> bytes:
    """An instruction as it crosses to the planner's process.

    Raises:
        ValueError: it is too long, or has a zero byte.
    """
    encoded = text.encode()
    if len(encoded) > LONGEST_TEXT or "\0" in text:
        raise ValueError(
            f"An instruction has at most {LONGEST_TEXT} bytes and no zero byte; this one has {len(encoded)}."
        )
    return encoded


def _serve(folder: str, requests: Latest, targets: Latest, began: Any, seed: int, parent: int) -> None:
    """Answer requests until the parent is gone."""
    leave_to_parent()
    planner, rng, answered = PlannerRuntime(folder, read_manifest(folder)), np.random.default_rng(seed), 0
    began.set()
    while os.getppid() == parent:
        newest = requests.read(answered)
        if newest is None:
            time.sleep(POLL_S)
            continue
        answered, request = newest
        try:
            vision, proprio = planner.next_state(
                request["vision"],
                request["proprio"],
                request["known"],
                bytes(request["text"]).rstrip(b"\0").decode(errors="replace"),
                float(request["horizon"]),
                rng,
            )
        except ValueError as error:  # what was seen or felt is not finite: no target comes of it
            print(f"The planner was asked with something wrong: {error}", flush=True)
            continue
        if not (np.isfinite(vision).all() and np.isfinite(proprio).all()):
            print("The planner's target is not finite; the policy must be exported again.", flush=True)
            continue
        asked = float(request["time"])
        times = {"asked": asked, "due": asked + float(request["horizon"]), "made": time.monotonic()}
        targets.write(vision=vision, proprio=proprio, **times)
