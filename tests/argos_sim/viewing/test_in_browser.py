"""What a user sees in a browser: the live view of ``scripts/play.py``, driven as a user would, in headless Chromium."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
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
CHANNELS = {"red": 0, "green": 1, "blue": 2}
"""The strongest of each block's colour."""
PICTURES = """[...document.querySelectorAll('img')].map(i => [i.naturalWidth, i.naturalHeight, i.src])
    .filter(i => i[0] > 300)"""
CURVES = "[...document.querySelectorAll('.u-wrap canvas')].map(canvas => canvas.toDataURL())"
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
    scene = picture[:, SIDE:-SIDE].astype(float)
    counts = {}
    for name, channel in CHANNELS.items():
        strongest, others = scene[..., channel], np.delete(scene, channel, -1).max(-1)
        counts[name] = int(((strongest > 1.4 * others) & (strongest > 50)).sum())
    return counts


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
        player.send_signal(signal.SIGINT)
        assert player.wait(timeout=300) == 0, log.read_text()[-2000:]
    finally:
        player.kill()
    assert re.search(r"in \d+ of [1-9]\d* episodes", log.read_text())
    assert (tmp_path / "play" / "watched.mp4").stat().st_size > 10_000


def looks_as_it_should(page: Page, folder: Path) -> None:
    """Blocks in the scene, pictures and curves beside it, and all of it in motion."""
    page.wait(lambda: episode_time(page) is not None, "the first frame", 240)
    picture = folder / "page.png"
    page.wait(lambda: min(blocks(page.screenshot(picture)).values()) > 50, f"three coloured blocks in {picture}", 240)
    first, curves = page.run(PICTURES), page.run(CURVES)
    assert first, "the page shows no picture"
    assert len(curves) == 3
    page.wait(lambda: page.run(PICTURES) != first, "another picture", 240)
    page.wait(lambda: not set(page.run(CURVES)) & set(curves), "curves that advance", 240)
    ended = re.compile(r"in \d+ of [1-9]\d* episodes")
    page.wait(lambda: ended.search(text(page)), "the end of an episode", 300)


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
