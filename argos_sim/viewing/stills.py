"""Still pictures: plans beside what happened, the README's strip, and contact sheets of environments."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from argos_sim.viewing.canvas import GREEN, INK, MUTED, PAPER, RED, enlarged, font, framed, instruction_label
from argos_sim.viewing.painter import Painter
from argos_sim.viewing.recording import Recording

CELL, GAP, MARGIN = 128, 8, 16


def plan_picture(recording: Recording, paint: Painter, episode: int) -> Image.Image:
    """One episode: now and the plan's times as columns; what was planned, what came true and the camera as rows."""
    r, times = recording, recording.plan.time[episode].tolist()
    frames = [0, *(round(time / (r.control_dt * r.frame_steps)) for time in times)]
    seen = paint(r.vision[frames, episode])
    planned = paint(r.plan.vision[episode])
    rows = (
        ("planned at\nthe start", [None, *planned]),
        ("what came\n(latents)", list(seen)),
        ("what came\n(camera)", list(r.images[frames, episode])),
    )
    left, top = 104, 76
    width = left + len(frames) * (CELL + GAP) - GAP + MARGIN
    canvas = Image.new("RGB", (width, top + len(rows) * (CELL + GAP) - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(canvas)
    instruction_label(draw, (MARGIN, 26), r.instructions[episode], r.named[episode], 17)
    draw.text((width - MARGIN, 26), *_outcome(r, episode), font(14), anchor="rm")
    for column, time in enumerate((0.0, *times)):
        x = left + column * (CELL + GAP)
        draw.text((x, top - 8), f"{time:.1f} s" if time else "now", MUTED, font(13), anchor="lb")
        for row, (_, pictures) in enumerate(rows):
            picture = pictures[column]
            if picture is not None:
                framed(canvas, enlarged(picture, CELL), (x, top + row * (CELL + GAP)))
    for row, (label, _) in enumerate(rows):
        y = top + row * (CELL + GAP) + CELL // 2
        draw.multiline_text((left - 12, y), label, MUTED, font(12), anchor="rm", align="right")
    return canvas


def strip_picture(recording: Recording, paint: Painter, episodes: Sequence[int]) -> Image.Image:
    """The README's picture: a row an episode, with the camera now, the plan, and what the camera saw then."""
    r, times = recording, recording.plan.time[0].tolist()
    frames = [round(time / (r.control_dt * r.frame_steps)) for time in times]
    block, top, row_height = len(times) * (CELL + GAP) - GAP, 58, CELL + 34
    lefts = (MARGIN, MARGIN + CELL + 40, MARGIN + CELL + 80 + block)
    canvas = Image.new("RGB", (lefts[2] + block + MARGIN, top + len(episodes) * row_height + 6), PAPER)
    draw = ImageDraw.Draw(canvas)
    for x, title in zip(
        lefts, ("camera now", "imagined by the planner", "what the controller made of it"), strict=True
    ):
        draw.text((x, 22), title, INK, font(15, bold=True), anchor="lm")
    for x in lefts[1:]:
        for column, time in enumerate(times):
            draw.text((x + column * (CELL + GAP), 46), f"in {time:.1f} s", MUTED, font(13), anchor="lm")
    for row, episode in enumerate(episodes):
        y = top + row * row_height
        framed(canvas, enlarged(r.images[0, episode], CELL), (lefts[0], y))
        pictures = (paint(r.plan.vision[episode]), r.images[frames, episode])
        for x, series in zip(lefts[1:], pictures, strict=True):
            for column, picture in enumerate(series):
                framed(canvas, enlarged(picture, CELL), (x + column * (CELL + GAP), y))
        instruction_label(draw, (lefts[0], y + CELL + 16), r.instructions[episode], r.named[episode], 14)
        draw.text((lefts[2], y + CELL + 16), *_outcome(r, episode), font(13), anchor="lm")
    return canvas


def typical_episodes(recording: Recording, most: int = 3) -> list[int]:
    """Episodes for the README: the first of each named object, in order."""
    first = {name: recording.named.index(name) for name in dict.fromkeys(recording.named)}
    chosen = list(first.values()) + [i for i in range(recording.episodes) if i not in first.values()]
    return sorted(chosen[:most])


def contact_sheet(images: Tensor, title: str, cell: int = 128) -> Image.Image:
    """Pictures (N, 3, H, W) in a square grid under a title."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    canvas = Image.new("RGB", (2 * MARGIN + columns * (cell + 4) - 4, 52 + rows * (cell + 4) + MARGIN - 4), PAPER)
    ImageDraw.Draw(canvas).text((MARGIN, 28), title, INK, font(17, bold=True), anchor="lm")
    for i, image in enumerate(images):
        x, y = MARGIN + (i % columns) * (cell + 4), 52 + (i // columns) * (cell + 4)
        canvas.paste(enlarged(image, cell), (x, y))
    return canvas


def _outcome(recording: Recording, episode: int) -> tuple[str, tuple[int, int, int]]:
    """A sentence and its colour."""
    return recording.outcome(episode), GREEN if recording.done[episode] else RED
