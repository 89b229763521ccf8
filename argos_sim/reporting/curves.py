"""Learning curves as small inline SVG charts, one a scalar, from a stage's ``curves.jsonl``."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from argos_sim.reporting.page import Html, markup

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 260, 130, 46, 20, 16
POINTS = 240
"""Most points of a curve; more are averaged in groups."""
LOGARITHMIC = 30.0
"""A positive curve that spans more than this factor is drawn on a logarithmic axis."""
OUTLIERS = 0.01
"""Share of a curve at each end that may leave the chart: a few wild steps must not flatten the rest."""


def read_curves(path: Path) -> dict[str, np.ndarray]:
    """Scalar name → rows of (step, value); values that are not finite are left out, as is a row cut off by a kill."""
    points: dict[str, list[tuple[float, float]]] = {}
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                points.setdefault(name, []).append((row.get("step", 0), value))
    return {name: np.asarray(values, dtype=float) for name, values in points.items()}


def charts(path: Path) -> Html:
    """Every scalar of a file, as a grid."""
    return Html(f'<div class="curves">{"".join(chart(*item) for item in read_curves(path).items())}</div>')


def chart(name: str, points: np.ndarray) -> Html:
    """One curve; ``points`` is (M, 2) of step and value."""
    points = _averaged(points)
    values = points[:, 1]
    low, high = np.quantile(values, [OUTLIERS, 1 - OUTLIERS])
    logarithmic = values.min() > 0 and high / max(low, 1e-30) > LOGARITHMIC
    if logarithmic:
        values, low, high = np.log10(values), math.log10(low), math.log10(high)
    spread = (high - low) or max(abs(high), 1e-9)
    low, high = low - 0.06 * spread, high + 0.06 * spread
    begin, end = points[0, 0], max(points[-1, 0], points[0, 0] + 1)
    x = LEFT + (WIDTH - LEFT - 6) * (points[:, 0] - begin) / (end - begin)
    share = ((values - low) / (high - low)).clip(0, 1)
    y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    path = "M" + " L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    ends = (10**low, 10**high) if logarithmic else (low, high)
    base = HEIGHT - BOTTOM
    label, last = name.split("/", 1)[-1], f"{points[-1, 1]:.3g}{' (log axis)' if logarithmic else ''}"
    # Colours and sizes are attributes too, for readers that do not apply the page's style inside a drawing.
    return Html(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="9" fill="currentColor" stroke-width="1">'
        f"<title>{markup(name)}</title>"
        f'<text class="title" x="{LEFT}" y="11">{markup(label)}</text>'
        f'<text x="{WIDTH - 6}" y="11" text-anchor="end">{last}</text>'
        f'<path class="axis" fill="none" stroke="silver" d="M{LEFT},{TOP} V{base} H{WIDTH - 6}"/>'
        f'<text x="{LEFT - 4}" y="{TOP + 6}" text-anchor="end">{ends[1]:.3g}</text>'
        f'<text x="{LEFT - 4}" y="{base}" text-anchor="end">{ends[0]:.3g}</text>'
        f'<text x="{WIDTH - 6}" y="{HEIGHT - 4}" text-anchor="end">step {points[-1, 0]:.0f}</text>'
        f'<path class="line" fill="none" stroke="currentColor" d="{path}"/></svg>'
    )


def _averaged(points: np.ndarray) -> np.ndarray:
    if len(points) <= POINTS:
        return points
    return np.stack([group.mean(0) for group in np.array_split(points, POINTS)])
