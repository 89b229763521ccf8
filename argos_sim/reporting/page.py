"""The HTML of a report: its frame and style, tables, pictures and videos as data, never as links."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #1c1f24; --muted: #6e747e; --rule: #dedfdd; --line: #245ebe;
  --good: #22804a; --bad: #b8302b; --shade: #f3f3f0; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e6e6e3; --muted: #9a9fa8; --rule: #33373d;
  --line: #7aa7f0; --good: #5cc48a; --bad: #f07f78; --shade: #1e2125; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.5rem 5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.8rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; } p { max-width: 46rem; margin: .4rem 0 .8rem; }
.muted, .note { color: var(--muted); } .note { font-size: .88rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .6rem 0; }
th, td { padding: .28rem .8rem .28rem 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
th { font-weight: 600; color: var(--muted); vertical-align: bottom; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; } th.n { white-space: normal; } td.n:last-child, th.n:last-child { padding-right: 0; }
.ci { color: var(--muted); font-size: .85em; } .good { color: var(--good); } .bad { color: var(--bad); }
.bar { display: block; height: .7rem; background: var(--line); opacity: .75; border-radius: 2px; min-width: 1px; }
video, .wide { width: 100%; height: auto; border-radius: 6px; background: #fcfcfa; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(28rem, 1fr)); gap: 1rem; }
.pictures img { width: 100%; border-radius: 6px; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .9rem 1.2rem; }
.curves svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--muted); }
svg .title { fill: var(--ink); font-weight: 600; } svg .line { stroke: var(--line); stroke-width: 1.4; }
svg .axis { stroke: var(--rule); }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--muted); }
code { font: .88em ui-monospace, monospace; } .changed { font-weight: 700; }
"""


class Html(str):
    """Text that is already HTML; everything else is escaped."""


def markup(value: object) -> Html:
    """``value`` as HTML: escaped unless it is HTML already."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def table(headers: Sequence[object], rows: Sequence[Sequence[object]], text_columns: int = 1) -> Html:
    """A table whose first ``text_columns`` columns are text and whose others are numbers, right-aligned."""

    def cells(tag: str, row: Sequence[object]) -> str:
        classes = ["" if i < text_columns else ' class="n"' for i in range(len(row))]
        return "".join(f"<{tag}{c}>{markup(value)}</{tag}>" for c, value in zip(classes, row, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return Html(
        f'<div class="scroll"><table><thead><tr>{cells("th", headers)}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def paragraph(text: object, kind: str = "") -> Html:
    """A paragraph of a CSS class."""
    return Html(f'<p class="{kind}">{markup(text)}</p>' if kind else f"<p>{markup(text)}</p>")


def section(title: str, *parts: Html) -> Html:
    """A headed part of the page."""
    return Html(f"<section><h2>{markup(title)}</h2>{''.join(parts)}</section>")


def folded(title: str, *parts: Html) -> Html:
    """A part that opens on a click."""
    return Html(f"<details><summary>{markup(title)}</summary>{''.join(parts)}</details>")


def image(path: Path, text: str, kind: str = "") -> Html:
    """A PNG inside the page."""
    return Html(f'<img class="{kind}" alt="{escape(text)}" src="data:image/png;base64,{_encoded(path)}">')


def video(path: Path, most_bytes: int) -> Html:
    """An mp4 inside the page, or where it lies if it is larger than ``most_bytes``."""
    if path.stat().st_size > most_bytes:
        place = f"<code>{path.parent.name}/{path.name}</code>"
        return paragraph(Html(f"The video is too large to be kept in this page; it lies in {place}."))
    return Html(f'<video controls loop muted playsinline src="data:video/mp4;base64,{_encoded(path)}"></video>')


def page(title: str, *parts: Html) -> str:
    """The whole document."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
