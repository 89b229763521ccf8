"""What an operator sees in a browser while a policy runs, driven as by a hand, in headless Chromium."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from argos_sim.deploy.fallback import Mode
from argos_sim.deploy.live import Watched
from argos_sim.deploy.view.access import ViewSettings
from tests.argos_sim.deploy.pilots import StandIn
from tests.argos_sim.deploy.tiny import SIZE
from tests.chromium import Page, chromium, executable

IMAGES = "[...document.querySelectorAll('figure img')].map(image => [image.naturalWidth, image.src])"
DRAWN = """[...document.querySelectorAll('canvas')].every(canvas =>
    canvas.width > 20 && canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean))"""
ASK = """(() => {
    document.getElementById('asked').value = 'touch the blue block';
    document.getElementById('ask').requestSubmit();
})()"""
WIDE, NARROW = (1280, 800), (420, 900)


def read(page: Page, name: str) -> str:
    """The text of an element."""
    return page.run(f"document.getElementById('{name}')?.innerText") or ""


@pytest.mark.slow
def test_the_page_shows_the_run_asks_and_stops(policy: Path, tmp_path: Path) -> None:
    executable()
    robot = StandIn()
    with Watched(policy, lambda _: robot, view=ViewSettings(port=0)) as watched, chromium(tmp_path) as page:
        pilot = watched.pilot
        assert pilot is not None
        watched.begin("touch the red block")
        pilot.start()
        page.open(watched.address, *WIDE)
        page.wait(lambda: pilot.counts["targets"] > 0 and read(page, "mode") in ("RUN", "HOLD", "DAMP"), "a mode")
        page.wait(lambda: [width for width, _ in page.run(IMAGES)] == [SIZE, SIZE], "the picture and the plan")
        before = page.run(IMAGES)[0]
        page.wait(lambda: page.run(IMAGES)[0] != before, "another picture")
        page.wait(lambda: page.run(DRAWN), "bars and curves")
        looks_as_it_should(page, tmp_path / "page.png")
        for width, height in (WIDE, NARROW):
            page.open(watched.address, width, height)
            page.wait(lambda: page.run("document.getElementById('joints')?.rows.length") == 3, "three joints")
            assert page.run("document.documentElement.scrollWidth") <= width, "nothing sticks out at the side"
        page.run(ASK)
        page.wait(
            lambda: watched.wait(0.2, show=True) and pilot.text == "touch the blue block", "the other instruction"
        )
        page.wait(lambda: read(page, "text") == "touch the blue block", "its text")
        page.run("document.getElementById('stop').click()")
        page.wait(lambda: pilot.fallback.mode == Mode.STOP, "the stop")
        page.wait(lambda: read(page, "mode") == "STOP" and "stopped in the browser" in read(page, "reason"), "its word")
        assert page.complaints == []
        assert watched.stopped == "stopped in the browser" and not np.any(robot.sent[-1])


def looks_as_it_should(page: Page, path: Path) -> None:
    """Words, numbers, and colours where they belong."""
    text = page.run("document.body.innerText").lower()
    for word in ("touch the red block", "pan", "lift", "grip", "control step", "deadlines missed", "spring", "asked:"):
        assert word in text, word
    picture = page.screenshot(path).astype(int)
    red = (picture[..., 0] > 180) & (picture[..., 1:].max(-1) < 120)
    assert red[:70, -250:].mean() > 0.15, "the button to stop is red, above at the right"
    assert np.median(picture) < 60, "the page is dark"


@pytest.mark.slow
def test_a_run_that_is_over_is_told_and_no_old_number_looks_new(policy: Path, tmp_path: Path) -> None:
    executable()
    with chromium(tmp_path) as page:
        with Watched(policy, lambda _: StandIn(), view=ViewSettings(port=0)) as watched:
            assert watched.pilot is not None
            watched.begin("")
            watched.pilot.start()
            page.open(watched.address, *WIDE)
            page.wait(lambda: read(page, "mode") == "RUN", "a mode")
        page.wait(lambda: read(page, "mode") == "GONE" and "nothing was heard" in read(page, "reason"), "the end")
        assert float(page.run("getComputedStyle(document.querySelector('main')).opacity")) < 0.6
        page.run("document.getElementById('stop').click()")
        page.wait(lambda: "not reached" in read(page, "said"), "a warning")
