"""How fast an exported policy is on this machine: until it is there, in one inference, and in its loop in real time.

``python -m argos_sim.deploy.timing FOLDER SECONDS`` prints the loop's figures as JSON, from a process that has nothing
else in it; ``scripts/benchmark.py runtime`` asks for all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.manifest import DeployError, read_manifest
from argos_sim.deploy.pilot import Pilot
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.deploy.simulated_cameras import simulated_robot

WARM_UP = 50
"""Inferences that are not counted."""
START = """
import sys, time
begin = time.perf_counter()
from argos_sim.deploy.encoders import EncoderRuntime
from argos_sim.deploy.manifest import read_manifest
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.deploy.safety import SafetyGuard
imported = time.perf_counter()
manifest = read_manifest(sys.argv[1])
parts = ControllerRuntime(sys.argv[1]), EncoderRuntime(sys.argv[1], manifest), SafetyGuard(manifest)
loaded = time.perf_counter()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(imported - begin, loaded - imported, int(status["VmHWM"].split()[0]) / 1024)
"""
"""Run by itself: what has been imported before costs nothing."""


def time_start(folder: Path | str) -> dict[str, float]:
    """Seconds of importing the runtime and of loading controller, encoders and guard, and the most memory that it
    took [MiB], in a process of its own."""
    done = subprocess.run([sys.executable, "-c", START, str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise DeployError(f"The runtime cannot load {folder}: {last_words(done)}")
    return dict(zip(("import_s", "load_s", "memory_mib"), map(float, done.stdout.split()), strict=True))


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Why a process failed, as its last line says; one that was killed says nothing."""
    return (done.stderr.strip() or f"its process ended with {done.returncode}").splitlines()[-1]


def time_inference(folder: Path | str, n: int = 1000) -> tuple[float, float]:
    """Median and 99th percentile of one inference on one thread [ms], checks and history included."""
    runtime = ControllerRuntime(folder)
    shapes, rng = runtime.manifest.inputs, np.random.default_rng(0)
    vision, target = (rng.standard_normal(shapes["vision"], dtype=np.float32) for _ in range(2))
    proprio = rng.standard_normal((n + WARM_UP, shapes["target_proprio"][0]), dtype=np.float32)
    durations = []
    for latent in proprio:
        start = time.perf_counter()
        runtime.step(vision, latent, target, proprio[0], 0.4)
        durations.append(1e3 * (time.perf_counter() - start))
    p50, p99 = np.percentile(durations[WARM_UP:], [50, 99])
    return float(p50), float(p99)


def time_loop(folder: Path, seconds: float) -> dict[str, float]:
    """A policy on a simulated arm for ``seconds``: ``Pilot.figures``, and the shares of deadlines that were missed and
    of the time in which the policy led (steps that only hold the arm are cheaper).

    Raises:
        DeployError: the policy cannot be run, or the arm stopped.
    """
    manifest = read_manifest(folder)
    robot = simulated_robot(folder, manifest, 0)
    pilot = Pilot(folder, robot)
    try:
        pilot.begin(robot.begin(0))
        pilot.start()
        led, end = [], time.monotonic() + seconds
        while time.monotonic() < end and pilot.fallback.mode != Mode.STOP:
            led.append(pilot.fallback.mode == Mode.RUN and pilot.counts["targets"] > 0)
            time.sleep(0.05)
        mode, reason = pilot.fallback.mode, pilot.fallback.reason
    finally:
        pilot.close()
    if mode == Mode.STOP:
        raise DeployError(f"The arm stopped before {seconds:g} s were over: {reason}.")
    figures = pilot.figures()
    return figures | {"missed_share": figures["missed"] / figures["steps"], "led_share": float(np.mean(led))}


if __name__ == "__main__":
    try:
        print(json.dumps(time_loop(Path(sys.argv[1]), float(sys.argv[2]))))
    except DeployError as error:
        sys.exit(str(error))
