"""What a user sees in a browser: the live view of ``scripts/play.py``, driven as a user would, in headless Chromium."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from argos_sim.viewing.panel import BY_CHANCE
from tests.chromium import Page, chromium, executable

ROOT = Path(__file__).resolve().parents[3]
ASKED = "touch the blue block"
WIDTH, HEIGHT = 1280, 720
SIDE = 430
"""Pixels at each side that the panels cover."""
COLOURS = {"red": (2, 0, 1), "green": (0, 2, 1), "blue": (0, 1, 2)}
"""Of each block the strongest channel, followed by those that it surpasses most."""
PICTURES = """[...document.querySelectorAll('img')].map(i => [i.naturalWidth, i.naturalHeight, i.src])
    .filter(i => i[0] > 300)"""
CURVES = """[...document.querySelectorAll('.u-over')].length"""
CHOOSE = """(() => {
    const input = [...document.querySelectorAll('input')].find(i => i.value === FROM);
    input.click();
    const option = [...document.querySelectorAll('[role=option]')].find(o => o.innerText === TO);
    if (option) option.click();
    return Boolean(option);
})()"""


def text(page: Page) -> str:
    """All that can be read."""
    return page.run("document.body ? document.body.innerText : ''") or ""


def blocks(picture: np.ndarray) -> dict[str, int]:
    """Pixels of the scene, between the panels, that have each block's colour."""
    scene = picture[:, SIDE:-SIDE].astype(int)
    return {
        name: int((scene[..., first] - scene[..., [i for i in range(3) if i != first]].max(-1) > 60).sum())
        for name, (first, *_) in {name: (np.argmax(c),) for name, c in COLOURS.items()}.items()
    }


def episode_time(page: Page) -> float | None:
    """Seconds of the episode, as the page says."""
    found = re.search(r"([\d.]+) s of the episode", text(page))
    return float(found[1]) if found else None


@pytest.mark.slow
def test_the_policy_is_watched_and_asked_for_something_else(tmp_path: Path) -> None:
    executable()
    command = [sys.executable, "scripts/play.py", f"run_dir={tmp_path}", "play.viewer=viser", "play.port=18100"]
    log = tmp_path / "log.txt"
    with open(log, "w") as output:
        player = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        with chromium(tmp_path) as page:
            address = page.wait(lambda: re.search(r"live at (http\S+)", log.read_text()), "the viewer's address", 300)
            page.open(address[1], WIDTH, HEIGHT)
            looks_as_it_should(page, tmp_path)
            hears_what_it_is_asked(page)
        ended = re.compile(r"in \d+ of [1-9]\d* episodes")
        end = time.monotonic() + 300
        player.send_signal(signal.SIGINT)
        assert player.wait(timeout=max(1.0, end - time.monotonic())) == 0, log.read_text()[-2000:]
    finally:
        player.kill()
    assert ended.search(log.read_text())
    assert (tmp_path / "play" / "watched.mp4").stat().st_size > 10_000


def looks_as_it_should(page: Page, folder: Path) -> None:
    """Blocks in the scene, pictures and curves beside it, and all of it in motion."""
    page.wait(lambda: episode_time(page) is not None, "the first frame", 240)
    seen = page.wait(
        lambda: (counts := blocks(page.screenshot(folder / "page.png"))) and min(counts.values()) > 20 and counts,
        f"three coloured blocks in {folder / 'page.png'}",
        240,
    )
    assert set(seen) == set(COLOURS)
    assert page.run(CURVES) == 3
    first, begin = page.run(PICTURES), time.monotonic()
    assert first, "the page shows no picture"
    page.wait(lambda: page.run(PICTURES) != first, "another picture", 240)
    ended = re.compile(r"in \d+ of ([1-9]\d*) episodes")
    page.wait(lambda: ended.search(text(page)), f"the end of an episode after {begin:.0f}", 300)


def hears_what_it_is_asked(page: Page) -> None:
    """The drop-down's choice becomes the instruction."""
    choose = CHOOSE.replace("FROM", repr(BY_CHANCE)).replace("TO", repr(ASKED))
    page.wait(lambda: page.run(choose), "the list of instructions", 120)
    page.wait(lambda: f"“{ASKED}”" in text(page), "the chosen instruction", 240)


def test_a_user_without_chromium_skips_and_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Chromium"):
        executable()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Chromium"):
        executable()
