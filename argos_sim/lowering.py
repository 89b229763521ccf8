"""Give each network of an export its precision, by what was measured: how far it is from torch, and how fast.

Each candidate is judged in the units that matter for it (``precision.PrecisionLimits``), the planner's halves by the
targets that the whole sampler draws, each beside what was chosen before it. What misses its limit stays fp32.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from argos_sim.compared import Difference, TorchNetwork, arrays, batches, difference, target_difference
from argos_sim.deploy.manifest import (
    CONTROLLER,
    JOINTS,
    PLAN_CONTEXT,
    PLAN_FLOW,
    PLANNER,
    PROPRIO,
    TEXT,
    VISION,
    NetworkFile,
    PolicyManifest,
    network_file,
)
from argos_sim.deploy.network import Network
from argos_sim.precision import LOWER, ExportConfig, Limit, Precision, write_lower
from argos_sim.traced import Traced

JUDGED = {CONTROLLER: "torque", VISION: "latent", PROPRIO: "latent", JOINTS: "joints", TEXT: "words"} | dict.fromkeys(
    PLANNER, "target"
)
"""By which of the limits; what people look at stays fp32."""
ROUNDS, LEAST_ROUNDS, TIMED_S = 300, 15, 2.0


def lower_networks(
    networks: Sequence[Traced], manifest: PolicyManifest, folder: Path, config: ExportConfig
) -> PolicyManifest:
    """Put networks of a lower precision in the place of ``folder``'s fp32 ones, where they may and should be.

    Args:
        networks: on the CPU, in fp32.
        manifest: of the fp32 networks, all of them in ``folder``.

    Returns:
        the manifest of what lies there then.
    """
    by_name = {traced.name: traced for traced in networks}
    wanted: Sequence[Precision] = LOWER if config.precision == "auto" else ()
    if config.precision in LOWER:
        wanted = (config.precision,)
    for name in [name for name in by_name if name in JUDGED]:
        manifest = _lowered(name, by_name, manifest, folder, wanted, config)
    for precision in wanted:
        shutil.rmtree(folder / precision, ignore_errors=True)
    return manifest


def _lowered(
    name: str,
    networks: Mapping[str, Traced],
    manifest: PolicyManifest,
    folder: Path,
    wanted: Sequence[Precision],
    config: ExportConfig,
) -> PolicyManifest:
    """The manifest with one network chosen."""
    limit: Limit = getattr(config.limits, JUDGED[name])
    found: dict[Precision, Network] = {"fp32": Network(folder, manifest, name)}
    told = []
    for precision in wanted:
        network, error = _candidate(name, precision, networks, manifest, folder)
        passes = error.rms <= limit.rms and error.largest <= limit.largest
        told.append(f"{precision} differs by {error.rms:.1e} ({error.largest:.1e}) of {JUDGED[name]}")
        if passes:
            found[precision] = network
        else:
            told[-1] += f", more than {limit.rms:g} ({limit.largest:g})"
    times = _times(found, networks[name])
    chosen: Precision = min(found, key=lambda p: times[p] * (1 if p == "fp32" else config.faster))
    if config.precision != "auto":
        chosen = list(found)[-1]
    shown = ", ".join(f"{p} {_size(n)} {times[p]:.3f} ms" for p, n in found.items())
    print(f"  {name} is {chosen}: {shown}; {'; '.join(told)}")
    if chosen == "fp32":
        return manifest
    (folder / chosen / network_file(name)).replace(folder / network_file(name))
    return replace(manifest, networks=manifest.networks | {name: found[chosen].file})


def _candidate(
    name: str, precision: Precision, networks: Mapping[str, Traced], manifest: PolicyManifest, folder: Path
) -> tuple[Network, Difference]:
    """One network in a lower precision, in a folder named after it, and what it is judged by."""
    (folder / precision).mkdir(exist_ok=True)
    path = folder / precision / network_file(name)
    write_lower(folder / network_file(name), precision, path)
    before = manifest.networks[name]
    entry = replace(before, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), precision=precision)

    def loaded(entry: NetworkFile) -> Network:
        return Network(path.parent, replace(manifest, networks={name: entry}), name)

    network = loaded(entry)
    error, plain = _error(name, network, networks, manifest, folder), difference(networks[name], network)
    entry = replace(entry, difference=plain.largest, rms=plain.rms, error=asdict(error))
    return loaded(entry), error


def _error(
    name: str, network: Network, networks: Mapping[str, Traced], manifest: PolicyManifest, folder: Path
) -> Difference:
    """In the units of the network's limit."""
    traced = networks[name]
    if name in PLANNER:
        if manifest.planner is None or not set(PLANNER) <= set(networks):
            return Difference(float("nan"), float("nan"))  # there is no target to judge by
        other = PLAN_FLOW if name == PLAN_CONTEXT else PLAN_CONTEXT
        pair = {name: network, other: Network(folder, manifest, other)}
        halves = (TorchNetwork(networks[PLAN_CONTEXT]), TorchNetwork(networks[PLAN_FLOW]))
        asked = (pair[PLAN_CONTEXT], pair[PLAN_FLOW])
        return target_difference(halves, asked, networks[PLAN_CONTEXT], manifest.planner)
    return difference(traced, network, _scale(name, traced, manifest))


def _scale(name: str, traced: Traced, manifest: PolicyManifest) -> np.ndarray | float:
    """The unit of each output."""
    if name == CONTROLLER:
        return np.array(manifest.torque_limits)
    if name == JOINTS:
        ranges = [high - low for low, high in manifest.joint_limits]
        return np.array([*ranges, *manifest.velocity_limits])
    if name == TEXT:
        tokens = [TorchNetwork(traced)(inputs)[0] for inputs in batches(traced)]
        there = np.concatenate([x[np.abs(x).max(-1) > 0] for x in tokens])
        return float(np.sqrt(np.mean(there**2)))
    return 1.0


def _times(networks: Mapping[Precision, Network], traced: Traced) -> dict[Precision, float]:
    """Medians for one row on one thread [ms], in turns, since a machine's speed changes."""
    row = arrays(traced.rows(slice(0, 1)))
    times: dict[Precision, list[float]] = {precision: [] for precision in networks}
    end = time.perf_counter() + TIMED_S
    for number in range(ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() > end:
            break
        for precision, network in networks.items():
            begin = time.perf_counter()
            network(row)
            times[precision].append(1e3 * (time.perf_counter() - begin))
    return {precision: float(np.median(values)) for precision, values in times.items()}


def _size(network: Network) -> str:
    return f"{network.bytes / 1e6:.2f} MB"
