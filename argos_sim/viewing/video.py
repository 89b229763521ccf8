"""The video of an episode: camera, what was seen, what is wanted, and how closely it is followed, side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from argos_sim.mdp.latent_target import JOINT_TOLERANCE, VISION_SHARE
from argos_sim.viewing.canvas import (
    BLUE,
    GREEN,
    MUTED,
    PAPER,
    RED,
    TEAL,
    Chart,
    Colour,
    Point,
    enlarged,
    font,
    framed,
    instruction_label,
)
from argos_sim.viewing.painter import Painter
from argos_sim.viewing.recording import Recording

SIZE = (1440, 448)
"""Pixels; whole multiples of 16, as h264 wants."""
FPS = 25
PANEL, PANEL_TOP, PANEL_LEFT = 320, 100, (24, 360, 696)
CHART_SIZE, CHART_LEFT, CHART_TOP = (376, 172), 1040, (78, 258)
HOLD_S, DUE_HOLD_S = 0.8, 0.4
"""Seconds that the last frame of an episode stays, and one at which a target is due, for comparing it."""


class EpisodeFilm:
    """Draws the frames of one recording.

    Args:
        recording: the episodes.
        paint: latents to pictures.
    """

    def __init__(self, recording: Recording, paint: Painter) -> None:
        self.recording = recording
        self.seen, self.wanted = paint(recording.vision), paint(recording.target_vision)
        self.steps = (recording.steps - 1) // recording.plan_steps * recording.plan_steps
        seconds = self.steps * recording.control_dt
        due = tuple(i * recording.control_dt for i in range(recording.plan_steps, self.steps + 1, recording.plan_steps))
        joint_top = max(0.3, 1.05 * float(recording.joint_error.quantile(0.995)))
        limit = f"tolerance {JOINT_TOLERANCE:.2f}"
        self.joints = Chart(CHART_SIZE, seconds, joint_top, "joints to target, RMS [rad]", JOINT_TOLERANCE, limit, due)
        self.share = Chart(
            CHART_SIZE, seconds, 1.5, "vision error, share of that when given", VISION_SHARE, "half", due
        )

    def frames(self, episode: int) -> Iterator[np.ndarray]:
        """uint8 (H, W, 3) pictures of one episode at ``FPS``, from its reset to when its last target is due."""
        r = self.recording
        every = max(1, round(1.0 / (FPS * r.control_dt)))
        for step in range(0, self.steps + 1, every):
            frame = np.asarray(self.draw(episode, step))
            hold = HOLD_S if step == self.steps else DUE_HOLD_S if step and step % r.plan_steps == 0 else 0.0
            yield from [frame] * (1 + round(hold * FPS))

    def draw(self, episode: int, step: int) -> Image.Image:
        """The frame of one control step. When a target is due it is still shown, and not yet the next one."""
        r, frame = self.recording, step // self.recording.frame_steps
        canvas = Image.new("RGB", SIZE, PAPER)
        draw = ImageDraw.Draw(canvas)
        self._header(draw, episode, step)
        given = max(0, step - 1) // r.plan_steps * r.plan_steps
        due = (given + r.plan_steps) * r.control_dt
        panels = (
            ("camera", r.images[frame, episode]),
            ("what it sees (latents)", self.seen[frame, episode]),
            (f"what it plans for {due:.1f} s (latents)", self.wanted[given // r.frame_steps, episode]),
        )
        for left, (label, picture) in zip(PANEL_LEFT, panels, strict=True):
            draw.text((left, PANEL_TOP - 10), label, MUTED, font(15), anchor="ls")
            framed(canvas, enlarged(picture, PANEL), (left, PANEL_TOP))
        past = [j for j in r.judgements[episode] if j.time <= step * r.control_dt + 1e-6]
        if step == given + r.plan_steps and past:
            self._outline(draw, GREEN if past[-1].reached else RED)
        joints = [(j.time, j.joint_error, j.reached) for j in past]
        shares = [(j.time, j.vision_share, j.reached) for j in past]
        top, bottom = CHART_TOP
        curves = self._curves(r.joint_error[:, episode].tolist(), [j[:2] for j in joints], step)
        canvas.paste(self.joints.draw(curves, joints, BLUE), (CHART_LEFT, top))
        curves = self._curves(r.vision_share[:, episode].tolist(), [s[:2] for s in shares], step)
        canvas.paste(self.share.draw(curves, shares, TEAL), (CHART_LEFT, bottom))
        return canvas

    def _outline(self, draw: ImageDraw.ImageDraw, colour: Colour) -> None:
        """Mark the plan as reached or missed."""
        x, y = PANEL_LEFT[2], PANEL_TOP
        draw.rectangle((x - 4, y - 4, x + PANEL + 3, y + PANEL + 3), outline=colour, width=4)

    def _header(self, draw: ImageDraw.ImageDraw, episode: int, step: int) -> None:
        r = self.recording
        instruction_label(draw, (PANEL_LEFT[0], 38), r.instructions[episode], r.named[episode], 24)
        touched, time = r.touched[episode], step * r.control_dt
        right = SIZE[0] - 24
        clock = f"episode {episode + 1} of {r.episodes}   {time:4.2f} s"
        draw.text((right, 38), clock, MUTED, font(17), anchor="rm")
        if step >= r.steps - r.frame_steps:  # what counts is how it ends
            colour, label = GREEN if r.done[episode] else RED, r.outcome(episode)
        elif touched is not None and time >= r.touched_at[episode]:
            colour, label = MUTED, r.touch(episode)
        else:
            colour, label = MUTED, "nothing touched yet"
        draw.text((PANEL_LEFT[2], 38), label, colour, font(20, bold=colour is not MUTED), anchor="lm")

    def _curves(self, values: list[float], judged: list[Point], step: int) -> list[list[Point]]:
        """One curve a target, each ending in its judgement, since the next target makes the error jump."""
        r = self.recording
        curves = []
        for start in range(0, max(step, 1), r.plan_steps):
            end = start + r.plan_steps
            curve = [(i * r.control_dt, values[i]) for i in range(start, min(end, step + 1))]
            curve += [point for point in judged if abs(point[0] - end * r.control_dt) < r.control_dt / 2]
            curves.append(curve)
        return curves


def write_video(recording: Recording, paint: Painter, path: Path) -> None:
    """Write all episodes, one after the other, as h264 that browsers play, whole or not at all."""
    film = EpisodeFilm(recording, paint)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.partial{path.suffix}")
    with imageio.get_writer(
        temporary,
        format="FFMPEG",  # pyright: ignore[reportArgumentType]
        mode="I",
        fps=FPS,
        codec="libx264",
        pixelformat="yuv420p",
        output_params=["-crf", "21", "-preset", "veryfast", "-movflags", "+faststart"],
    ) as writer:
        for episode in tqdm(range(recording.episodes), desc="drawing", leave=False):
            for frame in film.frames(episode):
                writer.append_data(frame)  # pyright: ignore[reportAttributeAccessIssue]
    os.replace(temporary, path)
