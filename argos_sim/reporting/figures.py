"""The tables of a report, from ``metrics.json``: targets set beside what was reached, planner, controller, the rest.

A metric ``name`` is shown with its 95 % interval ``name_ci`` where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from argos_sim.reporting.page import Html, markup, table

Metrics = dict[str, Any]
Aim = tuple[str, Callable[[Metrics], bool]]
HORIZONS = ("0.8s", "1.6s", "2.4s")
CELLS = {
    "nominal": "nominal",
    "train": "train",
    "unseen": "unseen",
    "complete": "complete",
    "other_engine": "other engine",
}
CONTROLLERS = {"imitation": "imitation", "dagger": "DAgger", "ppo": "PPO", "perfect": "perfect tracking"}


@dataclass(frozen=True)
class Goal:
    """A figure that ARGOS set itself to reach.

    Attributes:
        label: what it is.
        keys: metrics that it is computed from.
        shown: its value as text.
        demo, desk: the aims on ``make demo``'s budget and on that of the shipped weights, and whether each is met;
            None where the figure only helps to read the others.
        count: metric with the number of episodes or windows.
    """

    label: str
    keys: tuple[str, ...]
    shown: Callable[[Metrics], Html]
    demo: Aim | None
    desk: Aim | None
    count: str = ""


def _at_most(key: str, limit: float, text: str) -> Aim:
    return text, lambda m: m[key] <= limit


def _at_least(key: str, limit: float, text: str) -> Aim:
    return text, lambda m: m[key] >= limit


RATIO, TEXT = "planner.error_ratio_0.8s", "planner.text_sensitivity"
REACHED_TRAIN, REACHED_UNSEEN = "controller.ppo.train.reached", "controller.ppo.unseen.reached"
GAIN, PERFECT = "controller.ppo.unseen.success_gain", "controller.perfect.unseen.reached"
DONE_UNSEEN, DONE_ELSEWHERE = "closed_loop.unseen.success", "closed_loop.other_engine.success"
GOALS = (
    Goal(
        "encoder: same state before two backgrounds ÷ two states 0.8 s apart",
        ("encoder.invariance_train_ratio",),
        lambda m: number(m, "encoder.invariance_train_ratio"),
        _at_most("encoder.invariance_train_ratio", 0.25, "≤ 0.25"),
        _at_most("encoder.invariance_train_ratio", 0.25, "≤ 0.25"),
        "encoder.invariance_train_pairs",
    ),
    Goal(
        "planner: error at 0.8 s ÷ repeating the last latent",
        (RATIO,),
        lambda m: number(m, RATIO),
        _at_most(RATIO, 0.75, "≤ 0.75"),
        _at_most(RATIO, 0.55, "≤ 0.55"),
        "planner.windows_0.8s",
    ),
    Goal(
        "planner: error with a wrong instruction ÷ with the right one, at the start",
        (TEXT, f"{TEXT}_ci"),
        lambda m: number(m, TEXT),
        ("above 1, beyond the interval", lambda m: m[f"{TEXT}_ci"][0] > 1),
        _at_least(TEXT, 1.5, "≥ 1.5"),
        "planner.start.windows",
    ),
    Goal(
        "PPO: targets reached on train",
        (REACHED_TRAIN,),
        lambda m: percent(m, REACHED_TRAIN),
        _at_least(REACHED_TRAIN, 0.70, "≥ 70 %"),
        _at_least(REACHED_TRAIN, 0.85, "≥ 85 %"),
        "controller.ppo.train.episodes",
    ),
    Goal(
        "PPO: targets reached on unseen",
        (REACHED_UNSEEN,),
        lambda m: percent(m, REACHED_UNSEEN),
        _at_least(REACHED_UNSEEN, 0.55, "≥ 55 %"),
        _at_least(REACHED_UNSEEN, 0.75, "≥ 75 %"),
        "controller.ppo.unseen.episodes",
    ),
    Goal(
        "PPO above imitation alone: done on unseen, points",
        (GAIN, f"{GAIN}_ci"),
        lambda m: points(m, GAIN),
        ("beyond the interval", lambda m: m[f"{GAIN}_ci"][0] > 0),
        _at_least(GAIN, 0.15, "≥ 15"),
        "controller.imitation.unseen.episodes",
    ),
    Goal(
        "perfect tracking of the planner's joints: targets reached on unseen",
        (PERFECT,),
        lambda m: percent(m, PERFECT),
        None,
        None,
        "controller.perfect.unseen.episodes",
    ),
    Goal(
        "closed loop: done what was asked on train",
        ("closed_loop.success",),
        lambda m: percent(m, "closed_loop.success"),
        _at_least("closed_loop.success", 0.60, "≥ 60 %"),
        _at_least("closed_loop.success", 0.90, "≥ 90 %"),
        "closed_loop.episodes",
    ),
    Goal(
        "closed loop: done what was asked on unseen",
        (DONE_UNSEEN,),
        lambda m: percent(m, DONE_UNSEEN),
        None,
        _at_least(DONE_UNSEEN, 0.80, "≥ 80 %"),
        "closed_loop.unseen.episodes",
    ),
    Goal(
        "closed loop: done what was asked on the other engine",
        (DONE_ELSEWHERE,),
        lambda m: percent(m, DONE_ELSEWHERE),
        None,
        _at_least(DONE_ELSEWHERE, 0.80, "≥ 80 %"),
        "closed_loop.other_engine.episodes",
    ),
    Goal(
        "export: one inference on one core, 99th percentile [ms]",
        ("export.inference_p99_ms",),
        lambda m: number(m, "export.inference_p99_ms"),
        _at_most("export.inference_p99_ms", 2.0, "≤ 2"),
        _at_most("export.inference_p99_ms", 2.0, "≤ 2"),
    ),
    Goal(
        "export: largest difference from torch [N·m]",
        ("export.max_difference_nm",),
        lambda m: number(m, "export.max_difference_nm"),
        _at_most("export.max_difference_nm", 1e-4, "≤ 1e-4"),
        _at_most("export.max_difference_nm", 1e-4, "≤ 1e-4"),
        "export.observations",
    ),
)


def plain(value: Any) -> str:
    """A value as it reads best: three significant digits, whole numbers whole."""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) >= 1 else f"{value:.3g}"
    return f"[{', '.join(plain(v) for v in value)}]" if isinstance(value, list | tuple) else str(value)


def number(metrics: Metrics, key: str) -> Html:
    """A figure with its interval, or a dash."""
    if key not in metrics:
        return Html("–")
    interval = metrics.get(f"{key}_ci")
    return Html(plain(metrics[key]) + (f' <span class="ci">{plain(interval)}</span>' if interval else ""))


def percent(metrics: Metrics, key: str) -> Html:
    """A share in per cent with its interval, or a dash."""
    if key not in metrics:
        return Html("–")
    interval = metrics.get(f"{key}_ci")
    suffix = f' <span class="ci">[{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]</span>' if interval else ""
    return Html(f"{100 * metrics[key]:.1f} %{suffix}")


def points(metrics: Metrics, key: str) -> Html:
    """A difference of shares in points, with its sign and its interval."""
    low, high = (f"{100 * value:+.1f}".replace("-", "−") for value in metrics[f"{key}_ci"])
    text = f"{100 * metrics[key]:+.1f}".replace("-", "−")
    return Html(f'{text} <span class="ci">[{low}, {high}]</span>')


def goals_table(metrics: Metrics) -> Html:
    """What was reached, beside what was aimed at."""
    rows = []
    for goal in GOALS:
        known = all(key in metrics for key in goal.keys)
        aims = [_aim(metrics, aim, known) for aim in (goal.demo, goal.desk)]
        shown = goal.shown(metrics) if known else Html("–")
        rows.append((goal.label, shown, *aims, plain(metrics.get(goal.count, "–")) if goal.count else ""))
    return table(("figure", "reached [95 % interval]", "aim of demo", "aim of desk", "episodes or windows"), rows)


def _aim(metrics: Metrics, aim: Aim | None, known: bool) -> Html:
    if aim is None:
        return Html()
    text, met = aim
    if not known:
        return markup(text)
    good = met(metrics)
    return Html(f'<span class="{"good" if good else "bad"}">{markup(text)} {"✓" if good else "✗"}</span>')


def planner_table(metrics: Metrics) -> Html:
    """Errors over moving windows, by horizon."""
    headers = (
        "ahead",
        "error",
        "÷ repeating the last",
        "vision ÷ repeating",
        "proprioception ÷ repeating",
        "mean predictor ÷ repeating",
        "windows",
    )
    names = ("error_", "error_ratio_", "vision_error_ratio_", "proprio_error_ratio_", "mean_predictor_error_ratio_")
    rows: list[tuple[object, ...]] = [
        (h.replace("s", " s"), *(number(metrics, f"planner.{n}{h}") for n in (*names, "windows_"))) for h in HORIZONS
    ]
    rows.append(("floor", "", "", number(metrics, "planner.floor_vision_ratio"), "", "", ""))
    return table(headers, rows)


def text_table(metrics: Metrics) -> Html:
    """Errors at the start of episodes, by what was said."""
    rows = [
        (said, *(number(metrics, f"planner.start.{kind}_{said}") for kind in ("proprio_error", "joint_error_rad")))
        for said in ("right", "wrong", "no")
    ]
    return table(("instruction", "proprioceptive error", "joints [rad RMS]"), rows)


def controller_table(metrics: Metrics) -> Html:
    """Every controller under every randomization that it was judged under, and on the other engine."""
    headers = (
        "controller",
        "randomization",
        "targets reached",
        "… that ask for a movement",
        "joints [rad RMS]",
        "vision error",
        "torque [N·m RMS]",
        "done what was asked",
        "episodes",
    )
    rows = []
    for controller, label in CONTROLLERS.items():
        for cell, condition in CELLS.items():
            key = f"controller.{controller}.{cell}."
            if cell == "complete" and f"{key}reached" not in metrics:
                continue  # only where training's own ranges reach as far
            shares = [percent(metrics, key + name) for name in ("reached", "reached_moving")]
            numbers = [number(metrics, key + name) for name in ("joint_error_rad", "vision_error", "torque_rms_nm")]
            done, episodes = percent(metrics, key + "success"), number(metrics, key + "episodes")
            rows.append((label, condition, *shares, *numbers, done, episodes))
    return table(headers, rows, text_columns=2)


def time_table(metrics: Metrics) -> Html:
    """Seconds of each stage, with bars."""
    stages = {k[7:-2]: v for k, v in metrics.items() if k.startswith("timing.") and k != "timing.total_s"}
    most = max(stages.values(), default=1.0) or 1.0
    rows: list[tuple[object, ...]] = [
        (name, Html(f'<span class="bar" style="width:{18 * seconds / most:.2f}rem"></span>'), f"{seconds:,.0f}")
        for name, seconds in stages.items()
    ]
    rows.append(("total", "", f"{metrics.get('timing.total_s', sum(stages.values())):,.0f}"))
    return table(("stage", "", "seconds"), rows, text_columns=2)


def all_figures(metrics: Metrics) -> Html:
    """Every metric under its stable name."""
    return table(("name", "value"), [(Html(f"<code>{markup(k)}</code>"), plain(v)) for k, v in sorted(metrics.items())])
