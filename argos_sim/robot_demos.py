"""Sessions of recording on a robot, until a dataset has as many episodes as it shall: what ``scripts/record.py`` does.

Everything is kept as it was recorded in ``<dataset>.recordings``, and the dataset is made of it anew at the end of each
session: a session that was killed loses the episode under way, and the next one goes on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from argos_sim.deploy.demonstrating import next_session, record_episodes, sessions
from argos_sim.deploy.live import Watched
from argos_sim.deploy.recording import Recording, load_recording
from argos_sim.robot_dataset import episodes_of, require_seen_alike, write_dataset
from argos_wm.checkpoint import save_json
from argos_wm.data.files import DatasetError


def record_dataset(
    root: Path,
    make_session: Callable[[Path], Watched],
    episodes: int,
    image_size: int,
    texts: Sequence[str] = (),
    seconds: float | None = None,
    keep_all: bool = False,
    ask: Callable[[str], str] = input,
) -> dict[str, float]:
    """Record until ``root`` has ``episodes`` episodes, or somebody stops; write it and, beside it, ``<root>.json``.

    Args:
        make_session: makes robot and pilot, which record into the folder that it is given.
        image_size: of the dataset's square pictures [pixels].
        texts, seconds, keep_all, ask: see ``record_episodes``.

    Returns:
        Counts, and how regular the episodes are.

    Raises:
        DatasetError: a dataset is there that is not of such sessions, or of sessions that were seen otherwise, or no
            episode was kept.
    """
    folder = root.with_name(root.name + ".recordings")
    earlier = _readable(folder)
    if root.exists() and not earlier:
        raise DatasetError(f"{root} exists already and is of no recordings in {folder}. Choose another folder.")
    have = sum(not isinstance(made, str) for made in episodes_of(earlier, image_size))
    if have:
        print(f"{have} episodes of earlier sessions are there.", flush=True)
    if have < episodes:
        begun = sum(bool(segment.text) for recording in earlier for segment in recording.segments())
        made = make_session(next_session(folder))
        require_seen_alike(earlier, made.camera_file is not None)
        with made as session:
            if session.rectification is not None:
                print(session.rectification.told(), flush=True)
            record_episodes(session, episodes - have, texts, seconds, keep_all, ask, begun)
            session.summarise()
    return _write(root, _readable(folder), image_size, overwrite=bool(earlier))


def _write(root: Path, recordings: list[Recording], image_size: int, overwrite: bool) -> dict[str, float]:
    """The dataset, its figures beside it, and a word about both."""
    timings, refused = write_dataset(recordings, root, image_size, overwrite)
    for why in refused:
        print(f"Refused: {why}", flush=True)
    found = {
        "recorded": len(timings),
        "refused": len(refused),
        "step_off_s": max(timing.step for timing in timings),
        "picture_off_s": max(timing.picture for timing in timings),
    }
    files = [recording.about.get("camera_file") for recording in recordings]
    rectified = [{name: file[name] for name in ("file", "sha256")} for file in files if file is not None]
    save_json(root.with_name(root.name + ".json"), found | {"rectified_by": rectified})
    print(
        f"Written: {root}, {len(timings)} episodes; control steps within {1e3 * found['step_off_s']:.1f} ms of the "
        f"dataset's clock, pictures within {1e3 * found['picture_off_s']:.0f} ms.",
        flush=True,
    )
    return found


def _readable(folder: Path) -> list[Recording]:
    """All sessions in which there is something."""
    found = []
    for session in sessions(folder):
        try:
            found.append(load_recording(session))
        except ValueError as error:
            print(f"Left out: {error}", flush=True)
    return found
