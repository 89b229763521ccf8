"""A stage of the pipeline: does its work once, remembers what it was made from, and is reused while that holds.

What was made with other settings is not deleted unasked: it may be hours of work. What was made from an earlier stage
that has been made anew since is of nothing that is still there, and is made anew, too.
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from argos_wm.checkpoint import CheckpointError, load_json, save_json
from argos_wm.training.parallel import Parallel

RECORD, STARTED = "stage.json", "started.json"
WEIGHTS = ("*.safetensors", "*.json")
RUN_FILES = (RECORD, STARTED, "checkpoint.json", "checkpoint.safetensors")
"""What a stage keeps for itself."""
UPSTREAM = (
    "demos",
    "views",
    "encoder",
    "latents",
    "planner",
    "planner_mean",
    "imitation",
    "dagger",
    "ppo",
    "controller",
)
"""Stages that others are made from; a stage's inputs name their fingerprints by these names."""


def weight_files(folder: Path) -> list[Path]:
    """What a stage made for others: weights and what describes them."""
    return [f for pattern in WEIGHTS for f in sorted(folder.glob(pattern)) if f.name not in RUN_FILES]


def fingerprint(inputs: dict[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[:16]


def run_stage(
    folder: Path,
    name: str,
    inputs: dict[str, Any],
    work: Callable[[Path], dict[str, Any]],
    overwrite: bool = False,
    parallel: Parallel | None = None,
    grows: tuple[dict[str, Any], int] | None = None,
    replaces: bool = False,
) -> dict[str, Any]:
    """Do ``work`` into ``folder`` unless its outputs are there, made from the same ``inputs``.

    Args:
        folder: the stage's own folder.
        name: for messages and ``timing.<name>_s``.
        inputs: settings and fingerprints of earlier stages; what was made from others is made again.
        work: fills the folder and returns figures. Checkpoints that it finds there are of an interrupted run.
        overwrite: begin anew in any case.
        parallel: processes that all do ``work`` together; the main one keeps the folder and decides. None is one alone.
        grows: what remains of ``inputs`` without the length of a training that may be continued, and that length. Where
            the rest holds and the length grew, ``work`` finds what the shorter one left, its checkpoint for one.
        replaces: with other settings the work is done again unasked, since it takes minutes and always comes out alike.

    Returns:
        the stage's record: ``name``, ``fingerprint``, ``inputs``, ``made_from`` (earlier stages' fingerprints),
        ``seconds``, ``peak_gib`` (of the process), ``figures``.

    Raises:
        CheckpointError: ``folder`` holds what other settings made, and ``overwrite`` does not say that it may go.
    """
    parallel = parallel or Parallel()
    wanted: dict[str, Any] = {"fingerprint": fingerprint(inputs), "made_from": _made_from(inputs)}
    wanted["inputs"] = _plain(inputs)
    if grows is not None:
        wanted["grows"] = {"fingerprint": fingerprint(grows[0]), "length": grows[1]}
    started = folder / STARTED
    record = parallel.agreed(_prepare(folder, name, wanted, overwrite, replaces) if parallel.main else None)
    if record is not None:
        return record
    spent = load_json(started).get("seconds", 0.0) if parallel.main else 0.0
    begin = time.monotonic()
    try:
        figures = work(folder)
    finally:
        seconds = spent + time.monotonic() - begin
        if parallel.main:
            save_json(started, wanted | {"seconds": seconds})
    if parallel.main:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts KiB
        record = {
            "name": name,
            **wanted,
            "seconds": round(seconds, 1),
            "peak_gib": round(peak, 2),
            "figures": figures,
        }
        save_json(folder / RECORD, record)
        started.unlink()
        print(f"[{name}] done in {seconds:.0f} s: {folder}")
    return parallel.agreed(record)


def _made_from(inputs: dict[str, Any]) -> dict[str, str]:
    """The fingerprints of earlier stages among a stage's inputs."""
    given = inputs | inputs.get("controllers", {})
    return {name: given[name] for name in UPSTREAM if isinstance(given.get(name), str)}


def require_one_chain(run: Path) -> None:
    """Refuse, in a sentence, a run of which a stage was made from others than lie in it now: single scripts may have
    made an earlier stage anew, and what came after it shows, or would ship, what is gone."""
    stages = {str(path.parent.relative_to(run)): load_json(path) for path in sorted(run.rglob(RECORD))}
    for stage, record in stages.items():
        if stage.startswith("adapt/"):
            continue  # what adapted tells its weights' hashes by these names, and no stages
        for earlier, made_from in record.get("made_from", {}).items():
            if earlier in stages and stages[earlier]["fingerprint"] != made_from:
                raise CheckpointError(
                    f"The stage '{stage}' of {run} was made from another '{earlier}' than lies there now. Run "
                    "scripts/demo.py with the run's settings, which makes anew what has to be."
                )


def _continues(earlier: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether what is wanted is the same as ``earlier``, or goes further."""
    if earlier.get("fingerprint") == wanted["fingerprint"]:
        return True
    before, now = earlier.get("grows"), wanted.get("grows")
    if not before or not now or before["fingerprint"] != now["fingerprint"]:
        return False
    return before["length"] <= now["length"]


def differences(earlier: dict[str, Any], now: dict[str, Any], name: str = "") -> Iterator[str]:
    """What differs between two stages' inputs, such as ``sampling.steps is 4 and was 2``."""
    for key in [*now, *(key for key in earlier if key not in now)]:
        before, after, path = earlier.get(key), now.get(key), f"{name}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            yield from differences(before, after, f"{path}.")
        elif before != after:
            yield f"{path} is {_short(after)} and was {_short(before)}"


def _short(value: Any, most: int = 40) -> str:
    text = "not given" if value is None else str(value)
    return text if len(text) <= most else f"{text[:most]}…"


def require_stale(folder: Path, name: str, earlier: dict[str, Any], inputs: dict[str, Any]) -> None:
    """Refuse to delete what other settings made; let go what was made from stages that are no longer there.

    Args:
        earlier: the record in ``folder``; of before inputs were kept in it, which setting differs is not told.
        inputs: those of now.

    Raises:
        CheckpointError: it may not go unasked.
    """
    before = earlier.get("made_from", {})
    if any(before.get(stage, made_from) != made_from for stage, made_from in _made_from(inputs).items()):
        return
    told = list(differences(earlier["inputs"], _plain(inputs))) if "inputs" in earlier else []
    first = told[0] if told else "which ones, it does not say, or an earlier version of ARGOS made it"
    more = f" ({len(told) - 1} more differ)" if len(told) > 1 else ""
    raise CheckpointError(
        f"The stage '{name}' in {folder} was made with other settings: {first}{more}. Give those, a run_dir= of its "
        "own, or remove that folder; overwrite=true deletes what all stages of this command made."
    )


def _plain(inputs: dict[str, Any]) -> dict[str, Any]:
    """As they are read from a record."""
    return json.loads(json.dumps(inputs, default=str))


def _prepare(folder: Path, name: str, wanted: dict[str, Any], overwrite: bool, replaces: bool) -> dict[str, Any] | None:
    """The record of outputs that may be reused; None after the folder was made ready for work."""
    spent = 0.0
    started = folder / STARTED
    if overwrite:
        shutil.rmtree(folder, ignore_errors=True)
    elif (folder / RECORD).is_file():
        record = load_json(folder / RECORD)
        if record.get("fingerprint") == wanted["fingerprint"]:
            print(f"[{name}] reused from {folder}")
            return record
        if _continues(record, wanted):
            print(f"[{name}] goes on from the last checkpoint of the shorter training in {folder}, if there is one")
            spent = record["seconds"]
            (folder / RECORD).unlink()
        else:
            if not replaces:
                require_stale(folder, name, record, wanted["inputs"])
            print(f"[{name}] the settings or an earlier stage changed; doing it again")
            shutil.rmtree(folder)
    elif started.is_file() and not _continues(load_json(started), wanted):
        if any(folder.rglob("*.safetensors")):  # checkpoints and the like, from which its own settings would go on
            require_stale(folder, name, load_json(started), wanted["inputs"])
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    spent = load_json(started).get("seconds", 0.0) if started.is_file() else spent
    save_json(started, wanted | {"seconds": spent})
    return None


def require_stage(folder: Path, name: str, script: str) -> dict[str, Any]:
    """The record of a finished stage; one sentence if it is not there."""
    if not (folder / RECORD).is_file():
        raise CheckpointError(f"The stage '{name}' has not finished in {folder}. Run scripts/{script} first.")
    return load_json(folder / RECORD)
