"""What stands around the live 3D scene in the browser: instruction, pictures, curves, and what can be asked.

It is made of viser's GUI elements and knows no environment: ``argos_sim/viewing/watching.py`` hands it what to show.
viser answers the browser in threads of its own; what the user wants is left in ``Wishes`` for whoever steps the
environment.
"""

from __future__ import annotations

import html
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from argos_sim.mdp.latent_target import JOINT_TOLERANCE, VISION_SHARE
from argos_sim.viewing.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MUTED,
    OBJECT_COLOURS,
    RED,
    TEAL,
    Colour,
    enlarged,
    font,
    framed,
)

BY_CHANCE = "drawn by chance"
"""The choice of no instruction in particular."""
WIDTH = 400
"""Pixels of each of the two panels beside the scene."""
LARGE, SMALL, GAP, LABEL = 190, 122, 10, 20
"""Sizes in the mosaic of pictures: two large ones over up to three small ones, each under its label."""
CURVE_S = 8.0
"""Seconds that curves reach back."""
CURVE_HEIGHT = 170
"""Pixels."""


@dataclass
class Wishes:
    """What the user asked for last."""

    instruction: str | None = None
    """One of the task's, or None for one by chance."""
    paused: bool = False
    new_episode: bool = False


@dataclass(frozen=True)
class Tracking:
    """One control step of the curves."""

    time: float
    """Since the start [s]; only ever grows."""
    joints: Tensor
    """True position, position that the way to the target asks for, and the target's (3, J) [rad]."""
    joint_error: float
    """RMS over the joints [rad]."""
    vision_share: float
    """Vision error ÷ that when the target was given."""


@dataclass(frozen=True)
class Status:
    """The lines over the pictures."""

    instruction: str
    named: str
    """The object that it names."""
    outcome: str
    """What became of it so far."""
    done: bool
    reached: tuple[int, int]
    """Targets reached, of those that were due, over all episodes."""
    episodes: tuple[int, int]
    """Episodes that ended with what was asked done, of those that ended."""
    time: float
    """Of this episode [s]."""
    speed: float
    """Simulated seconds a second."""


def mosaic(camera: Tensor, seen: Tensor, planned: Tensor, times: Sequence[float]) -> Image.Image:
    """Camera and what is seen over the imagined future.

    Args:
        camera, seen: pictures (3, H, W), uint8 or float in [0, 1].
        planned: (T, 3, H, W), at ``times`` (T,) after it was planned [s]; the first is the target, drawn in a frame.
    """
    size = (2 * LARGE + GAP, 2 * (LABEL + GAP) + LARGE + SMALL)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for left, label, picture in ((0, "camera", camera), (LARGE + GAP, "what it sees (its latents)", seen)):
        draw.text((left, LABEL - 5), label, MUTED, font(12), anchor="ls")
        framed(canvas, enlarged(picture, LARGE), (left, LABEL))
    top = LABEL + LARGE + GAP + LABEL
    for i, (picture, time) in enumerate(zip(planned, times, strict=True)):
        left = i * (SMALL + (size[0] - 3 * SMALL) // 2)
        label, colour = (f"target, {time:.1f} s", BLUE) if i == 0 else (f"plan, {time:.1f} s", MUTED)
        draw.text((left, top - 5), label, colour, font(12, bold=i == 0), anchor="ls")
        framed(canvas, enlarged(picture, SMALL), (left, top))
        if i == 0:
            draw.rectangle((left, top, left + SMALL - 1, top + SMALL - 1), outline=BLUE, width=3)
    return canvas


class Panel:
    """The page's own elements.

    Args:
        server: a ``viser.ViserServer``; what its GUI held before is removed.
        instructions: all that can be asked for.
        joints: names, in the order of ``Tracking.joints``.
        title: shown at the top.
    """

    def __init__(self, server: Any, instructions: Sequence[str], joints: Sequence[str], title: str) -> None:
        self.server, self.joint_names, self.wishes = server, list(joints), Wishes()
        self._rows: deque[Tracking] = deque()
        gui = server.gui
        gui.reset()
        gui.set_panel_label(title)
        gui.configure_theme(show_logo=False, show_share_button=False, brand_color=BLUE)
        gui.main_panel.dock_right()
        gui.main_panel.set_width(WIDTH)
        self._status = gui.add_html("")
        self._picture = gui.add_image(np.full((8, 8, 3), 255, np.uint8))
        self._add_controls(instructions)
        curves = gui.add_panel()
        with curves.add_tab("tracking"):
            self._add_curves()
        curves.dock_left()
        curves.set_width(WIDTH)

    def _add_controls(self, instructions: Sequence[str]) -> None:
        gui, wishes = self.server.gui, self.wishes
        ask = gui.add_dropdown("ask for", (BY_CHANCE, *instructions), initial_value=BY_CHANCE)
        pause, again = gui.add_checkbox("pause", initial_value=False), gui.add_button("new episode")

        @ask.on_update
        def _(event: Any) -> None:
            wishes.instruction = None if event.target.value == BY_CHANCE else event.target.value

        @pause.on_update
        def _(event: Any) -> None:
            wishes.paused = event.target.value

        @again.on_click
        def _(_event: Any) -> None:
            wishes.new_episode = True

    def _add_curves(self) -> None:
        self.joint = self.server.gui.add_dropdown("joint", self.joint_names, initial_value=self.joint_names[0])
        self.joint.on_update(lambda _: self.draw_curves())
        names = ("position [rad; m if it slides]", "path", "target")
        self.position = self._chart(names, (BLUE, TEAL, GREY), (False, True, False))
        self._error = self._chart(("all joints to target, RMS [rad]", "tolerance"), (BLUE, RED), (False, True))
        self._share = self._chart(("vision error ÷ that when given", "tolerance"), (TEAL, RED), (False, True))

    def _chart(self, names: Sequence[str], colours: Sequence[Colour], dashed: Sequence[bool]) -> Any:
        lines = [
            {"label": name, "stroke": css(colour), "width": 2, **({"dash": [5, 4]} if dash else {})}
            for name, colour, dash in zip(names, colours, dashed, strict=True)
        ]
        empty = tuple(np.zeros(1) for _ in range(1 + len(lines)))
        series = ({"label": "s"}, *lines)
        scales = {"x": {"time": False}}
        return self.server.gui.add_uplot(empty, series, scales=scales, legend={"live": False}, height=CURVE_HEIGHT)

    # -- what is shown ------------------------------------------------------------------------------------------------

    def add(self, tracking: Tracking) -> None:
        """Remember a control step; ``draw_curves`` shows it."""
        self._rows.append(tracking)
        while self._rows[-1].time - self._rows[0].time > CURVE_S:
            self._rows.popleft()

    def draw_curves(self) -> None:
        """Show the last ``CURVE_S`` seconds."""
        rows = list(self._rows)
        if not rows:
            return
        joint = self.joint_names.index(self.joint.value)
        time = np.array([row.time for row in rows])
        position = np.array([row.joints[:, joint].tolist() for row in rows]).T
        same = np.ones_like(time)
        self.position.data = (time, *np.ascontiguousarray(position))
        self._error.data = (time, np.array([row.joint_error for row in rows]), JOINT_TOLERANCE * same)
        self._share.data = (time, np.array([row.vision_share for row in rows]), VISION_SHARE * same)

    def show(self, status: Status, picture: Image.Image) -> None:
        """Show the status and the ``mosaic`` of pictures."""
        self._status.content = status_html(status)
        self._picture.image = np.asarray(picture)


def css(colour: Colour) -> str:
    """A colour as browsers write it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def status_html(status: Status) -> str:
    """The instruction after a chip in its object's colour, what became of it, and the score."""
    chip = css(OBJECT_COLOURS.get(status.named, GREY))
    outcome, muted = css(GREEN if status.done else MUTED), css(MUTED)
    score = "{} of {} targets reached · done in {} of {} episodes".format(*status.reached, *status.episodes)
    return (
        f'<div style="padding:0.6em 0.9em 0.2em;color:{css(INK)}">'
        f'<div style="font-size:1.15em;font-weight:700"><span style="display:inline-block;width:0.9em;height:0.9em;'
        f'border-radius:3px;background:{chip};margin-right:0.5em"></span>“{html.escape(status.instruction)}”</div>'
        f'<div style="font-size:0.85em;color:{outcome}">{html.escape(status.outcome)}</div>'
        f'<div style="font-size:0.8em;color:{muted}">{status.time:.1f} s of the episode · {status.speed:.2g} × real '
        f"time<br>{score}</div></div>"
    )
